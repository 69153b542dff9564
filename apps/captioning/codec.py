"""Sentences to tokens and back, and what a device must know beside the weights. NumPy only."""

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PAD, START, END, UNKNOWN = 0, 1, 2, 3
SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
SPACE = "▁"  # how sentencepiece writes the beginning of a word
_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_UNSEEN = -20.0  # log-probability of a character that no piece covers


def words(sentence: str) -> list[str]:
    """The words of a sentence in lower case, without punctuation; what the metrics see too."""
    return _WORD.findall(sentence.lower())


@dataclass(frozen=True)
class Codec:
    """What a trained model knows about its data.

    Attributes:
        kind: `words` or `subwords`.
        tokens: the vocabulary; the first four are `SPECIAL`.
        scores: log-probability of every token (subwords), else empty.
        image_size: pixels of a side of the square pictures that `encode` takes.
        longest: tokens of a caption at most, with the end.
        confidence: weights of (1, mean log p of a token, log p) in the logit of the confidence; empty before
            calibration.
        sure: a caption whose confidence is below is not sure: a tenth of the validation captions are.
        seen: short names of the pictures that training and validation saw.
    """

    kind: str
    tokens: tuple[str, ...]
    scores: tuple[float, ...] = ()
    image_size: int = 64
    longest: int = 20
    confidence: tuple[float, ...] = ()
    sure: float = 0.0
    seen: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "_index", {token: i for i, token in enumerate(self.tokens)})

    def to_json(self) -> dict:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> "Codec":
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})

    @property
    def size(self) -> int:
        """Tokens of the vocabulary."""
        return len(self.tokens)

    def encode(self, sentence: str) -> list[int]:
        """The tokens of a sentence, without start and end."""
        if self.kind == "words":
            return [self._index.get(word, UNKNOWN) for word in words(sentence)]
        return self._segment(SPACE + SPACE.join(words(sentence)))

    def decode(self, tokens: Iterable[int]) -> str:
        """The sentence of tokens; special tokens are left out."""
        kept = [self.tokens[int(token)] for token in tokens if int(token) > UNKNOWN]
        if self.kind == "words":
            return " ".join(kept)
        return "".join(kept).replace(SPACE, " ").strip()

    def row(self, sentence: str) -> np.ndarray:
        """(longest + 1,) start, the tokens, end, padding; a caption that is too long is cut, and ends."""
        ids = self.encode(sentence)[: self.longest - 1]
        row = np.full(self.longest + 1, PAD, np.int32)
        row[: len(ids) + 2] = [START, *ids, END]
        return row

    def spoken(self, tokens: Iterable[int]) -> list[tuple[str, list[int]]]:
        """The words of a caption, each with the places of its tokens: what a picture of the attention is made of."""
        found: list[tuple[str, list[int]]] = []
        for place, token in enumerate(tokens):
            text = self.tokens[int(token)]
            if self.kind == "words" or text.startswith(SPACE) or not found:
                found.append((text.removeprefix(SPACE), [place]))
            else:
                found[-1] = (found[-1][0] + text, [*found[-1][1], place])
        return found

    def _segment(self, text: str) -> list[int]:
        """The most probable pieces (Viterbi); characters that no piece covers are unknown."""
        best = [(0.0, 0, UNKNOWN)] + [(-np.inf, 0, UNKNOWN)] * len(text)
        longest = max(map(len, self.tokens[len(SPECIAL) :]))
        for end in range(1, len(text) + 1):
            for begin in range(max(0, end - longest), end):
                token = self._index.get(text[begin:end])
                if token is None and end - begin > 1:
                    continue
                score = best[begin][0] + (_UNSEEN if token is None else self.scores[token])
                if score > best[end][0]:
                    best[end] = (score, begin, UNKNOWN if token is None else token)
        found, end = [], len(text)
        while end:
            _, begin, token = best[end]
            found.append(token)
            end = begin
        return found[::-1]

    def confident(self, log_prob: float, length: int) -> float:
        """The calibrated confidence of a caption of `length` tokens (the end counted): 0 to 1."""
        if not self.confidence:
            return float("nan")
        bias, per_token, whole = self.confidence
        logit = bias + per_token * log_prob / max(length, 1) + whole * log_prob
        return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def fit_words(sentences: Iterable[str], least_count: int, **rest) -> Codec:
    """A vocabulary of the words that come at least so often, the commonest first."""
    counts = Counter(word for sentence in sentences for word in words(sentence))
    kept = sorted((word for word, n in counts.items() if n >= least_count), key=lambda word: (-counts[word], word))
    return Codec("words", (*SPECIAL, *kept), **rest)
