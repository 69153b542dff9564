"""What makes the Tab key of a shell complete applications, verbs, options and their values."""

import contextlib
import importlib
import io
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Union

import tyro

from .cli import APPS, commands
from .core.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


def script(words: list[str]) -> str:
    """The completion script of the shell that the words name, all verbs of all applications in it."""
    if len(words) != 1 or words[0] not in SHELLS:
        raise UsageError(f"expected elman completion {'|'.join(SHELLS)}, received '{' '.join(words)}'")
    apps = {name: importlib.import_module(f".{name}", __package__).APP for name in APPS}
    tree = {
        name: _choice({verb: c.options(app, []) for verb, c in commands(app).items()}) for name, app in apps.items()
    }
    config = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        tyro.cli(_choice(tree), args=["--tyro-print-completion", words[0]], prog="elman", config=config)
    # tyro takes the second line of a description for another word to offer.
    return re.sub("^COMPLETION_SPEC = .*$", lambda spec: spec[0].replace("\\n", " "), text.getvalue(), flags=re.M)


def _choice(below: Mapping[str, Callable]) -> Callable:
    """A function with one of some functions as its parameter, which tyro takes for subcommands."""
    named = tuple(Annotated[function, tyro.conf.subcommand(name=name)] for name, function in below.items())

    def choose(chosen: Union[named]):  # noqa: UP007
        return chosen

    return choose
