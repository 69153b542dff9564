"""BLEU, ROUGE-L and CIDEr-D of captions against several references, on the words of `codec.words`; METEOR by nltk."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .codec import words

Captions = Sequence[str]
_ORDERS = 4
_SIGMA = 6.0  # CIDEr-D: the width of the penalty for a caption of another length
_BETA = 1.2  # ROUGE-L: how much more recall counts than precision


def _ngrams(tokens: Sequence[str]) -> list[Counter]:
    """For each order 1 to 4, how often each n-gram comes."""
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in range(1, _ORDERS + 1)]


def bleu(found: Captions, references: Sequence[Captions]) -> list[float]:
    """BLEU-1 to BLEU-4 of a corpus, 0 to 1.

        BLEU-N = min(1, exp(1 − r/c)) (Π_{n≤N} p_n)^{1/N}

    with p_n the share of n-grams that a reference has (each at most as often as in one reference), c the words of all
    captions, r those of the references nearest in length (the shorter one of two).

    Reference: Papineni et al. 2002.
    """
    right, total, length, nearest = np.zeros(_ORDERS), np.zeros(_ORDERS), 0, 0
    for caption, truths in zip(found, references, strict=True):
        tokens, truths = words(caption), [words(truth) for truth in truths]
        most = [Counter() for _ in range(_ORDERS)]
        for truth in truths:
            most = [a | b for a, b in zip(most, _ngrams(truth), strict=True)]
        for n, grams in enumerate(_ngrams(tokens)):
            right[n] += sum((grams & most[n]).values())
            total[n] += sum(grams.values())
        length += len(tokens)
        nearest += min((abs(len(truth) - len(tokens)), len(truth)) for truth in truths)[1]
    with np.errstate(divide="ignore"):
        logs = np.log(right) - np.log(np.maximum(total, 1))
    brevity = min(0.0, 1 - nearest / length) if length else -np.inf
    return [float(np.exp(brevity + logs[: n + 1].mean())) for n in range(_ORDERS)]


def rouge_l(found: Captions, references: Sequence[Captions]) -> float:
    """Mean ROUGE-L: F of the longest common subsequence, with best precision and best recall over the references.

    F = (1 + β²) P R / (R + β² P), β = 1.2, as COCO's scorer has it. Reference: Lin 2004.
    """
    scores = []
    for caption, truths in zip(found, references, strict=True):
        tokens = words(caption)
        common = [(_longest_common(tokens, words(truth)), len(words(truth))) for truth in truths]
        precision = max(n for n, _ in common) / max(len(tokens), 1)
        recall = max(n / max(size, 1) for n, size in common)
        both = recall + _BETA**2 * precision
        scores.append((1 + _BETA**2) * precision * recall / both if both else 0.0)
    return float(np.mean(scores))


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


class Cider:
    """CIDEr-D against the references of a corpus, whose document frequencies it counts once.

        CIDEr-D = 10/4 Σ_n mean over references s of e^{−(|c| − |s|)²/2σ²} min(g_c, g_s) · g_s / (‖g_c‖ ‖g_s‖)

    with g the n-grams' counts times log(pictures) − log(pictures whose references have the n-gram), σ = 6. Human
    captions lie near 0.8 on COCO; on small sets the scale is another: compare only scores over the same pictures.

    Args:
        references: the captions of each picture. corpus: where document frequencies come from; `references` by default.
        ends: count the end of a caption as a word, so that breaking off costs: what training on the score needs.

    Reference: Vedantam et al. 2015 (arXiv:1411.5726).
    """

    def __init__(self, references: Sequence[Captions], corpus: Sequence[Captions] | None = None, *, ends: bool = False):
        self.ends = ends
        corpus = references if corpus is None else corpus
        self.frequency: Counter = Counter()
        for truths in corpus:
            self.frequency.update({gram for truth in truths for order in _ngrams(self._words(truth)) for gram in order})
        self.log_size = float(np.log(max(len(corpus), 1)))
        self.references = [[self._vector(truth) for truth in truths] for truths in references]

    def _words(self, caption: str, ended: bool = True) -> list[str]:
        return [*words(caption), "."] if self.ends and ended else words(caption)

    def _vector(self, caption: str, ended: bool = True):
        """Per order: weights of the n-grams, their norm; and the length in words."""
        tokens = self._words(caption, ended)
        orders = []
        for counts in _ngrams(tokens):
            weights = {g: n * (self.log_size - np.log(max(self.frequency[g], 1))) for g, n in counts.items()}
            orders.append((weights, float(np.sqrt(sum(w * w for w in weights.values())))))
        return orders, len(tokens)

    def score(self, index: int, caption: str, ended: bool = True) -> float:
        """The score of a caption of picture `index`, 0 to 10; `ended` says whether it ends, where that counts."""
        orders, length = self._vector(caption, ended)
        truths = self.references[index]
        total = 0.0
        for theirs, size in truths:
            penalty = np.exp(-((length - size) ** 2) / (2 * _SIGMA**2))
            for (ours, norm), (weights, other) in zip(orders, theirs, strict=True):
                shared = sum(min(w, weights[g]) * weights[g] for g, w in ours.items() if g in weights)
                total += penalty * shared / (norm * other) if norm and other else 0.0
        return float(10 * total / (_ORDERS * max(len(truths), 1)))

    def scores(self, found: Captions) -> np.ndarray:
        """(pictures,) the score of one caption of each."""
        return np.array([self.score(i, caption) for i, caption in enumerate(found)])


def cider_d(found: Captions, references: Sequence[Captions]) -> float:
    """Mean CIDEr-D of a corpus, with the document frequencies of its own references."""
    return float(Cider(references).scores(found).mean())


def meteor(found: Captions, references: Sequence[Captions]) -> float | None:
    """Mean METEOR against the best reference of each, 0 to 1, by nltk; None where nltk or its WordNet is not there.

    Reference: Banerjee & Lavie 2005. The Java METEOR 1.5 of COCO's scorer has other weights and paraphrases as well.
    """
    try:
        from nltk.corpus import wordnet
        from nltk.translate.meteor_score import meteor_score

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None
    pairs = zip(found, references, strict=True)
    return float(np.mean([meteor_score([words(t) for t in truths], words(c)) for c, truths in pairs]))


def all_metrics(found: Captions, references: Sequence[Captions]) -> dict[str, float]:
    """CIDEr-D (0 to 10), BLEU-1 to 4, ROUGE-L and, where a library gives it, METEOR (0 to 1) of a corpus."""
    blues = {f"bleu{n}": value for n, value in enumerate(bleu(found, references), 1)}
    scores = {"cider": cider_d(found, references), **blues, "rouge_l": rouge_l(found, references)}
    other = meteor(found, references)
    return scores if other is None else {**scores, "meteor": other}
