import itertools

import keras
import numpy as np
import pytest
from scipy import stats

from elman.layers import (
    GaussianHead,
    NegativeBinomialHead,
    NegativeLogLikelihood,
    QuantileHead,
    QuantileLoss,
    StudentTHead,
    pinball_loss,
    sample_quantiles,
)

rng = np.random.default_rng(0)


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def tensors(**arrays):
    return {name: keras.ops.convert_to_tensor(np.asarray(value, "float32")) for name, value in arrays.items()}


def test_gaussian_log_prob():
    y, location, scale = rng.normal(size=(3, 5)), rng.normal(size=(3, 5)), rng.uniform(0.01, 3, size=(3, 5))
    got = GaussianHead.log_prob(y, **tensors(location=location, scale=scale))
    np.testing.assert_allclose(numpy(got), stats.norm.logpdf(y, location, scale), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("df", [0.05, 0.5, 1.0, 2.5, 7.0, 30.0, 1e3, 1e6])
def test_student_t_log_prob_for_every_size_of_df(df):
    y = np.array([-40.0, -1.5, 0.0, 0.3, 6.0])
    got = StudentTHead.log_prob(y, **tensors(location=np.full(5, 0.3), scale=np.full(5, 0.7), df=np.full(5, df)))
    np.testing.assert_allclose(numpy(got), stats.t.logpdf(y, df, 0.3, 0.7), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("mean", "dispersion"),
    [*itertools.product([1e-5, 0.3, 20.0, 1e4, 1e6], [0.1, 2.0, 500.0]), (1e-5, 1e-5), (0.3, 1e-5), (20.0, 1e-5)],
)
def test_negative_binomial_log_prob_for_every_size_of_count(mean, dispersion):
    r = 1 / dispersion
    y = np.unique(np.array([0, 1, 2, 17, mean // 2, mean, 2 * mean]).astype(int))
    got = NegativeBinomialHead.log_prob(
        y, **tensors(mean=np.full(len(y), mean), dispersion=np.full(len(y), dispersion))
    )
    np.testing.assert_allclose(numpy(got), stats.nbinom.logpmf(y, r, r / (r + mean)), rtol=3e-5, atol=1e-4)


def test_samples_follow_their_distribution():
    shape = (20_000,)
    t = tensors(location=np.full(shape, -1.0), scale=np.full(shape, 0.5), df=np.full(shape, 3.0))
    assert stats.kstest(numpy(StudentTHead.sample(1, **t)), stats.t(3.0, -1.0, 0.5).cdf).pvalue > 1e-3
    g = tensors(location=np.full(shape, 2.0), scale=np.full(shape, 3.0))
    assert stats.kstest(numpy(GaussianHead.sample(1, **g)), stats.norm(2.0, 3.0).cdf).pvalue > 1e-3
    for mean, dispersion in [(0.4, 1.0), (12.0, 0.3), (3000.0, 0.01)]:
        n = tensors(mean=np.full(shape, mean), dispersion=np.full(shape, dispersion))
        draws, r = numpy(NegativeBinomialHead.sample(1, **n)), 1 / dispersion
        edges = np.unique(stats.nbinom.ppf(np.linspace(0.1, 0.9, 9), r, r / (r + mean)))
        cdf = stats.nbinom.cdf(np.concatenate([[-1], edges, [np.inf]]), r, r / (r + mean))
        counts = np.histogram(draws, np.concatenate([[-np.inf], edges + 0.5, [np.inf]]))[0]
        assert stats.chisquare(counts, np.diff(cdf) * shape[0]).pvalue > 1e-3


def test_pinball_loss_is_least_at_the_true_quantiles():
    levels, y = (0.1, 0.5, 0.8), rng.normal(size=4001)
    true = np.quantile(y, levels)

    def loss(quantiles):
        return numpy(
            pinball_loss(y, keras.ops.convert_to_tensor(np.tile(quantiles, (len(y), 1)), dtype="float32"), levels)
        ).mean(0)

    for shift in (-0.1, 0.1):
        assert np.all(loss(true) < loss(true + shift))
    one = numpy(pinball_loss([3.0], keras.ops.convert_to_tensor([[1.0, 5.0]]), (0.1, 0.9)))
    np.testing.assert_allclose(one, [[0.2, 0.2]], rtol=1e-6)


def test_quantiles_never_cross_and_sampling_inverts_them():
    head = QuantileHead(units=2, levels=(0.1, 0.5, 0.9))
    quantiles = numpy(head(rng.normal(size=(4, 7, 3)).astype("float32") * 10))
    assert quantiles.shape == (4, 7, 2, 3)
    assert np.all(np.diff(quantiles, axis=-1) >= 0)
    levels = np.linspace(0.01, 0.99, 99)
    true = np.tile(stats.norm.ppf(levels), (20_000, 1)).astype("float32")
    draws = numpy(sample_quantiles(3, keras.ops.convert_to_tensor(true), levels))
    np.testing.assert_allclose(np.quantile(draws, [0.1, 0.5, 0.9]), stats.norm.ppf([0.1, 0.5, 0.9]), atol=0.04)


def test_fit_recovers_the_parameters_of_noise():
    y = stats.t.rvs(4.0, 1.5, 0.5, size=(4096, 1), random_state=1).astype("float32")
    model = keras.Sequential([keras.Input((1,)), StudentTHead()])
    model.compile(keras.optimizers.Adam(0.03), loss=NegativeLogLikelihood(StudentTHead()))
    model.fit(np.ones_like(y), y, batch_size=512, epochs=40, verbose=0)
    location, scale, df = (numpy(p).item() for p in StudentTHead.params(model(np.ones((1, 1)))).values())
    assert location == pytest.approx(1.5, abs=0.05)
    assert scale == pytest.approx(0.5, abs=0.05)
    assert df > 2
    assert model.evaluate(np.ones_like(y), y, verbose=0) < -stats.t.logpdf(y, 4.0, 1.5, 0.5).mean() + 0.01


def test_loss_honours_the_mask_and_survives_saving(tmp_path):
    x = rng.normal(size=(2, 4, 3)).astype("float32")
    x[1, 2:] = 0
    y = rng.normal(size=(2, 4, 2)).astype("float32")
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, GaussianHead(2)(keras.layers.Masking()(inputs)))
    model.compile(loss=NegativeLogLikelihood(GaussianHead))
    before = model.evaluate(x, y, verbose=0)
    y[1, 2:] = 1e3
    assert model.evaluate(x, y, verbose=0) == pytest.approx(before, rel=1e-5)
    model.save(tmp_path / "m.keras")
    assert keras.saving.load_model(tmp_path / "m.keras").evaluate(x, y, verbose=0) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: GaussianHead(0),
        lambda: QuantileHead(levels=(0.5, 0.2)),
        lambda: QuantileLoss((0.0, 0.5)),
        lambda: QuantileHead(-1),
    ],
)
def test_bad_arguments_are_named(wrong):
    with pytest.raises(ValueError, match=r"expected .* received"):
        wrong()
