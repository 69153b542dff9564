"""Generated lines that no epoch before had: one epoch is learnt from while another process writes the next.

`python -m elman.apps.handwriting.fresh` is that process: (config, codec, numbers) come in, training lines go out one by
one, so that it ends with the first that nobody takes.
"""

import dataclasses
import pickle
import subprocess
import sys
import threading
from collections.abc import Container, Iterable, Iterator

import numpy as np

from ..core.source import Source
from . import generated
from .codec import Codec
from .lines import Line, Lines, encode


def written(config, codec: Codec, split: str, numbers: Iterable[int]) -> Iterator[Line]:
    """The lines of a split that have those numbers, encoded; those of training enlarged or reduced, without ink."""
    numbers = list(numbers)
    for number, ink in zip(numbers, generated.write(config, codec, split, numbers), strict=True):
        if split == "train":
            zoom = np.random.default_rng((config.seed, number, 7)).uniform(-1, 1)
            line = encode(codec, ink, 1 + config.zoom * zoom)
            yield Line(line.frames, line.classes)
        else:
            yield encode(codec, ink)


def source(config, codec: Codec) -> Source:
    """Training lines, `config.lines_per_epoch` an epoch, of which `config.fresh` are new and the others were in the
    epoch before; after the last of `config.lines` it begins anew with line 0."""
    epochs = _Epochs(config, codec)
    first = Lines(lambda: epochs.lines(0)).source(epochs.count, config.model == "attention")
    return dataclasses.replace(first, fresh=epochs.source)


class _Epochs:
    """The lines of one epoch, and those that are new in the next as they are written."""

    def __init__(self, config, codec: Codec):
        self.config, self.codec = config, codec
        self.count = min(config.lines_per_epoch or config.lines, config.lines)
        self._kept: dict[int, Line] = {}
        self._ahead: _Ahead | None = None

    def source(self, epoch: int) -> Source:
        lines = self.lines(epoch)
        return Lines(lambda: lines).source(self.count, self.config.model == "attention")

    def lines(self, epoch: int) -> list[Line]:
        numbers = self._numbers(epoch)
        if numbers != tuple(self._kept):
            ahead, self._ahead = self._ahead, None
            following = _without(self._numbers(epoch + 1), set(numbers))
            if following and epoch + 1 < self.config.epochs:
                self._ahead = _Ahead(self.config, self.codec, following)
            new = _without(numbers, self._kept)
            lines = self._kept | dict(zip(new, self._taken(ahead, new), strict=True))
            self._kept = {n: lines[n] for n in numbers}
        return list(self._kept.values())

    def _numbers(self, epoch: int) -> tuple[int, ...]:
        first = epoch * max(round(self.config.fresh * self.count), 1)
        return tuple((first + row) % self.config.lines for row in range(self.count))

    def _taken(self, ahead: "_Ahead | None", numbers: tuple[int, ...]) -> list[Line]:
        if ahead and ahead.numbers == numbers and (lines := ahead.take()):
            return lines
        return list(written(self.config, self.codec, "train", numbers))


def _without(numbers: tuple[int, ...], known: Container[int]) -> tuple[int, ...]:
    return tuple(n for n in numbers if n not in known)


class _Ahead:
    """Training lines that another process writes and a thread of this one collects."""

    def __init__(self, config, codec: Codec, numbers: tuple[int, ...]):
        self.numbers, self._found = numbers, []
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._thread = threading.Thread(target=self._collect, args=((config, codec, numbers),), daemon=True)
        self._thread.start()

    def _collect(self, order: tuple) -> None:
        try:
            with self._process as process:
                pickle.dump(order, process.stdin)
                process.stdin.close()
                for _ in self.numbers:
                    self._found.append(Line(*pickle.load(process.stdout)))
        except (OSError, EOFError, pickle.UnpicklingError):
            self._found.clear()  # whoever takes them writes them and sees what is wrong

    def take(self) -> list[Line]:
        """All of the lines, waited for; none where the process failed."""
        self._thread.join()
        return self._found


def _main() -> None:
    config, codec, numbers = pickle.load(sys.stdin.buffer)
    for line in written(config, codec, "train", numbers):
        pickle.dump((line.frames, line.classes), sys.stdout.buffer, pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    _main()
