"""Calibration and scores, with engines whose forecasts are known."""

import numpy as np
import pytest

from elman.apps.core.errors import DataError
from elman.apps.forecasting import data as stage
from elman.apps.forecasting import evaluate, metrics
from elman.apps.forecasting.baselines import BASELINES
from elman.apps.forecasting.config import Config
from elman.apps.forecasting.frequency import Frequency
from elman.apps.forecasting.predict import forecast
from elman.apps.forecasting.tables import Series, Table

LEVELS = (0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95)
SETTING = Config(
    horizon=4, lookback=8, segment=2, season=2, levels=LEVELS, calendar=False, baseline_origins=3, split=(0.3, 0.5, 0.2)
)


def load(monkeypatch, setting=SETTING, length=2000, count=1, y=None):
    rng = np.random.default_rng(5)
    made = tuple(
        Series(f"s{i}", 0, rng.normal(100, 3, length) if y is None else y[i])
        for i in range(count if y is None else len(y))
    )
    monkeypatch.setattr(stage, "read", lambda *args, **kwargs: Table(Frequency("i", 1), made))
    return stage.load(setting)


def engine(quantiles, scale=1.0):
    """Gives the same quantiles for each window and step."""

    def run(signature, **arrays):
        n = len(arrays["y"])
        return {
            "quantiles": np.tile(np.asarray(quantiles, "float32"), (n, 4, 1)),
            "scale": np.full(n, scale, "float32"),
        }

    return run


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("count", [19, 200])
def test_conformal_scores_cover_what_they_say(share, count):
    """For exchangeable scores P(new <= quantile) lies between share and share + 1 / (n + 1)."""
    rng = np.random.default_rng(0)
    covered = np.mean(
        [rng.exponential() <= evaluate._conformal(rng.exponential(size=count), share) for _ in range(4000)]
    )
    error = 4 * np.sqrt(share * (1 - share) / 4000)
    assert share - error <= covered <= share + 1 / (count + 1) + error


def test_conformal_ignores_what_was_not_observed():
    assert evaluate._conformal(np.array([np.nan, 1.0, 2.0, np.nan]), 0.5) == 2.0
    assert evaluate._conformal(np.array([np.nan]), 0.5) == 0.0


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_calibration_widens_what_is_too_narrow_until_it_covers(monkeypatch, scale):
    loaded = load(monkeypatch)
    narrow = 100 + 0.2 * np.arange(-3, 4)
    codec = evaluate.calibrate(engine(narrow, scale), SETTING, loaded)
    offsets = np.array(codec.offsets)
    assert offsets.shape == (4, 7)
    np.testing.assert_array_equal(offsets[:, 3], 0)
    assert (offsets[:, :3] < 0).all()
    assert (offsets[:, 4:] > 0).all()
    quantiles = codec.calibrate(np.tile(narrow.astype("float32"), (5, 4, 1)), np.full(5, scale))[0, 0]
    rng = np.random.default_rng(11)
    fresh = rng.normal(100, 3, 100_000)
    for low, high, share in ((0, 6, 0.9), (1, 5, 0.8), (2, 4, 0.4)):
        covered = np.mean((fresh >= quantiles[low]) & (fresh <= quantiles[high]))
        assert covered == pytest.approx(share, abs=0.05)


def test_calibration_narrows_nothing(monkeypatch):
    loaded = load(monkeypatch)
    wide = 100 + 30.0 * np.arange(-3, 4)
    assert not np.any(evaluate.calibrate(engine(wide), SETTING, loaded).offsets)


def test_without_calibration_the_codec_stays(monkeypatch):
    import dataclasses

    loaded = load(monkeypatch)
    setting = dataclasses.replace(SETTING, calibrate=False)
    assert evaluate.calibrate(engine(np.arange(7.0)), setting, loaded) is loaded.codec


def test_calibrated_quantiles_do_not_cross(monkeypatch):
    import dataclasses

    codec = dataclasses.replace(load(monkeypatch).codec, offsets=((-1.0, 0, 3.0, 0, 0, 0, 0),) * 4)
    found = codec.calibrate(np.tile(np.arange(7, dtype="float32"), (2, 4, 1)), np.array([1.0, 2.0]))
    assert (np.diff(found, axis=-1) >= 0).all()
    np.testing.assert_array_equal(found[0, 0], [-1, 1, 3, 4, 5, 5, 6])


def test_scores_are_those_of_all_windows_at_once(monkeypatch):
    """Windows are scored in chunks: the sums must give what one call over all of them gives."""
    monkeypatch.setattr(evaluate, "CHUNK", 7)
    rng = np.random.default_rng(1)
    y = [np.where(rng.random(300) < 0.2, np.nan, rng.normal(50, 5, 300)) for _ in range(2)]
    for values in y:
        values[0] = 50.0
    loaded = load(monkeypatch, y=y)
    quantiles = 50 + np.arange(-3, 4)
    result = evaluate.evaluate(engine(quantiles), SETTING, loaded)
    which, origins = loaded.windows["test"]
    truth = np.stack([y[s][o : o + 4] for s, o in zip(which, origins, strict=True)])
    assert result.model["windows"] == len(which)
    seen = ~np.isnan(truth)
    assert result.model["mse"] == pytest.approx(np.mean((truth[seen] - 50) ** 2), rel=1e-5)
    assert result.model["mae"] == pytest.approx(np.mean(np.abs(truth[seen] - 50)), rel=1e-5)
    covered = np.mean((truth[seen] >= 48) & (truth[seen] <= 52))
    assert result.model["coverage_80"] == pytest.approx(covered, abs=1e-9)
    losses = []
    for level, q in zip(LEVELS, quantiles, strict=True):
        if level in (0.1, 0.3, 0.5, 0.7, 0.9):
            error = truth[seen] - q
            losses.append(2 * np.maximum(level * error, (level - 1) * error).sum() / np.abs(truth[seen]).sum())
    assert result.model["wql"] == pytest.approx(np.mean(losses), rel=1e-5)
    scale = [metrics.seasonal_scale(y[s][: loaded.borders[s, 1]], 2) for s in range(2)]
    by_series = np.abs(truth - 50) / np.array(scale)[which][:, None]
    assert result.model["mase"] == pytest.approx(np.nanmean(by_series), rel=1e-4)


def test_baselines_see_nothing_of_the_horizon(monkeypatch):
    rng = np.random.default_rng(2)
    y = rng.normal(10, 1, 300)
    loaded = load(monkeypatch, y=[y])
    which, origins = loaded.windows["test"]
    before = {name: evaluate._baseline(name, loaded, which[:2], origins[:2]).point for name in BASELINES}
    changed = y.copy()
    changed[origins[1] :] = 1e6
    loaded = load(monkeypatch, y=[changed])
    for name in BASELINES:
        np.testing.assert_array_equal(evaluate._baseline(name, loaded, which[:2], origins[:2]).point, before[name])


def test_the_report_says_when_a_baseline_wins(monkeypatch):
    y = [np.tile([1.0, 9.0], 200) + 0.01 * np.random.default_rng(0).normal(size=400)]
    bad = evaluate.evaluate(engine(np.linspace(30, 40, 7)), SETTING, load(monkeypatch, y=y))
    assert any("NOT better than the best of naive, seasonal-naive (seasonal-naive" in note for note in bad.notes)
    assert set(bad.baselines) == set(BASELINES)
    assert bad.baselines["seasonal-naive"]["mae"] < 0.1 < bad.baselines["naive"]["mae"]


def test_a_test_part_without_a_window_is_said(monkeypatch):
    import dataclasses

    setting = dataclasses.replace(SETTING, split=(0.5, 0.5, 0.0))
    loaded = load(monkeypatch, setting)
    with pytest.raises(DataError, match="no test window of 4 steps"):
        evaluate.evaluate(engine(np.arange(7.0)), setting, loaded)


def test_one_quantile_gives_all_by_calibration(monkeypatch):
    import dataclasses

    setting = dataclasses.replace(SETTING, loss="mse")
    loaded = load(monkeypatch, setting)
    median = engine([100.0])
    loaded = dataclasses.replace(loaded, codec=evaluate.calibrate(median, setting, loaded))
    which, origins = loaded.windows["test"]
    made = forecast(median, setting, loaded.codec, loaded.encoded, which, origins)
    assert made.quantiles.shape == (len(which), 4, 7)
    truth = loaded.codec.targets(loaded.encoded, which, origins)[0]
    covered = np.mean((truth >= made.quantiles[..., 1]) & (truth <= made.quantiles[..., 5]))
    assert covered == pytest.approx(0.8, abs=0.06)
