import numpy as np
import pytest

from elman.apps.forecasting import metrics

nan = np.nan


def test_point_metrics_by_hand():
    truth, point = np.array([[1.0, 2.0, nan], [4.0, 0.0, -2.0]]), np.array([[2.0, 2.0, 9.0], [1.0, 0.0, 2.0]])
    assert metrics.mse(truth, point) == pytest.approx((1 + 0 + 9 + 0 + 16) / 5)
    assert metrics.mae(truth, point) == pytest.approx((1 + 0 + 3 + 0 + 4) / 5)
    assert metrics.smape(truth, point) == pytest.approx(200 * (1 / 3 + 0 + 3 / 5 + 0 + 1) / 5)
    assert metrics.mase(truth, point, [2.0, 4.0]) == pytest.approx((1 / 2 + 0 + 3 / 4 + 0 + 4 / 4) / 5)
    assert metrics.mase(truth, point, [2.0, 0.0]) == pytest.approx(1 / 4)
    assert np.isnan(metrics.mse([[nan]], [[1.0]]))


def test_seasonal_scale():
    history = np.array([[1.0, 5.0, 2.0, 8.0, nan, 9.0], [3.0, 3.0, 3.0, 3.0, 3.0, 3.0]])
    np.testing.assert_allclose(metrics.seasonal_scale(history, 2), [(1 + 3 + 1) / 3, 0])
    np.testing.assert_allclose(metrics.seasonal_scale(history, 1), [(4 + 3 + 6) / 3, 0])
    assert metrics.seasonal_scale([1.0, 4.0], 24) == 3  # shorter than a season
    assert metrics.seasonal_scale([1.0, 4.0, nan, nan], 2) == 3  # no pair a season apart
    assert np.isnan(metrics.seasonal_scale([1.0], 1))


def test_pinball_is_least_at_the_quantile_and_asymmetric():
    rng = np.random.default_rng(0)
    truth, levels = rng.gamma(2.0, size=20001), np.array([0.1, 0.5, 0.95])
    exact = np.quantile(truth, levels)
    losses = [metrics.pinball(truth, np.tile(exact * f, (truth.size, 1)), levels).mean(0) for f in (0.9, 1, 1.1)]
    assert (losses[1] < losses[0]).all()
    assert (losses[1] < losses[2]).all()
    np.testing.assert_allclose(metrics.pinball([3.0], [[1.0, 5.0]], [0.9, 0.9]), [[1.8, 0.2]])


@pytest.mark.parametrize("shape", [(3, 4), (5, 1)])
def test_weighted_quantile_loss_against_loops_and_the_normalised_deviation(shape):
    rng = np.random.default_rng(1)
    truth, levels = rng.normal(size=shape), [0.2, 0.5, 0.7]
    quantiles = np.sort(rng.normal(size=(*shape, 3)), -1)
    truth[0, 0] = nan
    expected = np.zeros(3)
    for i in np.ndindex(shape):
        for k, level in enumerate(levels):
            if not np.isnan(truth[i]):
                below = float(truth[i] <= quantiles[i][k])
                expected[k] += 2 * abs((quantiles[i][k] - truth[i]) * (below - level))
    expected /= np.nansum(np.abs(truth))
    losses = metrics.weighted_quantile_loss(truth, quantiles, levels)
    np.testing.assert_allclose(losses, expected)
    deviation = np.nansum(np.abs(truth - quantiles[..., 1])) / np.nansum(np.abs(truth))
    assert losses[1] == pytest.approx(deviation)


def test_coverage_of_the_central_intervals_that_the_levels_hold():
    levels = [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975, 0.99]
    assert metrics.central_intervals(levels) == {95.0: (0, 6), 80.0: (1, 5), 50.0: (2, 4)}
    from statistics import NormalDist

    rng = np.random.default_rng(2)
    truth = rng.normal(size=(400, 100))
    truth[:, 3] = nan
    quantiles = np.broadcast_to([NormalDist().inv_cdf(level) for level in levels], (400, 100, 8))
    scores = metrics.score(truth, np.zeros((400, 100)), quantiles, levels, np.ones(400))
    for percent in (50, 80, 95):
        assert scores[f"coverage_{percent}"] == pytest.approx(percent / 100, abs=0.005)
    assert scores["wql"] == pytest.approx(np.mean([scores[f"wql_{level:g}"] for level in levels]))
    assert scores["mase"] == pytest.approx(scores["mae"])


def test_a_missing_truth_changes_nothing():
    rng = np.random.default_rng(3)
    truth, point, quantiles = rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), rng.normal(size=(4, 6, 3))
    levels, scale = [0.1, 0.5, 0.9], [1.0, 2.0, 3.0, 4.0]
    short = metrics.score(truth[:, :4], point[:, :4], quantiles[:, :4], levels, scale)
    truth[:, 4:] = nan
    point[0, 4] = quantiles[1, 5] = nan
    assert metrics.score(truth, point, quantiles, levels, scale) == pytest.approx(short)
    with pytest.raises(ValueError, match=r"expected quantiles of shape \(4, 6, 3\), received \(4, 6\)"):
        metrics.score(truth, point, quantiles[..., 0], levels, scale)


def test_owa_of_the_m4_paper():
    # M4 hourly, seasonal naive and Naive2: OWA 0.628 (Makridakis, Spiliotis & Assimakopoulos 2020).
    scores, naive2 = {"smape": 13.912, "mase": 1.193}, {"smape": 18.383, "mase": 2.395}
    assert metrics.owa(scores, naive2) == pytest.approx(0.6275, abs=5e-4)
