"""Reading ink while it is written: a result after every stroke, at the cost of that stroke. NumPy only."""

import time

import numpy as np

from ..core.errors import UsageError
from .codec import FIRST, Codec
from .decode import Decoder
from .ink import Ink


class InkStream:
    """A line that grows: `add` a stroke, get the best `Transcript` so far.

    What it says after the last stroke is what `recognise` says of the whole line. The first strokes say how large the
    writing is, so while they come the line is read anew; from then on only new frames are.

    Args:
        engine: of a streaming model. codec: its codec. decoder: reads log-probabilities.
    """

    def __init__(self, engine, codec: Codec, decoder: Decoder):
        if "step" not in engine.signatures:
            raise UsageError("this model reads whole lines; train one that streams: --preset streaming")
        self.engine, self.codec, self.decoder = engine, codec, decoder
        self._strokes: list[np.ndarray] = []
        self._restart()

    @property
    def ink(self) -> Ink:
        return Ink(tuple(self._strokes))

    def add(self, stroke: np.ndarray):
        """One more stroke (points, 3); the best transcript of the line so far."""
        self._strokes.append(np.asarray(stroke, float))
        if len(self._strokes) <= FIRST:
            self._restart()
        frames, self.places = self.codec.encode_traced(self.ink)
        for frame in frames[len(self._kept) : -1]:
            log_probs, self._states = self._step(frame)
            self._kept.append(log_probs)
        last, _ = self._step(frames[-1])  # may yet be filled up by the next stroke: its states are not kept
        self.log_probs = np.stack([*self._kept, last])
        return self.decoder(self.log_probs)[0]

    def _restart(self) -> None:
        self._states = self.engine.signatures["step"].first_states(1)
        self._kept: list[np.ndarray] = []

    def _step(self, frame: np.ndarray) -> tuple[np.ndarray, dict]:
        found = self.engine("step", frame=frame[None], **self._states)
        states = {into: found[out] for out, into in self.engine.signatures["step"].states.items()}
        return found["log_probs"][0], states


def follow(engine, codec: Codec, ink: Ink, decoder: Decoder) -> tuple[InkStream, list[dict]]:
    """Reads an ink stroke by stroke: the stream at its end, and the text and milliseconds after each stroke."""
    stream, after = InkStream(engine, codec, decoder), []
    for stroke in ink.strokes:
        began = time.perf_counter()
        text = stream.add(stroke).text
        after.append({"text": text, "ms": round(1e3 * (time.perf_counter() - began), 3)})
    return stream, after
