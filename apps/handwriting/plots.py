"""Lines as pictures with what was read, confusions, calibration."""

from pathlib import Path

import numpy as np

from ..core.report import save_figure
from .ink import Ink
from .pictures import Picture


def _figure(width: float, height: float):
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot_readings(readings, path: Path) -> None:
    """Each line drawn, with its text where that is known, what was read, and how sure."""
    count = max(len(readings), 1)
    figure = _figure(9, 1.3 * count)
    axes = np.atleast_1d(figure.subplots(count, 1))
    for ax, reading in zip(axes, readings, strict=False):
        draw_ink(ax, reading.ink)
        truth = f"written: {reading.ink.text}\n" if reading.ink.text is not None else ""
        sure = "" if reading.sure else ", not sure"
        title = f"{truth}read:     {reading.text}   [{reading.confidence:.0%}{sure}]"
        ax.set_title(title.replace("$", r"\$"), loc="left", fontsize=8, family="monospace")
    save_figure(figure, path)


def draw_ink(ax, ink: Ink | Picture) -> None:
    """The strokes on axes, the right way up; or the picture."""
    if isinstance(ink, Picture):
        ax.imshow(ink.pixels, cmap="gray", vmin=0, vmax=1)
        ax.axis("off")
        return
    for stroke in ink.strokes:
        ax.plot(stroke[:, 0], stroke[:, 1], "-", color="black", linewidth=1.0, marker="." if len(stroke) < 3 else None)
    ax.invert_yaxis()
    ax.set_aspect("equal", adjustable="datalim")
    ax.axis("off")


def plot_confusions(confusions: list[tuple[str, str, int]], path: Path) -> None:
    """The commonest confusions as bars: written → read."""
    top = confusions[:25]
    figure = _figure(6, 0.5 + 0.22 * len(top))
    axes = figure.add_subplot()
    names = [f"{_name(a)} → {_name(b)}".replace("$", r"\$") for a, b, _ in top]
    axes.barh(range(len(top)), [n for _, _, n in top], color="0.4")
    axes.set_yticks(range(len(top)), names, family="monospace")
    axes.invert_yaxis()
    axes.set(xlabel="times", title="Written → read")
    save_figure(figure, path)


def _name(letter: str) -> str:
    return {"": "nothing", " ": "space"}.get(letter, letter)


def plot_calibration(curve: np.ndarray, path: Path) -> None:
    """Share of right characters over the confidence in them."""
    figure = _figure(4.2, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8, linestyle=":")
    if len(curve):
        axes.plot(curve[:, 0], curve[:, 1], marker="o", color="black")
        for confidence, right, number in curve:
            axes.annotate(f"{number:.0f}", (confidence, right), fontsize=7, xytext=(4, -8), textcoords="offset points")
    axes.set(xlabel="confidence", ylabel="share right", title="Calibration of characters", xlim=(0, 1), ylim=(0, 1))
    save_figure(figure, path)
