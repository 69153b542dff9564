"""Plots of a sweep: history of the best, parallel coordinates, learning curves, importance."""

from pathlib import Path

from ..apps.core.report import save_figure
from .search import DEFAULT


def draw(search, trials: list, weights, directory: Path) -> None:
    """Draws what `trials`, those with a score, have to show; `weights` as `report.importance` gives them, or None."""
    name, lowest = search.space.OBJECTIVE, search.space.DIRECTION == "min"
    _history(trials, name, lowest, directory / "history.png")
    _parallel(search.names, trials, name, lowest, directory / "parallel.png")
    _curves(search, trials, directory / "curves.png")
    if weights:
        _importance(weights[0], directory / "importance.png")


def _axes(width=6.0, height=3.2):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _history(trials, name, lowest, path: Path) -> None:
    figure, axes = _axes()
    scores = [t.score for t in trials]
    numbers = [int(t.name) for t in trials]
    best = [(min if lowest else max)(scores[: i + 1]) for i in range(len(scores))]
    axes.plot(numbers, scores, "o", color="tab:grey", markersize=4, label="trial")
    axes.step(numbers, best, where="post", label="best so far")
    default = next((t.score for t in trials if t.name == DEFAULT), None)
    if default is not None:
        axes.axhline(default, color="tab:orange", linewidth=0.8, linestyle=":", label="default configuration")
    axes.set(xlabel="trial", ylabel=name, title="History of the best")
    axes.legend(frameon=False)
    save_figure(figure, path)


def _parallel(names, trials, objective, lowest, path: Path) -> None:
    """A line a trial, an axis a hyperparameter, the darker the better."""
    import matplotlib

    from .report import codes

    tried = [n for n in names if len({str(t.config[n]) for t in trials}) > 1]
    columns = {n: codes([t.config[n] for t in trials]) for n in tried}
    columns[objective] = codes([t.score for t in trials])
    figure, axes = _axes(max(6.0, 0.9 * len(columns)), 4.0)
    heights = [_unit(values) for values, _ in columns.values()]
    order = sorted(range(len(trials)), key=lambda i: trials[i].score, reverse=lowest)
    for rank, i in enumerate(order):  # the best on top
        color = matplotlib.colormaps["viridis_r"](rank / max(len(order) - 1, 1))
        axes.plot([h[i] for h in heights], color=color, linewidth=2.0 if i == order[-1] else 0.9, alpha=0.8)
    for place, (values, words) in enumerate(columns.values()):
        axes.axvline(place, color="black", linewidth=0.5)
        for value, height in sorted(set(zip(values, heights[place], strict=True)))[:: max(1, len(set(values)) // 5)]:
            text = words[int(value)] if words else f"{value:.3g}"
            axes.text(place, height, f" {text}", fontsize=7, va="center")
    axes.set_xticks(range(len(columns)), columns, rotation=40, ha="right", fontsize=8)
    axes.set_yticks([])
    axes.set_title("Parallel coordinates")
    save_figure(figure, path)


def _unit(values: list[float]) -> list[float]:
    """Values laid out over [0, 1]; by their logarithm where they span a factor of ten."""
    import math

    if min(values) > 0 and max(values) >= 10 * min(values):
        values = [math.log(v) for v in values]
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 0.5 for v in values]


def _curves(search, trials, path: Path) -> None:
    figure, axes = _axes()
    best = search.best().name
    fields = search.space.COMPARABLE
    same = [t for t in trials if t.curve and all(t.config[f] == search.trials[best].config[f] for f in fields)]
    for t in same:
        style = {"color": "tab:blue", "linewidth": 2, "label": "best"} if t.name == best else {"color": "tab:grey"}
        if t.name == DEFAULT and t.name != best:
            style = {"color": "tab:orange", "label": "default configuration"}
        axes.plot(range(1, len(t.curve) + 1), t.curve, **{"linewidth": 0.8, **style})
    axes.set(xlabel="epoch", ylabel="validation loss", title="Learning curves of trials with the best one's loss")
    if same:
        axes.legend(frameon=False)
    save_figure(figure, path)


def _importance(weights: dict, path: Path) -> None:
    figure, axes = _axes(6.0, 1.0 + 0.25 * len(weights))
    axes.barh(list(weights)[::-1], list(weights.values())[::-1])
    axes.set(xlabel="share of the permutation importance", title="Importance")
    save_figure(figure, path)
