"""What to try next, by keras-tuner's oracles, and the journal from which a killed sweep goes on.

The journal is the only truth: a line for every trial begun, cut off and ended, on disk before anyone hears of it. To
resume, the lines are played to a new oracle. keras-tuner's own files are not used: its grid forgets where it stood, and
a kill between two of its writes loses a trial or runs one twice.
"""

import dataclasses
import fcntl
import json
import math
import os
import statistics
import threading
import time
import uuid
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from ..apps.core.config import from_json, to_json
from ..apps.core.errors import UsageError
from .space import Hyperparameters, to_domains

SEARCHES = ("random", "grid", "bayesian", "hyperband")
SILENCE = 60.0  # seconds without a word of a worker after which its trial is given to another
STRIKES = 3  # a trial that was cut off more often than this without an epoch in between has failed
PEERS = 3  # fewer finished trials than this are no measure of what is hopeless
RANDOM_POINTS = 8  # trials before the Gaussian process of the Bayesian search has a say
DEFAULT = "0000"
ENDED = ("done", "stopped", "failed")
GONE = "gone"


@dataclass
class Trial:
    """A configuration being tried, or retrained with other seeds for the report (`test`)."""

    name: str
    config: dict
    seeds: list[int]
    values: dict = field(default_factory=dict)
    split: str = "validation"
    parent: str = ""
    asked: bool = True
    """Whether the oracle knows of it."""
    state: str = "waiting"
    score: float | None = None
    metrics: list[dict] = field(default_factory=list)
    """The metrics of each seed."""
    curve: list[float] = field(default_factory=list)
    """Validation loss of each epoch (of the first seed)."""
    epochs: int = 0
    seconds: float | None = None
    overhead: float | None = None
    """Seconds that were not training: start of the process, data, first tracing, scoring."""
    message: str = ""
    worker: str = ""
    cut: int = 0
    """Times that it was cut off and taken up again."""
    lease: str = ""
    heard: float = 0.0
    strikes: int = 0
    reached: int = 0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Sweep:
    """What is searched, and how; a directory goes on only with the same."""

    application: str
    space: str
    base: dict
    domains: dict
    search: str = "random"
    seed: int = 0
    seeds: int = 1
    trial_epochs: int = 10
    stop_hopeless: bool = True


class Journal:
    """Lines of JSON, each on disk before `add` returns; one writer at a time."""

    def __init__(self, path: Path):
        self.file = path.open("a+b")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{path.parent}: another tune is at work in this directory") from None
        self.file.seek(0)
        text = self.file.read()
        whole = text[: text.rfind(b"\n") + 1]  # a line that a kill cut short was never heard of
        self.file.truncate(len(whole))
        self.events = [json.loads(line) for line in whole.splitlines()]

    def add(self, event: dict) -> None:
        self.file.write(json.dumps(event).encode() + b"\n")
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


class Search:
    """Hands out trials, hears of them, and decides when a trial and when the sweep is over. Safe to call from threads.

    Args:
        app: the application.
        sweep: what is searched.
        space: the application's space module.
        directory: where `journal.jsonl` is, and what it says is taken up.
        trials: trials to run; None for no bound.
        minutes: minutes in which trials may begin and train; None for no bound.
        confirm: other seeds with which the best and the default configuration are retrained at the end.
    """

    def __init__(self, app, sweep: Sweep, space, directory: Path, *, trials=None, minutes=None, confirm=1):
        self.app, self.sweep, self.space = app, sweep, space
        self.base = from_json(app.config, sweep.base)
        self.domains = to_domains(sweep.domains)
        self.most, self.seconds, self.confirm = trials, math.inf if minutes is None else 60 * minutes, confirm
        self.lock = threading.RLock()
        self.trials: dict[str, Trial] = {}
        self.tests: dict[str, Trial] = {}
        self.exhausted, self.fault = False, ""
        self.names: list[str] = []  # hyperparameters, in the order of the space
        self._by_oracle: dict[str, str] = {}
        self.oracle = self._make_oracle()
        self.journal = Journal(Path(directory) / "journal.jsonl")
        for event in self.journal.events:
            self._replay(dict(event))
        self.before = self.journal.events[-1]["at"] if self.journal.events else 0.0
        self.began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds that the sweep has taken, those before it was cut off included."""
        return self.before + time.monotonic() - self.began

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        with self.lock:
            return bool(self.fault) or (self._closed() and all(t.ended for t in (self._tests() or {}).values()))

    def best(self) -> Trial | None:
        """The trial with the best score so far."""
        scored = [t for t in self.trials.values() if t.ended and t.score is not None]
        sign = 1 if self.space.DIRECTION == "min" else -1
        return min(scored, key=lambda t: (sign * t.score, t.name), default=None)

    def full_config(self, trial: Trial):
        """A trial's configuration with the epochs of a whole training."""
        return dataclasses.replace(from_json(self.app.config, trial.config), epochs=self.base.epochs)

    # What workers call, here or over a channel: plain values in, plain values out.

    def next(self, worker: str) -> dict:
        """A job, the seconds to wait for one, or the end."""
        with self.lock:
            self._reclaim()
            if self.fault:
                return {"stop": self.fault}
            trial = self._waiting(self.trials) or self._new_trial()
            if trial is None and self._closed():
                trial = self._waiting(self._tests())
                if trial is None and self.finished:
                    return {"stop": "finished"}
            if trial is None:
                return {"wait": 1.0}
            trial.state, trial.worker, trial.lease, trial.heard = "running", worker, uuid.uuid4().hex, time.monotonic()
            keys = ("name", "lease", "config", "seeds", "split", "parent")
            return {"job": {key: getattr(trial, key) for key in keys}}

    def report(self, name: str, lease: str, worker: str, curve: list | None = None) -> dict:
        """A sign of life, with the validation loss of every epoch so far; answers with a reason to stop, or none."""
        with self.lock:
            trial = self._find(name)
            if trial is None or trial.ended:
                return {"stop": GONE}
            if trial.state == "waiting":  # this chief was restarted while the worker went on
                trial.state, trial.worker, trial.lease = "running", worker, lease
            if trial.lease != lease:
                return {"stop": GONE}
            trial.heard = time.monotonic()
            if curve is None:
                return {"stop": ""}
            trial.curve = [float(v) for v in curve]
            if trial.split == "test":
                return {"stop": ""}
            if self.elapsed > self.seconds:
                return {"stop": "the time is up"}
            return {"stop": self._hopeless(trial)}

    def end(self, name: str, result: dict) -> dict:
        """A trial has ended; of two workers that both ended it, the first one counts."""
        with self.lock:
            trial = self._find(name)
            if trial is not None and not trial.ended:
                self._end(trial, result)
            return {}

    def lost(self, name: str, lease: str, message: str) -> dict:
        """A trial's process is no more: it waits to be taken up again, unless it never gets any further."""
        with self.lock:
            trial = self._find(name)
            if trial is not None and trial.lease == lease and not trial.ended:
                self._lost(trial, message)
            return {}

    def _find(self, name: str) -> Trial | None:
        return self.trials.get(name) or self.tests.get(name)

    def _waiting(self, trials) -> Trial | None:
        return next((t for t in (trials or {}).values() if t.state == "waiting"), None)

    def _reclaim(self) -> None:
        late = time.monotonic() - SILENCE
        for trial in [*self.trials.values(), *self.tests.values()]:
            if trial.state == "running" and trial.heard < late:
                self._lost(trial, f"no word of worker {trial.worker} for {SILENCE:.0f} s")

    def _lost(self, trial: Trial, message: str) -> None:
        self._write("lost", trial=trial.name, worker=trial.worker, message=message)
        trial.cut += 1
        trial.strikes = 1 if len(trial.curve) > trial.reached else trial.strikes + 1
        trial.reached = max(trial.reached, len(trial.curve))
        trial.state, trial.lease = "waiting", ""
        if trial.strikes > STRIKES:
            times = f"{message}, {trial.strikes} times in a row without getting any further (out of memory?)"
            self._end(trial, {"state": "failed", "message": times})

    def _closed(self) -> bool:
        """No trial is running and none will begin."""
        return all(t.ended for t in self.trials.values()) and not self._may_begin()

    def _may_begin(self) -> bool:
        if not self.trials:
            return True  # without the default configuration there is nothing to compare with
        spent = self.elapsed > self.seconds or (self.most is not None and len(self.trials) >= self.most)
        return not (spent or self.exhausted)

    def _new_trial(self) -> Trial | None:
        if not self._may_begin():
            return None
        name = f"{len(self.trials):04d}"
        if name == DEFAULT and self.reference:
            trial = self._trial(name, self._defaults(), to_json(self._shortened(self.base)), asked=False)
        else:
            values = self._ask(name)
            if values is None:
                return None
            trial = self._trial(name, values, to_json(self._config(values)))
            trial.parent = self._by_oracle.get(values.get("tuner/trial_id", ""), "")
        self._begin(trial, self.trials)
        return trial

    def _trial(self, name, values, config, asked=True) -> Trial:
        seeds = [self.base.seed + k for k in range(self.sweep.seeds)]
        return Trial(name, config, seeds, values, asked=asked)

    def _begin(self, trial: Trial, trials: dict) -> None:
        keys = ("name", "config", "seeds", "values", "split", "parent", "asked")
        self._write("start", **{key: getattr(trial, key) for key in keys})
        trials[trial.name] = trial

    def _end(self, trial: Trial, result: dict) -> None:
        known = {f.name for f in dataclasses.fields(Trial)}
        result = {key: value for key, value in result.items() if key in known}
        if result["state"] != "failed":
            scores = [m[self.space.OBJECTIVE] for m in result["metrics"]]
            result["score"] = statistics.fmean(scores)
            if not math.isfinite(result["score"]):
                result |= {"state": "failed", "score": None, "message": f"the score is {result['score']}"}
        self._write("end", trial=trial.name, worker=trial.worker, **result)
        self._apply(trial, result)

    def _apply(self, trial: Trial, result: dict) -> None:
        for key, value in result.items():
            setattr(trial, key, value)
        trial.lease = ""
        if trial.asked and trial.split == "validation":
            self._tell(trial)
        ended = [t for t in self.trials.values() if t.ended]
        if len(ended) == 3 and all(t.state == "failed" for t in ended):
            self.fault = f"the first three trials failed, the last one with: {trial.message}"

    def _write(self, event: str, **values) -> None:
        self.journal.add({"event": event, **values, "at": round(self.elapsed, 1)})

    def _replay(self, event: dict) -> None:
        kind, _ = event.pop("event"), event.pop("at")
        if kind == "start":
            trial = Trial(**event)
            (self.tests if trial.split == "test" else self.trials)[trial.name] = trial
            if trial.asked and trial.split == "validation":
                self._ask(trial.name, trial.values)
            return
        trial = self._find(event.pop("trial"))
        trial.worker = event.pop("worker")
        if kind == "lost":
            trial.cut += 1
        else:
            self._apply(trial, event)

    # The best and the default configuration again, with other seeds.

    def _tests(self) -> dict[str, Trial]:
        """The retrainings that the report needs; begun when the search is over."""
        best = self.best()
        if best is None:
            return {}
        wanted = {}
        for trial in dict.fromkeys((DEFAULT, best.name)):
            for k in range(self.confirm):
                seed = self.base.seed + self.sweep.seeds + k
                name = f"{trial}-seed-{seed}"
                if name not in self.tests:
                    config = self.base if trial == DEFAULT else self.full_config(self.trials[trial])
                    self._begin(Trial(name, to_json(config), [seed], split="test", asked=False), self.tests)
                wanted[name] = self.tests[name]
        return wanted

    def tested(self, trial: Trial) -> list[dict]:
        """The test metrics of a configuration, one for each seed that it was retrained with."""
        return [t.metrics[0] for t in self.tests.values() if t.name.startswith(f"{trial.name}-") and t.metrics]

    # The oracle.

    def _make_oracle(self):
        import keras_tuner

        space = keras_tuner.HyperParameters()
        named = Hyperparameters(space, self.base, self.domains)
        self.space.sample(named, self.base)
        self.names = list(dict.fromkeys(named.names))
        unknown = next((name for name in self.domains if name not in self.names), None)
        if unknown:
            raise UsageError(f"--space: '{unknown}' is not searched; these are: {', '.join(self.names)}")
        if not named.open:
            raise UsageError("--space: nothing is left to search; every hyperparameter has one value")
        # The reference runs beside the oracle where the oracle cannot name it, or would train it for less.
        self.reference = bool(named.excluded) or self.sweep.search == "hyperband"
        return make_oracle(self.sweep, self.space, space)

    def _defaults(self) -> dict:
        return {name: getattr(self.base, name) for name in self.names}

    def _config(self, values: dict):
        hp = self.oracle.get_space()
        hp.values = {k: v for k, v in values.items() if not k.startswith("tuner/")}
        config = self.space.sample(Hyperparameters(hp, self.base, self.domains), self.base)
        return dataclasses.replace(config, epochs=values.get("tuner/epochs", self._shortened(self.base).epochs))

    def _shortened(self, config):
        return dataclasses.replace(config, epochs=min(config.epochs, self.sweep.trial_epochs))

    def _ask(self, name: str, replayed: dict | None = None) -> dict | None:
        """The oracle's next values; None where it waits for others or has no more."""
        self.oracle.replayed = replayed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the Gaussian process, on few points
            trial = self.oracle.create_trial(name)
        if trial.status == "STOPPED":
            self.exhausted = True
        if trial.status != "RUNNING":
            return None
        self._by_oracle[trial.trial_id] = name
        return dict(trial.hyperparameters.values)

    def _tell(self, trial: Trial) -> None:
        told = self.oracle.ongoing_trials[trial.name]
        told.status = "FAILED" if trial.score is None else "COMPLETED"
        if trial.score is not None:
            self.oracle.update_trial(told.trial_id, {self.space.OBJECTIVE: trial.score})
        self.oracle.end_trial(told)

    def _hopeless(self, trial: Trial) -> str:
        """The median rule (Golovin et al. 2017, Google Vizier): worse than the median of the others at this epoch."""
        epoch = len(trial.curve)
        if not self.sweep.stop_hopeless or trial.name == DEFAULT or epoch < max(2, self.sweep.trial_epochs // 3):
            return ""
        fields = self.space.COMPARABLE
        peers = [
            min(t.curve[:epoch])
            for t in self.trials.values()
            if t.ended and t.curve and all(t.config[f] == trial.config[f] for f in fields)
        ]
        if len(peers) < PEERS or min(trial.curve) <= statistics.median(peers):
            return ""
        return f"worse after {epoch} epochs than the median of {len(peers)} others"


def make_oracle(sweep: Sweep, space, hyperparameters):
    """keras-tuner's oracle of a sweep: in memory, the defaults first, the same suggestions when played again."""
    from keras_tuner import Objective, oracles

    options = {
        "objective": Objective(space.OBJECTIVE, space.DIRECTION),
        "hyperparameters": hyperparameters,
        "seed": sweep.seed + 1,  # 0 would be a random one
        "max_consecutive_failed_trials": math.inf,  # its way of stopping leaves its lock taken
    }
    if sweep.search == "hyperband":
        options |= {"max_epochs": sweep.trial_epochs, "hyperband_iterations": None}
    if sweep.search == "bayesian":
        options |= {"num_initial_points": RANDOM_POINTS}
    names = {"random": "RandomSearch", "grid": "GridSearch", "bayesian": "BayesianOptimization"}
    kind = getattr(oracles, names.get(sweep.search, "Hyperband") + "Oracle")
    steps_through = sweep.search in ("grid", "hyperband")  # these keep a place of their own, found again by asking

    class Oracle(kind):
        replayed: dict | None = None

        def populate_space(self, trial_id):
            if self.replayed is not None and not steps_through:
                return {"status": "RUNNING", "values": self.replayed}
            # From the number of the trial alone, so that a resumed search suggests what an unbroken one would.
            self._seed_state = self.seed + 1000 * len(self.start_order)
            if sweep.search == "bayesian":
                self._random_state.seed(self._seed_state)
            found = super().populate_space(trial_id)
            if sweep.search == "bayesian" and found["values"] and self._duplicate(found["values"]):
                return self._random_populate_space()  # its Gaussian process may want the same point again
            return found

        def _random_values(self):
            if self.start_order:
                return super()._random_values()
            space = self.get_space()
            return {hp.name: hp.default for hp in space.space if space.is_active(hp)}

        def save(self):
            """The journal does it."""

        def _save_trial(self, trial):
            """The journal does it."""

    oracle = Oracle(**options)
    oracle.max_trials = None  # the budget is counted in Search
    oracle.verbose = 0
    return oracle
