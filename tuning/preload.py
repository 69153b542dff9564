"""Imported once, in the process that trials are forked from: TensorFlow alone takes seconds.

Nothing here may start a backend: it would have threads, and a process forked from one with threads can hang.
"""

import matplotlib.backends.backend_agg  # noqa: F401

from ..apps.core.backend import quiet_stderr

with quiet_stderr():
    from ..apps.core import report, training, verbs  # noqa: F401
