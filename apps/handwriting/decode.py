"""Log-probabilities to text: best path or prefix beam, with a language model, a lexicon, hot words or a pattern."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..core.decoding import LanguageModel, PrefixBeamSearch, Transcript, best_path
from ..core.errors import DataError, UsageError
from . import attending, texts
from .codec import Codec
from .patterns import Pattern

MOST_FRAMES = 20_000
BUILT_IN = "built-in"  # the language model of the English that the generator writes
_BUILT_IN_LINES = 24_000


class Decoder:
    """Reads log-probabilities (frames, classes): the n best `Transcript`s, best first.

    Args:
        codec: whose alphabet the classes are.
        options: a `PredictOptions`.
        language_model: in place of the one that `options` name.
    """

    def __init__(self, codec: Codec, options, language_model: LanguageModel | None = None):
        self.codec, self.options, self.language_model = codec, options, language_model
        _check(options)
        self.sure = codec.sure if options.sure is None else options.sure
        self._search = self._make() if _guided(options) else None

    def __call__(self, seen: np.ndarray | attending.Encoded) -> list[Transcript]:
        """Reads what `look` returned."""
        if isinstance(seen, attending.Encoded):
            return self._write(seen)
        log_probs = seen
        if len(log_probs) > MOST_FRAMES:
            raise DataError(f"{len(log_probs):,} frames; expected at most {MOST_FRAMES:,}; give one line at a time")
        if self._search is None:
            return best_path(log_probs[None], self.codec.alphabet, log_probs=True)
        try:
            found = self._search(log_probs[None], n_best=min(self.options.n_best, self._search.beam))[0]
        except ValueError as error:
            raise DataError(f"no reading: {error}") from None
        if not found:
            raise DataError("no reading fits the rules (--pattern, --lexicon); loosen them")
        return found

    def _write(self, seen: attending.Encoded) -> list[Transcript]:
        options = self.options
        if options.language_model or options.lexicon or options.hotwords:
            raise UsageError("--language-model, --lexicon, --hotwords: for CTC; this model has an attention decoder")
        allowed = Pattern(options.pattern, self.codec.alphabet).allowed if options.pattern else None
        found = attending.search(seen, self.codec.alphabet, options.beam, options.n_best, allowed)
        if not found:
            raise DataError("no reading fits --pattern; loosen it")
        return found

    def _make(self) -> PrefixBeamSearch:
        options, alphabet = self.options, self.codec.alphabet
        model = self.language_model
        if model is None and options.language_model:
            model = load_language_model(options.language_model, alphabet)
        lexicon = _words(options.lexicon, alphabet) if options.lexicon else None
        pattern = Pattern(options.pattern, alphabet) if options.pattern else None
        hot = [word for word in options.hotwords if set(word) <= set(alphabet)]
        return PrefixBeamSearch(
            alphabet,
            beam=max(options.beam, 10 if pattern or lexicon else 1),
            language_model=model,
            lm_weight=options.lm_weight,
            bonus=options.bonus if model else 0.0,
            lexicon=lexicon,
            unknown=options.unknown,
            hotwords=hot or None,
            allowed=pattern.allowed if pattern else None,
            threshold=-np.inf if pattern else -7.0,
            margin=np.inf if pattern else 15.0,
            log_probs=True,
        )


def look(engine, frames: np.ndarray) -> np.ndarray | attending.Encoded:
    """What the network says of frames (frames, features): log-probabilities (frames, classes), or a memory to read."""
    frames = np.asarray(frames, np.float32)
    if "encode" in engine.signatures:
        return attending.encode(engine, frames)
    return engine("recognise", frames=frames[None])["log_probs"][0]


def _guided(options) -> bool:
    return bool(options.beam > 1 or options.language_model or options.lexicon or options.pattern or options.hotwords)


def _check(options) -> None:
    if options.beam < 1 or options.n_best < 1:
        raise UsageError("expected --beam and --n-best 1 or more")
    if options.n_best > 1 and not options.beam > 1:
        raise UsageError("--n-best: the best path is one reading; give --beam 10 or more beside it")
    if not 0 <= options.lm_weight <= 10 or options.unknown > 0:
        raise UsageError("expected --lm-weight of 0 to 10 and --unknown of 0 or less")
    if options.sure is not None and not 0 <= options.sure <= 1:
        raise UsageError(f"--sure: expected a share in [0, 1], received {options.sure}")


def built_in(alphabet: tuple[str, ...], split: str = "", order: int = 7) -> LanguageModel:
    """The English that the generator writes: counted from lines of the words of all splits, or of one."""
    rng, words = np.random.default_rng(0), texts.load(split)
    return _counted((texts.line(words, 40, rng) for _ in range(_BUILT_IN_LINES)), BUILT_IN, alphabet, order)


def load_language_model(path: Path | str, alphabet: tuple[str, ...], order: int = 6) -> LanguageModel:
    """A saved model (.npz); one counted from a UTF-8 text file, a text a line, other characters part the texts; or
    `built-in`."""
    if str(path) == BUILT_IN:
        return built_in(alphabet)
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a text file, a saved language model (.npz) or '{BUILT_IN}'")
    if path.suffix == ".npz":
        try:
            return LanguageModel.load(path)
        except (ValueError, OSError, KeyError) as error:
            raise DataError(f"{path}: not a language model ({error})") from None
    return _counted(_lines(path), path, alphabet, order)


def _counted(lines: Iterable[str], name: Path | str, alphabet: tuple[str, ...], order: int) -> LanguageModel:
    kept = set(alphabet)
    found = ["".join(c if c in kept else " " for c in line).split() for line in lines]
    found = [" ".join(words) for words in found if words]
    if not found:
        raise DataError(f"{name}: no text in the model's alphabet")
    longest = int(63 * np.log(2) / np.log(len(alphabet) + 2))
    return LanguageModel.train(found, order=min(order, longest), alphabet="".join(alphabet))


def _words(path: Path, alphabet: tuple[str, ...]) -> list[str]:
    words = sorted({word for line in _lines(Path(path)) for word in line.split() if set(word) <= set(alphabet)})
    if not words:
        raise DataError(f"{path}: no word in the model's alphabet")
    return words


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable UTF-8 text ({error})") from None
