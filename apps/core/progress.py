"""Progress bars where rich is installed and the user did not ask for quiet; plain iteration otherwise."""

import contextlib
from collections.abc import Iterable, Iterator


def track(items: Iterable, description: str, *, total: int | None = None, quiet: bool = False) -> Iterator:
    """Iterates over `items` under a progress bar."""
    try:
        from rich.progress import track as rich_track
    except ModuleNotFoundError:
        return iter(items)
    return iter(items) if quiet else iter(rich_track(items, description, total=total, transient=True))


@contextlib.contextmanager
def bar(description: str, total: int, *, quiet: bool = False):
    """Yields `update(advance=1, description=None)`; shows counts and the time left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, transient=True, disable=quiet, refresh_per_second=4) as progress:
        task = progress.add_task(description, total=total)
        yield lambda advance=1, description=None, total=None, completed=None: progress.update(
            task, advance=None if completed is not None else advance,
            description=description, total=total, completed=completed,
        )  # fmt: skip
