import itertools
import json
import time

import pytest

from elman.apps.core.config import to_json
from elman.apps.core.errors import UsageError
from elman.tuning import search as searching
from elman.tuning.search import GONE, SEARCHES, Search, Sweep

from . import fake


def sweep(search="random", domains=None, **options):
    domains = {} if domains is None else domains
    return Sweep("fake", fake.__name__, to_json(fake.Config()), domains, search, trial_epochs=9, **options)


def opened(path, what=None, trials=6, space=fake, **options):
    path.mkdir(exist_ok=True)
    return Search(fake.APP, what or sweep(), space, path, trials=trials, **{"confirm": 0, **options})


def result(job, **changes):
    metrics = [{"error": fake.error(job["config"])} for _ in job["seeds"]]
    return {"state": "done", "metrics": metrics, "curve": [], "epochs": 9, "message": "", **changes}


def drive(search, most=1000):
    """Runs jobs one after another; returns their names in order."""
    names = []
    while len(names) < most:
        answer = search.next("w")
        if "job" not in answer:
            break
        job = answer["job"]
        search.end(job["name"], result(job))
        names.append(job["name"])
    return names


@pytest.mark.parametrize("kind", SEARCHES)
def test_the_first_trial_is_the_base_configuration_and_the_budget_is_kept(tmp_path, kind):
    search = opened(tmp_path, sweep(kind), trials=5)
    first = search.next("w")["job"]
    assert first["config"] == {**to_json(fake.Config()), "epochs": 9}
    search.end(first["name"], result(first))
    assert drive(search) == ["0001", "0002", "0003", "0004"]
    assert search.finished
    assert search.next("w") == {"stop": "finished"}


def test_the_base_configuration_runs_also_where_the_user_left_it_out(tmp_path):
    search = opened(tmp_path, sweep("grid", {"units": [2, 8], "kind": ["a"], "rate": [0.5]}), trials=9)
    drive(search)
    assert [t.config["units"] for t in search.trials.values()] == [4, 2, 8]


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_resumed_after_every_event_tries_what_an_unbroken_one_tries(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(searching, "RANDOM_POINTS", 4)
    trials = 6 if kind == "bayesian" else 16
    unbroken = opened(tmp_path / "unbroken", sweep(kind), trials)
    drive(unbroken)
    for _ in range(200):
        search = opened(tmp_path / "broken", sweep(kind), trials)
        answer = search.next("w")  # a kill between here and the end
        search.journal.close()
        search = opened(tmp_path / "broken", sweep(kind), trials)
        if "job" not in answer:
            break
        assert search.next("w")["job"]["name"] == answer["job"]["name"]
        search.end(answer["job"]["name"], result(answer["job"]))
        search.journal.close()
    configs = [[t.config for t in s.trials.values()] for s in (unbroken, search)]
    assert configs[0] == configs[1]
    assert len({json.dumps(t.values, sort_keys=True) for t in search.trials.values()}) == trials
    assert (search.best().name, search.best().score) == (unbroken.best().name, unbroken.best().score)


def test_grid_tries_every_combination_once(tmp_path):
    domains = {"units": [2, 4, 8], "rate": [0.1, 0.5], "kind": ["a", "b"]}
    search = opened(tmp_path, sweep("grid", domains), trials=None)
    drive(search)
    tried = [(c["kind"], c["units"], c["rate"], c["depth"]) for c in (t.config for t in search.trials.values())]
    plain = list(itertools.product(["a"], [2, 4, 8], [0.1, 0.5], [1]))
    deep = list(itertools.product(["b"], [2, 4, 8], [0.1, 0.5], [1, 2, 3]))
    assert sorted(tried) == sorted(plain + deep)


def test_hyperband_continues_the_better_trials_for_more_epochs(tmp_path):
    search = opened(tmp_path, sweep("hyperband"), trials=20)
    drive(search)
    later = [t for t in search.trials.values() if t.parent]
    assert later
    for trial in later:
        before = search.trials[trial.parent]
        assert before.config["epochs"] < trial.config["epochs"] <= 9
        assert {**before.config, "epochs": 0} == {**trial.config, "epochs": 0}
    first = [t.score for t in search.trials.values() if not t.parent and t.name != "0000"]
    assert max(search.trials[t.parent].score for t in later) < sorted(first)[-2]


@pytest.mark.slow
def test_bayesian_search_beats_random_search_on_a_formula(tmp_path):
    best = {}
    for kind in ("random", "bayesian"):
        search = opened(tmp_path / kind, sweep(kind, {"kind": ["a", "b"]}), trials=14)
        drive(search)
        best[kind] = search.best().score
    assert best["bayesian"] <= best["random"]


def test_a_score_to_maximise(tmp_path):
    space = type("Space", (), {**vars(fake), "DIRECTION": "max", "sample": staticmethod(fake.sample)})
    search = opened(tmp_path, space=space, trials=8)
    drive(search)
    assert search.best().score == max(t.score for t in search.trials.values())


def test_a_line_cut_short_by_a_kill_was_never_written(tmp_path):
    search = opened(tmp_path)
    drive(search, 2)
    search.journal.close()
    file = tmp_path / "journal.jsonl"
    with file.open("a") as journal:
        journal.write('{"event": "start", "name": "00')
    search = opened(tmp_path)
    assert list(search.trials) == ["0000", "0001"]
    assert len(drive(search)) == 4
    assert all(json.loads(line) for line in file.read_text().splitlines())


def test_one_chief_at_a_time(tmp_path):
    search = opened(tmp_path)
    with pytest.raises(UsageError, match="another tune is at work"):
        opened(tmp_path)
    search.journal.close()
    opened(tmp_path)


def test_of_two_ends_the_first_counts_and_the_other_worker_hears_that_it_is_gone(tmp_path):
    search = opened(tmp_path)
    job = search.next("one")["job"]
    search.trials["0000"].heard -= searching.SILENCE + 1
    again = search.next("two")["job"]
    assert again["name"] == job["name"]
    assert search.report("0000", job["lease"], "one") == {"stop": GONE}
    search.end("0000", result(again))
    search.end("0000", result(job, metrics=[{"error": -5.0}]))
    assert search.trials["0000"].score == fake.error(job["config"])
    ends = [e for e in map(json.loads, (tmp_path / "journal.jsonl").read_text().splitlines()) if e["event"] == "end"]
    assert len(ends) == 1


def test_a_worker_that_went_on_while_the_chief_was_restarted_keeps_its_trial(tmp_path):
    search = opened(tmp_path)
    job = search.next("one")["job"]
    search.journal.close()
    search = opened(tmp_path)
    assert search.report(job["name"], job["lease"], "one", [1.0]) == {"stop": ""}
    assert search.next("two")["job"]["name"] == "0001"


def test_a_trial_that_is_killed_is_taken_up_again_as_long_as_it_gets_further(tmp_path):
    search = opened(tmp_path)
    for epoch in range(1, 8):
        job = search.next("w")["job"]
        assert job["name"] == "0000"
        search.report("0000", job["lease"], "w", [1.0] * epoch)
        search.lost("0000", job["lease"], "killed by signal 9")
    for _ in range(searching.STRIKES):
        assert search.trials["0000"].state == "waiting"
        search.lost("0000", search.next("w")["job"]["lease"], "killed by signal 9")
    failed = search.trials["0000"]
    assert (failed.state, failed.cut) == ("failed", 7 + searching.STRIKES)
    assert "out of memory?" in failed.message


def test_a_failed_trial_is_recorded_and_the_sweep_goes_on_but_three_first_ones_end_it(tmp_path):
    search = opened(tmp_path)
    job = search.next("w")["job"]
    search.end("0000", {"state": "failed", "message": "no memory"})
    assert len(drive(search)) == 5
    assert search.trials["0000"].message == "no memory"
    search = opened(tmp_path / "other")
    for _ in range(3):
        job = search.next("w")["job"]
        search.end(job["name"], result(job, metrics=[{"error": float("nan")}]))
    assert (
        search.next("w")["stop"] == search.fault == "the first three trials failed, the last one with: the score is nan"
    )


def test_a_trial_worse_than_the_median_of_comparable_others_is_stopped(tmp_path):
    search = opened(tmp_path, sweep("grid", {"kind": ["a", "b"], "units": [4], "rate": [0.1, 0.2, 0.3, 0.4]}), 8)
    curves = iter(([9.0, 5.0, 3.0], [9.0, 4.0, 2.0], [9.0, 6.0, 1.0]))
    for _ in range(3):
        job = search.next("w")["job"]
        search.end(job["name"], result(job, curve=next(curves)))
    job = search.next("w")["job"]

    def told(curve):
        return search.report(job["name"], job["lease"], "w", curve)["stop"]

    assert told([9.0]) == told([9.0, 8.0]) == ""  # too early to say
    assert told([9.0, 8.0, 2.0]) == ""  # the median itself
    assert told([9.0, 8.0, 2.1]) == "worse after 3 epochs than the median of 3 others"
    search.trials[job["name"]].config["kind"] = "b"  # another loss
    assert told([9.0, 8.0, 2.1]) == ""


def test_when_the_time_is_up_running_trials_are_stopped_and_none_begins(tmp_path):
    search = opened(tmp_path, trials=None, minutes=1)
    job = search.next("w")["job"]
    drive(search, 3)
    search.began -= 61
    assert search.report("0000", job["lease"], "w", [1.0])["stop"] == "the time is up"
    assert "wait" in search.next("w")
    search.end("0000", result(job, state="stopped"))
    assert search.finished
    search.journal.close()
    assert opened(tmp_path, trials=None, minutes=1).elapsed > 60  # a resumed sweep has used up its time
    assert search.best() is not None


def test_best_and_default_are_retrained_with_other_seeds_and_whole_epochs_once(tmp_path):
    search = opened(tmp_path, sweep(seeds=2), confirm=2)
    drive(search, 6)
    assert not search.finished
    best = search.best().name
    names = drive(search, 2)
    search.journal.close()
    search = opened(tmp_path, sweep(seeds=2), confirm=2)
    names += drive(search)
    assert names == ["0000-seed-2", "0000-seed-3", f"{best}-seed-2", f"{best}-seed-3"]
    assert all(t.config["epochs"] == fake.Config().epochs and t.split == "test" for t in search.tests.values())
    assert len(search.tested(search.best())) == 2
    assert len(search.trials) == 6


def test_more_trials_extend_a_finished_sweep(tmp_path):
    search = opened(tmp_path, trials=3)
    drive(search)
    search.journal.close()
    assert drive(opened(tmp_path, trials=5)) == ["0003", "0004"]


def test_a_silent_worker_loses_its_trial(tmp_path):
    search = opened(tmp_path)
    search.next("one")
    assert search.next("two")["job"]["name"] == "0001"
    search.trials["0000"].heard = time.monotonic() - searching.SILENCE - 1
    assert search.next("two")["job"]["name"] == "0000"
    assert search.trials["0000"].cut == 1


def test_a_space_with_one_configuration_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nothing is left to search"):
        opened(tmp_path, sweep(domains={"kind": ["a"], "units": [4], "rate": [0.1], "depth": [1]}))
