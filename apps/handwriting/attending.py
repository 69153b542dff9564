"""Reading with an attention decoder on any engine: greedy or by beam, a character at a time. NumPy only."""

from dataclasses import dataclass

import numpy as np

from ..core.decoding import Transcript, beam_search
from .codec import BLANK

END = BLANK


@dataclass(frozen=True)
class Encoded:
    """A line that the decoder can look at: the engine, and the outputs of `encode` (batch 1)."""

    engine: object
    memory: dict[str, np.ndarray]

    def states(self) -> dict[str, np.ndarray]:
        """The states before the first character."""
        return self.engine.signatures["step"].first_states(1, size=self.memory["values"].shape[1])

    def step(self, tokens: np.ndarray, states: dict) -> tuple[np.ndarray, dict, np.ndarray]:
        """The step contract of `core.decoding`: log-probabilities, next states, where it looked."""
        rows = len(tokens)
        memory = {f"memory_{name}": np.repeat(array, rows, axis=0) for name, array in self.memory.items()}
        found = self.engine("step", previous=tokens.astype(np.int32), **states, **memory)
        after = {into: found[out] for out, into in self.engine.signatures["step"].states.items()}
        return found["log_probs"], after, found["looks"]


def encode(engine, frames: np.ndarray) -> Encoded:
    """Looks at frames (frames, features)."""
    return Encoded(engine, engine("encode", frames=frames[None]))


def search(seen: Encoded, alphabet, beam: int, n_best: int, allowed=None) -> list[Transcript]:
    """The n best transcripts, best first.

    Args:
        allowed: `allowed(prefix text) -> bool (1 + letters,)`, as of `Pattern`: what may follow; in place 0, the end.
    """
    longest = seen.memory["values"].shape[1] + 1

    def mask(tokens, logits):
        return np.stack([allowed(_spell(row, alphabet)) for row in tokens])

    rules = {"mask": mask} if allowed else {}
    found = beam_search(
        seen.step,
        seen.states(),
        END,
        end=END,
        max_length=longest,
        beam=beam,
        n_best=n_best,
        length_penalty="average" if beam > 1 else None,
        log_probs=True,
        **rules,
    )[0]
    return [_transcript(seen, hypothesis, alphabet) for hypothesis in found]


def _spell(tokens, alphabet) -> str:
    return "".join(alphabet[token - 1] for token in tokens if token != END)


def _transcript(seen: Encoded, hypothesis, alphabet) -> Transcript:
    """With the probability of each character, found by writing the text once more."""
    states, before, shares = seen.states(), END, []
    for token in hypothesis.tokens:
        log_probs, states, _ = seen.step(np.array([before]), states)
        shares.append(float(np.exp(log_probs[0, token])))
        before = int(token)
    looks = hypothesis.attention
    frames = np.zeros(0, np.int64) if looks is None else np.asarray(looks)[: len(shares)].argmax(-1)
    text = _spell(hypothesis.tokens, alphabet)
    return Transcript(
        text, np.asarray(hypothesis.tokens), hypothesis.score, hypothesis.log_prob, np.array(shares), frames
    )
