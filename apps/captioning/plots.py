"""Pictures of captions: where the model looked, word by word, and whether its confidence can be believed."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.report import save_figure
from .codec import Codec
from .describe import Caption

COLUMNS = 6


def plot_looks(picture: np.ndarray, caption: Caption, codec: Codec, path: Path) -> None:
    """The picture, and once for every word with where the model looked when it said it, in one PNG."""
    words = codec.spoken(caption.tokens)
    columns = min(COLUMNS, len(words) + 1)
    rows = -(-(len(words) + 1) // columns)
    figure = Figure(figsize=(max(2.1 * columns, 5), 2.35 * rows), layout="constrained")
    figure.suptitle(f"{caption.text}{_sure(caption)}", fontsize=11)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(len(words) + 1)]
    for one in axes:
        one.axis("off")
    axes[0].imshow(picture)
    side = round(caption.looks.shape[1] ** 0.5)
    for axis, (word, places) in zip(axes[1:], words, strict=True):
        look = caption.looks[places].mean(axis=0).reshape(side, side)
        height, width = picture.shape[:2]
        axis.imshow(picture.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        axis.imshow(look, cmap="inferno", alpha=0.6, extent=(0, width, height, 0), interpolation="bicubic", vmin=0)
        axis.set_title(word, fontsize=10)
    save_figure(figure, path)


def _sure(caption: Caption) -> str:
    return "" if np.isnan(caption.confidence) else f"   ({100 * caption.confidence:.0f} % sure)"


def plot_reliability(confidence: np.ndarray, right: np.ndarray, path: Path) -> None:
    """How right captions of about the same confidence are."""
    order = np.argsort(confidence, kind="stable")
    groups = [g for g in np.array_split(order, min(10, len(order))) if len(g)]
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle=":")
    axes.plot([confidence[g].mean() for g in groups], [right[g].mean() for g in groups], marker="o")
    axes.set(xlabel="confidence", ylabel="right", xlim=(0, 1), ylim=(0, 1.02), title="Test captions, ten groups")
    save_figure(figure, path)
