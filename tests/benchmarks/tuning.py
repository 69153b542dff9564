"""Measures sweeps of the forecasting default: `python -m tests.benchmarks.tuning MEASURE`; prints JSON, a line each.

speed: 20 trials with two workers on a core each, one worker on a core, one worker on all cores.
memory: resident memory of the parent over 50 trials.
gain [DATA …]: 20 trials, then the test split over three seeds; the built-in co2 and any files given.
kills: five random kills of trials against an undisturbed sweep.
"""

import contextlib
import csv
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def tune(out: Path, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "elman.apps.cli", "forecasting", "tune", "--out", str(out), "--quiet"]
    return subprocess.Popen([*command, "--no-stop-hopeless", *words], stderr=subprocess.DEVNULL)


def rows(out: Path) -> list[dict]:
    with (out / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def resident(pid: int) -> float:
    """Megabytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def say(**values) -> None:
    print(json.dumps(values), flush=True)


def speed(directory: Path, trials: str = "20") -> None:
    seconds = {}
    ways = {
        "two workers, a core each": ("--workers", "2", "--cores", "1"),
        "one worker, one core": ("--workers", "1", "--cores", "1"),
        "one worker, all cores": ("--workers", "1"),
    }
    for name, words in ways.items():
        out, began = directory / name.replace(" ", "-"), time.time()
        process = tune(out, "--trials", trials, "--confirm", "0", *words)
        if process.wait():
            sys.exit(f"{name}: exit {process.returncode}")
        seconds[name] = time.time() - began
        overhead = statistics.median(float(row["overhead"]) for row in rows(out))
        say(measure="speed", way=name, seconds=round(seconds[name], 1), overhead_per_trial=overhead)
    two, one, _ = seconds.values()
    say(measure="speed", two_workers_over_one=round(one / two, 2))


def memory(directory: Path, trials: str = "50") -> None:
    words = ("--trials", trials, "--workers", "2", "--trial-epochs", "1", "--confirm", "0", "--windows-per-epoch", "64")
    process, samples = tune(directory / "memory", *words), {}
    while process.poll() is None:
        with contextlib.suppress(FileNotFoundError, IndexError):
            samples[len(rows(directory / "memory"))] = resident(process.pid)
        time.sleep(0.2)
    middle = len(samples) // 2
    first, second = list(samples.values())[2:middle], list(samples.values())[middle:-1]
    growth = statistics.median(second) / statistics.median(first) - 1
    say(measure="memory", trials=len(rows(directory / "memory")), growth=round(growth, 4),
        megabytes=[round(v) for v in samples.values()])  # fmt: skip


def gain(directory: Path, *data: str) -> None:
    for i, source in enumerate(("co2", *data)):
        out = directory / f"gain-{i}"
        process = tune(out, "--data", source, "--trials", "20", "--workers", "2", "--confirm", "3")
        if process.wait():
            sys.exit(f"{source}: exit {process.returncode}")
        text = (out / "report.md").read_text()
        part = text.split("## Test")[1].split("##")[0]
        say(measure="gain", data=source, best=json.loads((out / "best.json").read_text())["score"], test=part)


def kills(directory: Path, trials: str = "8") -> None:
    words = ("--trials", trials, "--workers", "2", "--trial-epochs", "5", "--confirm", "0")
    if tune(directory / "calm", *words).wait():
        sys.exit("the undisturbed sweep failed")
    process, chance, killed = tune(directory / "wild", *words), random.Random(0), 0
    while process.poll() is None:
        time.sleep(chance.uniform(2, 8))
        trial = chance.choice(children(process.pid) or [0])
        if killed < 5 and trial:
            with contextlib.suppress(ProcessLookupError):
                os.kill(trial, signal.SIGKILL)
                killed += 1
    found = {name: {r["trial"]: r for r in rows(directory / name)} for name in ("calm", "wild")}
    scores = {name: {t: float(r["wql"]) for t, r in table.items()} for name, table in found.items()}
    say(measure="kills", killed=killed, taken_up_again=sum(int(r["cut"]) for r in found["wild"].values()),
        ended={n: len(s) for n, s in scores.items()}, best={n: min(s.values()) for n, s in scores.items()})  # fmt: skip


def children(pid: int) -> list[int]:
    """The trials: what the process that forks them, a child of `pid`, has forked."""
    below: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            below.setdefault(int(place.read_text().rpartition(")")[2].split()[1]), []).append(int(place.parent.name))
    return [grandchild for child in below.get(pid, []) for grandchild in below.get(child, [])]


if __name__ == "__main__":
    measures = {f.__name__: f for f in (speed, memory, gain, kills)}
    if len(sys.argv) < 2 or sys.argv[1] not in measures:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as home:
        measures[sys.argv[1]](Path(home), *sys.argv[2:])
