"""What a sweep shows while it runs and leaves when it ends: a table, trials.csv, best.json, report.md."""

import statistics
import sys
import time
from pathlib import Path

from ..apps.core.config import to_json
from ..apps.core.files import write_csv, write_json, write_text
from ..apps.core.report import table as markdown
from . import plots
from .search import DEFAULT, Search, Trial

SHOWN = 12  # rows of the live table
ENOUGH = 8  # trials below which importances would be noise


class Table:
    """The live table on a terminal; elsewhere a line for each trial that ends; nothing when quiet."""

    def __init__(self, search: Search, workers: int, quiet: bool):
        self.search, self.workers, self.quiet, self.live = search, workers, quiet, None
        self.told = {t.name for t in _all(search) if t.ended}

    def __enter__(self):
        if not self.quiet and sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self._render, refresh_per_second=2)
            self.live.__enter__()
        elif not self.quiet and self.told:
            print(f"resumed: {len(self.told)} ended before", flush=True)
        return self

    def __exit__(self, *error):
        if self.live:
            self.live.__exit__(*error)

    def refresh(self) -> None:
        """Tells of what has ended since the last call, where there is no terminal."""
        if self.quiet or self.live:
            return
        for trial in _all(self.search):
            if trial.ended and trial.name not in self.told:
                self.told.add(trial.name)
                left = _time(time_left(self.search, self.workers))
                print(f"{trial.name} {trial.state}, {_outcome(trial)}; {left} left", flush=True)

    def _render(self):
        from rich.table import Table as Grid

        search, best = self.search, self.search.best()
        found = f"best {best.score:.4g} (trial {best.name})" if best else "no score yet"
        left = _time(time_left(search, self.workers))
        grid = Grid(title=f"{search.sweep.application}: {search.space.OBJECTIVE}, {found}; {left} left")
        for column in ("trial", "state", "epochs", search.space.OBJECTIVE, "seconds", "worker", ""):
            grid.add_column(column)
        for t in sorted(_all(search), key=lambda t: (not t.ended, t.name))[-SHOWN:]:
            score = "" if t.score is None else f"{t.score:.4g}"
            seconds = "" if t.seconds is None else f"{t.seconds:.0f}"
            style = "bold" if best and t.name == best.name else "red" if t.state == "failed" else None
            cells = (t.name, t.state, str(t.epochs or len(t.curve)), score, seconds, t.worker, t.message[:60])
            grid.add_row(*cells, style=style)
        return grid


def time_left(search: Search, workers: int) -> float | None:
    """Seconds to the end of the search, by what the trials have taken so far."""
    trials = list(search.trials.values())
    took = [t.seconds for t in trials if t.seconds]
    bounds = [search.seconds - search.elapsed]
    if search.most is not None and took:
        bounds.append(statistics.fmean(took) * max(search.most - sum(t.ended for t in trials), 0) / max(workers, 1))
    return max(min(bounds), 0.0) if min(bounds) < float("inf") else None


def write_trials(search: Search, path: Path) -> None:
    """A row for each trial; the hyperparameters are those it ran with, the inactive ones of the base included."""
    write_csv(path / "trials.csv", [_row(search, t) for t in search.trials.values()])


def write_best(search: Search, path: Path) -> None:
    """The best configuration so far, as `train --config` takes it."""
    best = search.best()
    if best is None:
        return
    write_json(
        path / "best.json",
        {
            "application": search.sweep.application,
            "config": to_json(search.full_config(best)),
            "trial": best.name,
            "objective": search.space.OBJECTIVE,
            "score": best.score,
            "default_score": search.trials[DEFAULT].score,
        },
    )


def write_report(search: Search, path: Path, places) -> None:
    """trials.csv, best.json, the plots, and report.md."""
    write_trials(search, path)
    write_best(search, path)
    trials = [t for t in search.trials.values() if t.score is not None]
    weights = importance(search.names, trials) if len(trials) >= ENOUGH else None
    plots.draw(search, trials, weights, path / "plots")
    states = [t.state for t in search.trials.values()]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("done", "stopped", "failed") if s in states)
    overheads = [t.overhead for t in search.trials.values() if t.overhead is not None]
    pinned = f"{len(places)} workers with {len(places[0].cores)} of the cores each" if places else "workers elsewhere"
    cut = sum(t.cut for t in search.trials.values())
    overhead = f"{statistics.median(overheads):.1f} s" if overheads else "unknown"
    parts = [
        f"# elman {search.sweep.application} tune: report",
        f"{len(states)} trials ({counts}) by {search.sweep.search} search in {search.elapsed / 60:.1f} minutes on "
        f"{pinned}; {search.sweep.seeds} seed(s) each, at most {search.sweep.trial_epochs} epochs. Per trial, "
        f"{overhead} (median) were not training: start of the process, data, tracing, scoring. "
        f"{cut} times a trial was cut off and taken up again.",
        _comparison(search),
        _gain(search),
        _best_table(search),
        "## History\n![history](plots/history.png)",
        "## Trials\n![parallel coordinates](plots/parallel.png)\n\n" + _trials_table(search),
        "## Importance\n" + _importance_text(weights, len(trials)),
        "## Learning curves\n![learning curves](plots/curves.png)",
    ]
    failed = [t for t in search.trials.values() if t.state == "failed"]
    if failed:
        parts.append("## Failed trials\n" + "\n".join(f"- {t.name}: {t.message}" for t in failed))
    write_text(path / "report.md", "\n\n".join(parts) + "\n")


def gain(search: Search) -> tuple[float, float] | None:
    """Mean test score of the default and of the best configuration over the other seeds."""
    best, name = search.best(), search.space.OBJECTIVE
    means = [[m[name] for m in search.tested(t)] for t in (search.trials[DEFAULT], best)]
    return tuple(statistics.fmean(values) for values in means) if all(means) else None


def importance(names: list[str], trials: list[Trial]) -> tuple[dict[str, float], float]:
    """Share of each hyperparameter in what a random forest knows of the scores, and the forest's R² out of bag.

    The share is the permutation importance (Breiman 2001): how much worse the forest gets when a column is shuffled.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    columns = {name: [t.config[name] for t in trials] for name in names}
    columns = {name: values for name, values in columns.items() if len(set(map(str, values))) > 1}
    if not columns:
        return {}, 0.0
    table = np.stack([codes(values)[0] for values in columns.values()], axis=1)
    scores = np.array([t.score for t in trials])
    forest = RandomForestRegressor(300, oob_score=True, random_state=0).fit(table, scores)
    found = permutation_importance(forest, table, scores, n_repeats=10, random_state=0).importances_mean.clip(0)
    shares = found / max(found.sum(), 1e-12)
    ranked = sorted(zip(columns, shares.tolist(), strict=True), key=lambda pair: -pair[1])
    return dict(ranked), float(forest.oob_score_)


def codes(values: list) -> tuple[list[float], list[str] | None]:
    """Values as numbers; words by their place among the sorted words, which come back as well."""
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return [float(v) for v in values], None
    words = sorted({str(v) for v in values})
    return [float(words.index(str(v))) for v in values], words


def _all(search: Search) -> list[Trial]:
    return [*search.trials.values(), *search.tests.values()]


def _row(search: Search, t: Trial) -> dict:
    scores = [m[search.space.OBJECTIVE] for m in t.metrics]
    return {
        "trial": t.name,
        "state": t.state,
        search.space.OBJECTIVE: t.score,
        **({f"seed {s}": v for s, v in zip(t.seeds, scores, strict=False)} if len(t.seeds) > 1 else {}),
        "epochs": t.epochs,
        "seconds": t.seconds,
        "overhead": t.overhead,
        "cut": t.cut,
        "worker": t.worker,
        "message": t.message,
        **{name: t.config[name] for name in search.names},
    }


def _outcome(t: Trial) -> str:
    score = t.message if t.score is None else f"{t.score:.4g} ({t.message})"
    return f"{score}, {t.epochs} epochs in {t.seconds or 0:.0f} s"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    return time.strftime("%H:%M:%S" if seconds >= 3600 else "%M:%S", time.gmtime(seconds))


def _comparison(search: Search) -> str:
    name, best, default = search.space.OBJECTIVE, search.best(), search.trials[DEFAULT]
    rows = [["default", DEFAULT, _number(default.score)], ["best", best.name, _number(best.score)]]
    text = f"## Validation: {name}\n{markdown(['', 'trial', name], rows)}"
    return text + ("\n\nNo trial was better than the default configuration." if best.name == DEFAULT else "")


def _gain(search: Search) -> str:
    """The test split decides whether the search was worth it; said plainly either way."""
    name, best = search.space.OBJECTIVE, search.best()
    title = f"## Test: {name}, retrained with other seeds"
    if not search.confirm:
        return f"{title}\nNot measured (--confirm 0)."
    rows = []
    for label, trial in (("default", search.trials[DEFAULT]), ("best", best)):
        values = [m[name] for m in search.tested(trial)]
        mean = _number(statistics.fmean(values)) if values else "failed"
        rows.append([label, trial.name, mean, ", ".join(map(_number, values))])
    text = f"{title}\n{markdown(['', 'trial', 'mean', 'each seed'], rows)}"
    means = gain(search)
    if best.name == DEFAULT or means is None:
        return text
    before, after = means
    sign = 1 if search.space.DIRECTION == "min" else -1
    change = f"{100 * abs(after - before) / abs(before):.1f} %" if before else f"{abs(after - before):.3g}"
    verdict = "better" if sign * (before - after) > 0 else "NOT better"
    seeds = "one seed, which is little to go by" if search.confirm == 1 else f"{search.confirm} seeds"
    return f"{text}\n\nThe tuned configuration is **{verdict}** than the default: {change} apart, over {seeds}."


def _best_table(search: Search) -> str:
    best, base = search.best().config, search.sweep.base
    rows = [[f"{n}", base[n], best[n]] for n in search.names if best[n] != base[n]]
    body = markdown(["", "default", "best"], rows) if rows else "The default configuration."
    again = f"elman {search.sweep.application} train --config best.json"
    return f"## The best configuration\n{body}\n\nTrain it with `{again}`."


def _trials_table(search: Search) -> str:
    tried = [n for n in search.names if len({str(t.config[n]) for t in search.trials.values()}) > 1]
    sign = 1 if search.space.DIRECTION == "min" else -1
    ranked = sorted(search.trials.values(), key=lambda t: (t.score is None, sign * (t.score or 0)))
    rows = [[t.name, t.state, _number(t.score), t.epochs, *(t.config[n] for n in tried)] for t in ranked]
    return markdown(["trial", "state", search.space.OBJECTIVE, "epochs", *tried], rows)


def _importance_text(weights, count: int) -> str:
    if weights is None:
        return f"{count} trials have a score; below {ENOUGH} an importance would be noise."
    return (
        "![importance](plots/importance.png)\n\nPermutation importance in a random forest of the scores, which "
        f"explains {max(weights[1], 0):.0%} of their variance out of bag: the lower that is, the less these say."
    )


def _number(value) -> str:
    return "" if value is None else f"{value:.4g}"
