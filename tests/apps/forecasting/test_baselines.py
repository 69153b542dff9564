import os
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from elman.apps.forecasting import baselines, metrics
from elman.apps.forecasting.baselines import BASELINES, ets, naive, naive2, seasonal_naive, theta
from elman.apps.forecasting.tables import read

DATA = Path(os.environ.get("ELMAN_DATA", Path(__file__).parents[4] / "shared" / "data")) / "forecasting"
LEVELS = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975]
nan = np.nan


def test_naive_repeats_the_last_value_and_widens_with_the_square_root():
    forecast = naive([1.0, 3.0, nan, 2.0, 4.0, nan], 4, 1, [0.5, 0.9])
    np.testing.assert_array_equal(forecast.point, [4] * 4)
    np.testing.assert_array_equal(forecast.quantiles[:, 0], forecast.point)
    sigma = np.sqrt((2**2 + 2**2) / 2)  # 1 -> 3 and 2 -> 4 are the steps seen
    expected = 4 + NormalDist().inv_cdf(0.9) * sigma * np.sqrt([2, 3, 4, 5])  # one step old already
    np.testing.assert_allclose(forecast.quantiles[:, 1], expected)


def test_seasonal_naive_by_hand():
    history = np.array([nan, 10, 20, 30, 11, 22, 33, 12, nan, 36.0])  # season 3: the phases 1, 2, 0
    forecast = seasonal_naive(history, 7, 3, [0.5, 0.9])
    np.testing.assert_array_equal(forecast.point, [12, 22, 36, 12, 22, 36, 12])
    sigma = np.sqrt(np.mean(np.square([1, 2, 3, 1, 3.0])))
    expected = forecast.point + NormalDist().inv_cdf(0.9) * sigma * np.sqrt([1, 2, 1, 2, 3, 2, 3])
    np.testing.assert_allclose(forecast.quantiles[:, 1], expected)


def test_a_phase_never_seen_or_a_short_history_falls_back_to_naive():
    history = np.array([1, nan, 3, 2, nan, 5.0])
    forecast, plain = seasonal_naive(history, 3, 3, LEVELS), naive(history, 3, 3, LEVELS)
    np.testing.assert_array_equal(forecast.point, [2, 5, 5])
    np.testing.assert_allclose(forecast.quantiles[1], plain.quantiles[1])
    for got, expected in zip(
        seasonal_naive([1.0, 4.0], 3, 24, LEVELS)[:2], naive([1.0, 4.0], 3, 1, LEVELS)[:2], strict=True
    ):
        np.testing.assert_allclose(got, expected)
    assert np.isnan(seasonal_naive([nan, nan], 2, 2, LEVELS).point).all()
    np.testing.assert_array_equal(seasonal_naive([7.0], 2, 2, LEVELS).quantiles, np.full((2, 7), 7.0))


@pytest.mark.parametrize("method", [naive, seasonal_naive, naive2])
@pytest.mark.parametrize(("length", "season", "horizon"), [(60, 7, 9), (40, 12, 30), (5, 7, 3)])
def test_many_histories_at_once_are_each_by_itself(method, length, season, horizon):
    rng = np.random.default_rng(0)
    windows = 9 + np.sin(2 * np.pi * np.arange(length) / season) + 0.1 * rng.normal(size=(6, length))
    windows[rng.random(windows.shape) < 0.3] = nan
    windows[:, 0] = 1
    batch = method(windows, horizon, season, LEVELS)
    assert batch.quantiles.shape == (6, horizon, 7)
    for k, window in enumerate(windows):
        one = method(window, horizon, season, LEVELS)
        np.testing.assert_allclose(batch.point[k], one.point)
        np.testing.assert_allclose(batch.quantiles[k], one.quantiles)


def test_the_intervals_cover_what_they_say_on_a_random_walk_and_a_seasonal_one():
    rng = np.random.default_rng(1)
    steps = rng.normal(size=(2000, 40, 6))
    for season, paths in ((1, steps.reshape(2000, -1).cumsum(1)), (6, steps.cumsum(1).reshape(2000, -1))):
        forecast = seasonal_naive(paths[:, :-24], 24, season, LEVELS)
        for percent, (low, high) in metrics.central_intervals(LEVELS).items():
            ends = forecast.quantiles[..., low], forecast.quantiles[..., high]
            for part in (slice(0, 6), slice(18, 24)):
                got = metrics.coverage(paths[:, -24:][:, part], ends[0][:, part], ends[1][:, part])
                assert got == pytest.approx(percent / 100, abs=0.03)


def test_naive2_follows_a_season_and_its_level():
    phase, level = np.arange(96), np.linspace(10, 20, 96)
    factor = 1 + 0.5 * np.sin(2 * np.pi * phase / 12)
    forecast = naive2((level * factor)[:84], 12, 12, LEVELS)
    np.testing.assert_allclose(forecast.point, level[83] * factor[84:], rtol=0.02)
    shifted = naive2((level * factor)[:84] - 20, 12, 12, LEVELS)  # not positive: an additive season
    assert np.corrcoef(shifted.point, factor[84:])[0, 1] > 0.98
    noise = np.random.default_rng(2).normal(size=84) + 10
    np.testing.assert_array_equal(naive2(noise, 5, 12, LEVELS).point, naive(noise, 5, 12, LEVELS).point)


@pytest.mark.parametrize(
    ("method", "season", "periods"),
    [(ets, 1, 80), (ets, 12, 10), (ets, 52, 5), (ets, 168, 4), (theta, 1, 80), (theta, 12, 10), (theta, 52, 5)],
)
def test_library_methods_are_fast_beat_the_mean_and_cover(method, season, periods):
    rng = np.random.default_rng(3)
    t = np.arange(season * periods + 20)
    series = 50 + 5 * np.sin(2 * np.pi * t / season) * (season > 1) + 0.02 * t + 0.5 * rng.normal(size=t.size)
    history, truth = series[:-20].copy(), series[-20:]
    history[5:8] = nan
    began = time.process_time()
    forecast = method(history, 20, season, LEVELS)
    assert time.process_time() - began < 10  # 0.03 to 0.6 s after the import of statsmodels
    assert forecast.note == ""
    assert forecast.point.shape == (20,)
    assert (np.diff(forecast.quantiles, axis=1) > 0).all()
    assert metrics.mae(truth, forecast.point) < 1.2
    assert metrics.coverage(truth, forecast.quantiles[:, 0], forecast.quantiles[:, -1]) >= 0.75
    assert np.ptp(forecast.quantiles[-1]) >= np.ptp(forecast.quantiles[0]) * 0.99


def test_theta_agrees_with_statsmodels_and_has_the_interval_of_a_random_walk():
    from statsmodels.tsa.forecasting.theta import ThetaModel

    rng = np.random.default_rng(4)
    walk = 100 + rng.normal(size=400).cumsum()
    forecast = theta(walk, 30, 1, [0.5, 0.9])
    np.testing.assert_allclose(forecast.point, ThetaModel(walk, deseasonalize=False).fit().forecast(30).to_numpy())
    spread = (forecast.quantiles[:, 1] - forecast.point) / NormalDist().inv_cdf(0.9)
    np.testing.assert_allclose(spread, np.sqrt(np.arange(1, 31)), rtol=0.15)


def test_a_method_that_fails_says_so():
    for name, history in (("ETS", [1.0, 2.0]), ("ETS", [5.0] * 40), ("Theta", [nan, 3.0, nan])):
        method = {"ETS": ets, "Theta": theta}[name]
        forecast = method(np.array(history), 3, 12, LEVELS)
        assert forecast.note.startswith(f"{name} failed (")
        np.testing.assert_array_equal(forecast.point, seasonal_naive(np.array(history), 3, 12, LEVELS).point)


def test_a_random_library_error_is_not_lost(monkeypatch):
    def fail(*_):
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr(baselines, "_ets", fail)
    note = ets(np.arange(30.0), 3, 1, LEVELS).note
    assert note == "ETS failed (singular): seasonal naive instead"


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data: set ELMAN_DATA to its folder")
def test_the_m4_paper_hourly():
    # Makridakis, Spiliotis & Assimakopoulos 2020, hourly series: sMAPE and MASE of each method.
    table = read(DATA / "m4")
    histories = [s.y[: -table.test] for s in table.series]
    truth = np.stack([s.y[-table.test :] for s in table.series])
    scale = [metrics.seasonal_scale(y, 24) for y in histories]
    scores = {}
    for method, smape, mase in ((naive2, 18.383, 2.395), (seasonal_naive, 13.912, 1.193), (naive, 43.003, 11.608)):
        point = np.stack([method(y, table.test, 24, [0.5]).point for y in histories])
        scores[method] = {"smape": metrics.smape(truth, point), "mase": metrics.mase(truth, point, scale)}
        assert scores[method]["smape"] == pytest.approx(smape, abs=6e-4)
        assert scores[method]["mase"] == pytest.approx(mase, abs=6e-4)
    assert metrics.owa(scores[seasonal_naive], scores[naive2]) == pytest.approx(0.628, abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data: set ELMAN_DATA to its folder")
def test_the_m4_paper_hourly_theta():
    table = read(DATA / "m4")
    truth = np.stack([s.y[-table.test :] for s in table.series])
    forecasts = [theta(s.y[: -table.test], table.test, 24, LEVELS) for s in table.series]
    point = np.stack([f.point for f in forecasts])
    scale = [metrics.seasonal_scale(s.y[: -table.test], 24) for s in table.series]
    assert metrics.smape(truth, point) == pytest.approx(18.138, abs=0.02)
    assert metrics.mase(truth, point, scale) == pytest.approx(2.455, abs=0.01)
    assert not any(f.note for f in forecasts)


def test_every_baseline_has_the_same_form():
    history = 20 + np.tile([0.0, 1, 4, 2], 15) + np.random.default_rng(5).normal(size=60)
    assert list(BASELINES) == ["naive", "seasonal-naive", "ets", "theta"]
    for method in BASELINES.values():
        forecast = method(history, 6, 4, LEVELS)
        assert (forecast.point.shape, forecast.quantiles.shape) == ((6,), (6, 7))
        assert np.isfinite(forecast.quantiles).all()
