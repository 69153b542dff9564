"""What the command line turns into one line and an exit status."""


class ElmanError(Exception):
    """Something the user can mend: the message says what was found, what was expected, and what to do."""


class DataError(ElmanError, ValueError):
    """Data that cannot be used; the message names file, row and column."""


class UsageError(ElmanError):
    """A wrong call (exit status 2): an unknown preset, an output that exists."""


class MissingExtra(ElmanError):
    """An optional dependency is not installed."""

    def __init__(self, what: str, extra: str):
        super().__init__(f"{what} needs a package that is not installed: pip install 'elman[{extra}]'")
