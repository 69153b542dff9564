"""What the generator writes: passages and words of Python's own manual or of a text file, common and invented words,
numbers, punctuation."""

import re
import string
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from . import common

PUNCTUATION = "!\"#$%&'()*+,-./:;?[]"
ALPHABET = " " + PUNCTUATION + string.digits + string.ascii_uppercase + string.ascii_lowercase
SPLITS = ("train", "validation", "test")
_AROUND = (("(", ")"), ('"', '"'), ("'", "'"), ("[", "]"), ("", "'s"), ("", "'"), ('"', ""))
# Letters that stand at random, and codes, which leave out what looks alike.
_CODES = (*[string.ascii_lowercase] * 3, string.ascii_uppercase, "ABCDEFGHJKLMNPQRTUVWXY346789")
_PASSAGES = 0.3  # the share of lines that go along the text
_ONE_IN = 10  # words whose checksum ends so are for validation, and as many for test


@dataclass(frozen=True)
class Words:
    """Words of one split with their summed weights, summed p(letter | letter) to invent words from, and the text's
    tokens in their order."""

    split: str
    words: tuple[str, ...]
    cumulative: np.ndarray
    follow: np.ndarray
    running: tuple[str, ...]


def split_of(word: str) -> str:
    """The split that alone uses a word, whatever its capitals."""
    rest = zlib.crc32(word.lower().encode()) % _ONE_IN
    return SPLITS[2] if rest == 0 else SPLITS[1] if rest == 1 else SPLITS[0]


def read_text(path: str = "") -> str:
    """A text file, or without a path the manual that Python brings."""
    if not path:
        from pydoc_data.topics import topics

        return "\n".join(topics.values())
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable UTF-8 text ({error})") from None


def load(split: str, path: str = "") -> Words:
    """The words of one split, or of all where `split` is empty; no word is in two splits. Without a path, common
    English words are among them."""
    text = read_text(path)
    found: dict[str, float] = {}
    for word in re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text):
        if len(word) <= 14 and (word.islower() or word.istitle()):
            found[word.lower()] = found.get(word.lower(), 0) + 1
    weights = {word: count**0.4 for word, count in found.items()}  # rare words count: letters should vary
    if not path:
        most = max(weights.values())
        for rank, word in enumerate(common.WORDS):
            weights[word.lower()] = max(weights.get(word.lower(), 0), most / (1 + rank / 30) ** 0.5)
    words = sorted(word for word in weights if split in ("", split_of(word)))
    if len(words) < 20:
        raise DataError(f"{path or 'texts'}: {len(words)} different words for {split or 'all'}; expected 20 or more")
    shares = np.array([weights[word] for word in words])
    follow = np.full((27, 27), 0.02)
    for word in words:
        codes = [0, *(ord(c) - 96 for c in word if c.isalpha()), 0]
        np.add.at(follow, (codes[:-1], codes[1:]), 1.0)
    follow = np.cumsum(follow / follow.sum(1, keepdims=True), axis=1)
    return Words(split, tuple(words), np.cumsum(shares / shares.sum()), follow, _running(text, split))


def _running(text: str, split: str) -> tuple[str, ...]:
    """The tokens of a text in their order, without what is no English word and the words of other splits."""
    known = re.compile(r"[(\"']?([A-Z]?[a-z]+(?:'[a-z]+)?)(?:-[a-z]+)?['\"]?[),.;:?!]*")
    found = ((token, known.fullmatch(token)) for token in text.split())
    fitting = ((t, match[1]) for t, match in found if match and len(t) <= 16 and "-" not in t)
    return tuple(t for t, word in fitting if split in ("", split_of(word)))


def line(words: Words, length: int, rng: np.random.Generator) -> str:
    """A line of text of about `length` characters: a passage of the text, or words drawn one by one."""
    parts: list[str] = []
    size = 0
    passage = len(words.running) > length and rng.random() < _PASSAGES
    start = int(rng.integers(len(words.running) - length)) if passage else 0
    while size < length:
        part = words.running[start + len(parts)] if passage else _token(words, rng, first=not parts)
        parts.append(part)
        size += len(part) + 1
    text = " ".join(parts)
    return text if len(text) <= length + 8 or len(parts) == 1 else " ".join(parts[:-1])


def _token(words: Words, rng: np.random.Generator, first: bool) -> str:
    kind = rng.random()
    if kind < 0.05:
        return "".join(rng.choice(list(string.digits), rng.integers(1, 5)))
    if kind < 0.08:
        return "".join(rng.choice(list(string.ascii_uppercase), rng.integers(1, 6)))
    if kind < 0.22:
        word = _new_word(words, rng, kind < 0.12)
    else:
        word = words.words[min(int(words.cumulative.searchsorted(rng.random())), len(words.words) - 1)]
    if (first and rng.random() < 0.4) or rng.random() < 0.16:
        word = word[:1].upper() + word[1:]
    return _punctuated(word, rng)


def _new_word(words: Words, rng: np.random.Generator, any_letters: bool) -> str:
    """Letters at random, or a word that sounds like the others; one that belongs to the split."""
    while True:
        if any_letters:
            letters = _CODES[rng.integers(len(_CODES))]
            word = "".join(letters[i] for i in rng.integers(0, len(letters), rng.integers(2, 8)))
        else:
            word = _invent(words.follow, rng)
        if words.split in ("", split_of(word)):
            return word


def _invent(follow: np.ndarray, rng: np.random.Generator) -> str:
    word, code = "", 0
    while len(word) < 10:
        code = min(int(follow[code].searchsorted(rng.random())), 26)
        if code == 0 and len(word) > 1:
            break
        word += chr(code + 96) if code else ""
    return word


def _punctuated(word: str, rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.13:
        return word + str(rng.choice(list(",.,.,.,.;:!?-")))
    if kind < 0.19:
        left, right = _AROUND[rng.integers(len(_AROUND))]
        return left + word + right
    if kind < 0.22:
        return str(rng.choice(list("#&*+-/$%"))) if rng.random() < 0.5 else word + "-" + word[::-1]
    return word
