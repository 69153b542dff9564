"""Pictures of music."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..core.report import save_figure
from .score import Piece

COLOURS = ("#1f5fa8", "#c2571a", "#2e7d4f", "#7a4fa3", "#444444")


def plot_roll(piece: Piece, path: Path, primer_beats: float = 0.0) -> None:
    """A piano roll: a bar for each note, a colour for each voice, a line for each bar line, the primer shaded."""
    figure = Figure(figsize=(min(4 + piece.beats / 8, 30), 3.6), layout="constrained")
    axes = figure.add_subplot()
    for number, voice in enumerate(np.unique(piece.notes["voice"])):
        notes = piece.notes[piece.notes["voice"] == voice]
        axes.barh(
            notes["pitch"], notes["duration"], left=notes["start"], height=0.8, color=COLOURS[number % len(COLOURS)],
            edgecolor="white", linewidth=0.4,
        )  # fmt: skip
    if primer_beats:
        axes.axvspan(0, primer_beats, color="#999999", alpha=0.2, linewidth=0)
    beats = np.arange(0.0, piece.beats, 0.5)
    for beat in beats[piece.place_in_bar(beats) < 0.01]:
        axes.axvline(beat, color="#999999", linewidth=0.4, zorder=0)
    low, high = (piece.notes["pitch"].min(), piece.notes["pitch"].max()) if len(piece.notes) else (60, 72)
    octaves = np.arange(low // 12, high // 12 + 2)
    axes.set_yticks(12 * octaves, [f"C{octave - 1}" for octave in octaves])
    axes.set(xlim=(0, max(piece.beats, 1)), ylim=(low - 1.5, high + 1.5), xlabel="beats (bars: lines)", ylabel="pitch")
    axes.grid(axis="y", linewidth=0.3)
    save_figure(figure, path)


def plot_histograms(histograms: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """Pitch classes, note lengths, polyphony and repetition of the test set, the model and the Markov chain."""
    names = list(histograms["test"])
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        for number, (who, found) in enumerate(histograms.items()):
            width = 0.8 / len(histograms)
            axes.bar(np.arange(len(found[name])) + number * width, found[name], width, label=who, color=COLOURS[number])
        axes.set_title(name.replace("_", " "), fontsize=9)
        if name == "repetition":
            axes.set_xticks([0.3, 1.3], ["heard before", "new"])
    figure.axes[0].legend(frameon=False, fontsize=7)
    save_figure(figure, path)


def plot_scores(scores: list[np.ndarray], path: Path) -> None:
    """Nats of a step over the steps of the pieces: the mean, and the middle half of the pieces."""
    steps = int(np.median([len(s) for s in scores]))
    table = np.full((len(scores), steps), np.nan)
    for row, found in zip(table, scores, strict=True):
        row[: len(found)] = found[:steps]
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.add_subplot()
    axes.fill_between(np.arange(steps), *np.nanquantile(table, (0.25, 0.75), axis=0), alpha=0.25, linewidth=0)
    axes.plot(np.nanmean(table, axis=0), linewidth=1)
    axes.set(xlabel="step", ylabel="nats", title="Negative log-likelihood along the test pieces")
    save_figure(figure, path)
