"""elman.tuning: better hyperparameters within a budget, on every core and device, through crashes.

`elman APP tune` is the front door; `tune` does the same from Python.
"""

from .sweep import tune

__all__ = ["tune"]
