"""What a captioning model has to beat: the caption of the nearest picture, and the likeliest caption. NumPy only."""

from collections.abc import Sequence

import numpy as np

from .metrics import Cider

MOST = 300  # captions among which the likeliest is sought


def nearest_captions(test: np.ndarray, train: np.ndarray, captions: Sequence[Sequence[str]], k: int = 1) -> list[str]:
    """For each test picture the caption of its nearest training picture by cosine, or the consensus of the k nearest.

    The consensus is the caption among those of the k nearest that is most like the others by CIDEr-D.

    Args:
        test, train: features (pictures, features). captions: of each training picture.

    Reference: Devlin et al. 2015, Exploring nearest neighbor approaches for image captioning (arXiv:1505.04467).
    """
    similar = _unit(test) @ _unit(train).T
    order = np.argsort(-similar, axis=1, kind="stable")[:, :k]
    return [captions[row[0]][0] if k == 1 else _consensus([c for i in row for c in captions[i]]) for row in order]


def _unit(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=0)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _consensus(captions: list[str]) -> str:
    """The caption that is most like the others."""
    scorer = Cider([captions], corpus=[[caption] for caption in captions])
    return max(captions, key=lambda caption: scorer.score(0, caption))


def likeliest_caption(captions: Sequence[Sequence[str]]) -> str:
    """One caption for every picture: of a sample of the training captions the one most like all others."""
    every = [caption for group in captions for caption in group]
    some = [every[i] for i in np.linspace(0, len(every) - 1, min(MOST, len(every))).astype(int)]
    return _consensus(some)
