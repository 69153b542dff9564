"""Windows, splits and covariates against brute force; NumPy alone."""

import dataclasses
import datetime
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.apps.core.errors import DataError
from elman.apps.forecasting import data as stage
from elman.apps.forecasting.codec import Codec, Column, calendar_features, calendar_names
from elman.apps.forecasting.config import Config
from elman.apps.forecasting.frequency import Frequency
from elman.apps.forecasting.tables import Series, Table

nan = np.nan
HOUR = Frequency("s", 3600)


def config(**changes):
    return Config(**{"horizon": 4, "lookback": 10, "segment": 2, "split": (0.6, 0.2, 0.2), **changes})


def series(name, y, start="2021-03-01T05:00:00", **columns):
    return Series(name, np.datetime64(start, "s"), np.asarray(y, float), columns)


def gappy(length, seed=0, share=0.2):
    rng = np.random.default_rng(seed)
    y = np.round(10 + rng.normal(size=length), 3)
    y[1:][rng.random(length - 1) < share] = nan
    return y


def load(monkeypatch, table, setting, codec=None):
    monkeypatch.setattr(stage, "read", lambda *args, **kwargs: table)
    return stage.load(setting, codec)


def window_by_hand(s, origin, lookback, ahead):
    """y with gaps filled, observed, steps since the last value: one step at a time, as the words say."""
    y, observed, since = [], [], []
    first = next(v for v in s.y if not np.isnan(v))
    for t in range(origin - lookback, origin + ahead):
        last, count = first, None
        for back in range(min(t, len(s.y) - 1), -1, -1):
            if not np.isnan(s.y[back]):
                last, count = s.y[back], t - back
                break
        y.append(s.y[0] if t < 0 else last)
        observed.append(float(0 <= t < len(s.y) and not np.isnan(s.y[t])))
        since.append(np.log1p(max(count, 0)) if count is not None and t >= 0 else 0.0)
    return np.array(y), np.array(observed), np.array(since)


@pytest.mark.parametrize("seed", range(4))
def test_windows_are_what_brute_force_gives(monkeypatch, seed):
    rng = np.random.default_rng(seed)
    table = Table(HOUR, tuple(series(f"s{i}", gappy(length, seed + i)) for i, length in enumerate((60, 25, 80))))
    loaded = load(monkeypatch, table, config())
    codec = loaded.codec
    assert codec.missing
    which = rng.integers(0, 3, 30)
    origins = np.array([rng.integers(1, len(table.series[s].y) - 3) for s in which])
    for ahead in (0, 4):
        windows = codec.windows(loaded.encoded, which, origins, ahead)
        for row, (s, origin) in enumerate(zip(which, origins, strict=True)):
            y, observed, since = window_by_hand(table.series[s], origin, 10, ahead)
            np.testing.assert_allclose(windows["y"][row], y, rtol=1e-6)
            np.testing.assert_array_equal(windows["observed"][row], observed)
            np.testing.assert_allclose(windows["since"][row], since, rtol=1e-6)
            assert windows["series"][row] == s + 1
    values, there = codec.targets(loaded.encoded, which, origins)
    for row, (s, origin) in enumerate(zip(which, origins, strict=True)):
        truth = table.series[s].y[origin : origin + 4]
        np.testing.assert_array_equal(there[row], ~np.isnan(truth))
        np.testing.assert_allclose(values[row][there[row] > 0], truth[~np.isnan(truth)], rtol=1e-6)


@pytest.mark.parametrize(
    ("frequency", "names"),
    [
        (Frequency("s", 900), ("hour", "weekday", "yearday")),
        (HOUR, ("hour", "weekday", "yearday")),
        (Frequency("s", 86400), ("weekday", "yearday")),
        (Frequency("s", 604800), ("yearday",)),
        (Frequency("M", 1), ("yearday",)),
        (Frequency("M", 3), ("yearday",)),
        (Frequency("M", 12), ()),
        (Frequency("i", 1), ()),
    ],
)
def test_the_calendar_has_the_turns_that_a_frequency_sees(frequency, names):
    assert calendar_names(frequency) == names


def test_calendar_features_turn_with_the_clock():
    stamps = np.datetime64("1967-12-25T07:00:00", "s") + np.arange(0, 40_000_000, 300_007)
    found = calendar_features(stamps, ("hour", "weekday", "yearday"))
    for stamp, row in zip(stamps.astype(object), found, strict=True):
        phases = (
            (stamp.hour * 3600 + stamp.minute * 60 + stamp.second) / 86400,
            stamp.weekday() / 7,
            (stamp.date() - datetime.date(stamp.year, 1, 1)).days / 365.25,
        )
        expected = [f(2 * np.pi * p) for p in phases for f in (np.sin, np.cos)]
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_the_calendar_goes_on_over_the_horizon(monkeypatch):
    table = Table(HOUR, (series("a", np.arange(60.0)),))
    loaded = load(monkeypatch, table, config())
    future = loaded.codec.windows(loaded.encoded, np.array([0]), np.array([60]))["future"][0]
    stamps = HOUR.at(table.series[0].start, np.arange(50, 64))
    np.testing.assert_allclose(future, calendar_features(stamps, loaded.codec.calendar), atol=1e-6)


def test_without_a_calendar_there_is_no_future(monkeypatch):
    loaded = load(monkeypatch, Table(HOUR, (series("a", np.arange(60.0)),)), config(calendar=False))
    assert set(loaded.codec.windows(loaded.encoded, np.array([0]), np.array([20]))) == {"y", "observed", "series"}


def test_an_unseen_series_is_number_zero(monkeypatch):
    table = Table(HOUR, (series("a", np.arange(60.0)), series("b", np.arange(60.0))))
    codec = load(monkeypatch, table, config()).codec
    other = Table(HOUR, (series("z", np.arange(9.0)), series("b", np.arange(9.0))))
    assert codec.encode(other).index.tolist() == [0, 2]


def test_the_codec_survives_json(monkeypatch):
    kinds = np.array(["x", "y", ""] * 20, object)
    table = Table(HOUR, tuple(series(n, gappy(60, i), kind=kinds, level=np.arange(60.0)) for i, n in enumerate("ab")))
    codec = load(monkeypatch, table, config(past=("kind",), future=("level",))).codec
    codec = dataclasses.replace(codec, offsets=((0.1, 0.2), (0.3, 0.4)))
    assert Codec.from_json(json.loads(json.dumps(codec.to_json()))) == codec


# Covariates


def test_covariates_are_standardised_by_the_training_part(monkeypatch):
    level = np.r_[np.arange(36.0), 1e6 * np.ones(24 + 4)]
    table = Table(HOUR, (series("a", np.arange(60.0), level=level),))
    loaded = load(monkeypatch, table, config(future=("level",), calendar=False))
    column = loaded.codec.future[0]
    assert column.mean == pytest.approx(17.5)
    assert column.scale == pytest.approx(np.arange(36.0).std())
    future = loaded.codec.windows(loaded.encoded, np.array([0]), np.array([30]))["future"][0]
    np.testing.assert_allclose(future[:, 0], (level[20:34] - 17.5) / column.scale, rtol=1e-5)
    np.testing.assert_array_equal(future[:, 1], 1)


def test_a_past_covariate_ends_with_the_past_and_gaps_are_marked(monkeypatch):
    wind = np.arange(60.0)
    wind[25] = nan
    loaded = load(monkeypatch, Table(HOUR, (series("a", np.arange(60.0), wind=wind),)), config(past=("wind",)))
    past = loaded.codec.windows(loaded.encoded, np.array([0]), np.array([30]))["past"][0]
    assert past.shape == (10, 2)
    np.testing.assert_array_equal(past[:, 1], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1])
    assert past[5, 0] == 0


def test_categories_are_one_of_those_of_training():
    column = Column.fit("kind", np.array(["b", "a", "", "b"], object))
    assert column.values == ("a", "b")
    np.testing.assert_array_equal(
        column.encode(np.array(["a", "b", "c", ""], object)), [[1, 0], [0, 1], [0, 0], [0, 0]]
    )


def test_codes_that_read_as_numbers_stay_categories():
    column = Column.fit("code", np.array(["1", "2", "x"], object))
    np.testing.assert_array_equal(column.encode(np.array([1.0, 2.0, nan])), [[1, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_text_where_training_had_numbers_is_refused():
    column = Column.fit("level", np.array([1.0, 2.0]))
    with pytest.raises(DataError, match="covariate 'level': expected numbers as in training, found text such as 'x'"):
        column.encode(np.array(["x"], object))


def test_static_covariates_come_per_series(monkeypatch):
    table = Table(
        HOUR,
        tuple(
            dataclasses.replace(series(n, np.arange(60.0)), static={"size": size, "kind": kind})
            for n, size, kind in (("a", 1.0, "x"), ("b", 3.0, "y"))
        ),
    )
    loaded = load(monkeypatch, table, config(static=("size", "kind"), calendar=False))
    static = loaded.codec.windows(loaded.encoded, np.array([1, 0]), np.array([20, 20]))["static"]
    np.testing.assert_allclose(static, [[1, 1, 0, 1], [-1, 1, 1, 0]])
    wrong = dataclasses.replace(
        table, series=(dataclasses.replace(table.series[0], static={"size": "big", "kind": "x"}),)
    )
    with pytest.raises(DataError, match="covariate 'size': expected numbers"):
        loaded.codec.encode(wrong)


def test_a_missing_covariate_is_named(monkeypatch):
    table = Table(HOUR, (series("a", np.arange(60.0), wind=np.arange(60.0)),))
    codec = load(monkeypatch, table, config(past=("wind",))).codec
    with pytest.raises(DataError, match="series 'a': expected the covariate column 'wind', as in training"):
        codec.encode(Table(HOUR, (series("a", np.arange(60.0)),)))


def test_another_frequency_is_refused(monkeypatch):
    codec = load(monkeypatch, Table(HOUR, (series("a", np.arange(60.0)),)), config()).codec
    with pytest.raises(DataError, match="expected a table with frequency h, as in training; found D"):
        codec.encode(Table(Frequency("s", 86400), (series("a", np.arange(60.0)),)))


@pytest.mark.parametrize("size", [1e17, 1e300])
def test_values_that_float32_cannot_square_are_refused(monkeypatch, size):
    table = Table(HOUR, (series("a", size * np.arange(60.0)),))
    with pytest.raises(DataError, match="series 'a': expected values up to"):
        load(monkeypatch, table, config())


def test_huge_values_keep_finite_windows(monkeypatch):
    loaded = load(monkeypatch, Table(HOUR, (series("a", 1e12 * np.sin(np.arange(60.0))),)), config())
    assert np.isfinite(loaded.encoded.values).all()


def test_negative_binomial_wants_counts(monkeypatch):
    setting = config(model="deepar", distribution="negative_binomial", lags=(1,))
    for wrong in (-1.0, 0.5):
        with pytest.raises(DataError, match="expected counts"):
            load(monkeypatch, Table(HOUR, (series("a", np.r_[np.arange(59.0), wrong]),)), setting)
    load(monkeypatch, Table(HOUR, (series("a", np.r_[np.arange(59.0), nan]),)), setting)


def test_a_series_named_after_its_file_is_the_one_of_training(monkeypatch):
    codec = load(monkeypatch, Table(HOUR, (series("sales", np.arange(60.0)),)), config()).codec
    table = Table(HOUR, (series("january", np.arange(20.0)),))
    assert codec.named(table, "x/january.csv").series[0].id == "sales"
    assert codec.named(table, "x/february.csv").series[0].id == "january"


# Splits


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(20, 90), min_size=1, max_size=3),
    horizon=st.integers(1, 8),
    lookback=st.integers(1, 30),
    split=st.sampled_from([(0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (30.0, 10.0, 10.0), ()]),
    stride=st.integers(1, 3),
    gaps=st.booleans(),
)
def test_no_part_sees_what_another_is_scored_on(lengths, horizon, lookback, split, stride, gaps):
    made = tuple(series(f"s{i}", gappy(n, i, 0.3 if gaps else 0)) for i, n in enumerate(lengths))
    setting = config(horizon=horizon, lookback=lookback, split=split, test_stride=stride, segment=1)
    with pytest.MonkeyPatch.context() as patch:
        try:
            loaded = load(patch, Table(HOUR, made), setting)
        except DataError as error:
            if "window of" not in str(error):
                raise
            return  # too short for the split: said, not hidden
    spans = {}
    for name, (which, origins) in loaded.windows.items():
        assert len(which)
        for s, origin in zip(which, origins, strict=True):
            assert 1 <= origin <= lengths[s] - horizon
            truth = made[s].y[origin : origin + horizon]
            assert not np.isnan(truth).all()
            assert not np.isnan(made[s].y[:origin]).all()
            low, high = spans.get((name, s), (10**9, 0))
            spans[name, s] = min(low, origin), max(high, origin + horizon)
    for s in range(len(lengths)):
        for before, after in (("train", "validation"), ("validation", "test"), ("train", "test")):
            if (before, s) in spans and (after, s) in spans:
                assert spans[before, s][1] <= spans[after, s][0]


@settings(max_examples=60, deadline=None)
@given(more=st.integers(0, 60), shift=st.integers(-30, 30), horizon=st.integers(1, 6))
def test_other_data_are_scored_only_after_what_training_and_validation_saw(more, shift, horizon):
    setting = config(horizon=horizon)
    with pytest.MonkeyPatch.context() as patch:
        codec = load(patch, Table(HOUR, (series("a", gappy(60)), series("b", gappy(60, 1)))), setting).codec
        start = np.datetime64("2021-03-01T05:00:00", "s") + shift * 3600
        table = Table(HOUR, (series("a", gappy(60 + more, 2), start), series("new", gappy(40, 3))))
        loaded = load(patch, table, setting, codec)
    seen = np.datetime64(codec.until[0], "s")
    assert seen == HOUR.at(np.datetime64("2021-03-01T05:00:00", "s"), [47])[0]
    which, origins = loaded.windows["test"]
    stamps = table.series[0].start + 3600 * origins[which == 0]
    assert (stamps > seen).all()
    last = table.series[0].start + 3600 * (len(table.series[0].y) - horizon)
    assert len(stamps) == 0 or stamps.max() <= last
    fresh = origins[which == 1]
    assert fresh.min() == 1
    assert fresh.max() == 40 - horizon


@pytest.mark.parametrize(
    ("split", "table_test", "expected"),
    [
        ((0.6, 0.2, 0.2), 0, [60, 80, 100]),
        ((6.0, 2.0, 2.0), 0, [6, 8, 10]),
        ((50.0, 30.0, 20.0), 0, [50, 80, 100]),
        ((50.0, 30.0, 500.0), 0, [50, 80, 100]),
        ((), 0, [92, 96, 100]),
        ((), 10, [86, 90, 100]),
    ],
)
def test_split_rules(split, table_test, expected):
    table = Table(HOUR, (series("a", np.arange(100.0)),), test=table_test)
    assert stage.split(table, config(split=split)).tolist() == [expected]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_series_without_a_window_are_refused_with_the_remedy(monkeypatch, length):
    table = Table(HOUR, (series("a", np.arange(length, dtype=float)),))
    with pytest.raises(DataError, match=r"no train window of 4 steps; the longest series has \d.*Shorten --horizon"):
        load(monkeypatch, table, config())


def test_a_series_shorter_than_the_look_back_is_learnt_from(monkeypatch):
    table = Table(HOUR, (series("long", gappy(100, 1, 0)), series("short", gappy(12, 2, 0))))
    loaded = load(monkeypatch, table, config(lookback=40))
    assert 1 in loaded.windows["train"][0]
    assert loaded.codec.missing  # its windows begin with steps that were not there
    which, origins = loaded.windows["train"]
    short = int(np.flatnonzero(which == 1)[0])
    window = loaded.codec.windows(loaded.encoded, which[[short]], origins[[short]])
    assert window["observed"][0].sum() == origins[short]


def test_statistics_come_from_the_training_part_alone(monkeypatch):
    y = np.r_[np.arange(60.0), 1e5 * np.ones(40)]
    codec = load(monkeypatch, Table(HOUR, (series("a", y),)), config()).codec
    assert codec.loc == (pytest.approx(29.5),)
    assert codec.scale == (pytest.approx(np.arange(60.0).std()),)
