import itertools

import keras
import numpy as np
import pytest
from keras import ops
from scipy import stats
from scipy.special import expit, log_softmax, logsumexp

from elman.layers import (
    CategoricalHead,
    MixtureDensityHead,
    NADEHead,
    NegativeLogLikelihood,
    nade_log_prob,
    nade_logits,
    nade_sample,
)

rng = np.random.default_rng(0)


def numpy(x):
    return ops.convert_to_numpy(x)


def nade_arrays(rows, width, hidden, scale=1.0):
    shapes = [(rows, width), (rows, hidden), (width, hidden), (width, hidden)]
    return [rng.normal(size=shape).astype("float32") * scale for shape in shapes]


def nade_reference(y, b, c, w, v):
    """The definition, one dimension after the other, in float64."""
    c, logits = c.astype("float64"), []
    for d in range(y.shape[-1]):
        logits.append(b[:, d] + expit(c) @ v[d])
        c = c + y[:, d : d + 1] * w[d]
    return np.stack(logits, -1)


@pytest.mark.parametrize(("width", "share"), [(88, 0.05), (88, 0.6), (20, 0.5), (5, 0.5)])
def test_nade_logits_equal_the_definition_for_few_and_many_ones(width, share):
    arrays = nade_arrays(6, width, 7)
    y = (rng.random((6, width)) < share).astype("float32")
    y[0], y[1] = 0, 1
    for rows in (slice(None), slice(2, None)):
        b, c, *kernels = arrays
        got = nade_logits(y[rows], b[rows], c[rows], *kernels, segments=8)
        np.testing.assert_allclose(
            numpy(got), nade_reference(y[rows], b[rows], c[rows], *kernels), rtol=1e-4, atol=1e-4
        )


def test_nade_probabilities_of_all_vectors_sum_to_one():
    y = np.array(list(itertools.product([0, 1], repeat=10)), "float32")
    b, c, w, v = nade_arrays(1, 10, 6)
    log_prob = numpy(nade_log_prob(y, np.tile(b, (1024, 1)), np.tile(c, (1024, 1)), w, v, segments=3))
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("segments", [2, 8])
def test_nade_gradients_against_finite_differences(segments):
    arrays = [ops.convert_to_tensor(a) for a in nade_arrays(3, 9, 4)]
    y = (rng.random((3, 9)) < 0.4).astype("float32")
    y[0] = 1
    layer = NADEHead(9, 4)
    layer.build((3, 2), (3, 9))
    variables = [keras.Variable(a) for a in arrays]

    def loss(*values):
        return float(numpy(ops.sum(nade_log_prob(y, *values, segments=segments))))

    gradients = gradient(lambda: ops.sum(nade_log_prob(y, *[v.value for v in variables], segments=segments)), variables)
    for k, (array, got) in enumerate(zip(arrays, gradients, strict=True)):
        direction = rng.normal(size=array.shape).astype("float32")
        ends = [loss(*arrays[:k], array + s * direction, *arrays[k + 1 :]) for s in (1e-2, -1e-2)]
        assert np.sum(got * direction) == pytest.approx((ends[0] - ends[1]) / 2e-2, rel=1e-2, abs=1e-2)


def gradient(function, variables):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = function()
    return [numpy(g) for g in tape.gradient(value, [v.value for v in variables])]


def test_nade_samples_follow_the_model_and_numpy_draws_the_same():
    b, c, w, v = nade_arrays(1, 4, 3)
    rows = 20_000
    uniform = rng.random((rows, 4)).astype("float32")
    arrays = np.tile(b, (rows, 1)), np.tile(c, (rows, 1)), w, v
    drawn = nade_sample(uniform, *arrays, xp=np)
    tensors = nade_sample(*(ops.convert_to_tensor(a) for a in (uniform, *arrays)))
    assert (
        np.mean(np.any(drawn != numpy(tensors), axis=-1)) < 1e-3
    )  # a uniform may fall on the last bit of a probability
    every = np.array(list(itertools.product([0, 1], repeat=4)), "float32")
    log_prob = numpy(nade_log_prob(every, np.tile(b, (16, 1)), np.tile(c, (16, 1)), w, v)).astype("float64")
    expected = np.exp(log_prob) * rows
    counts = np.bincount((drawn @ [8, 4, 2, 1]).astype(int), minlength=16)
    assert stats.chisquare(counts, expected * (rows / expected.sum())).pvalue > 1e-3


def test_nade_learns_a_joint_distribution_that_independent_bits_cannot():
    y = np.repeat(rng.integers(0, 2, (512, 1)), 6, axis=1).astype(
        "float32"
    )  # all bits equal: log 2 nats, 6 log 2 independent
    x = np.ones((512, 1), "float32")
    features, targets = keras.Input((1,)), keras.Input((6,))
    model = keras.Model([features, targets], NADEHead(6, 8)(features, targets))
    model.compile(keras.optimizers.Adam(0.05), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit([x, y], y, epochs=20, batch_size=64, verbose=0)
    assert model.evaluate([x, y], y, verbose=0) * 6 < 1.1 * np.log(2)


def test_mixture_log_prob_equals_the_sum_over_components():
    outputs = rng.normal(size=(5, 6 * 3 + 1)).astype("float32")
    strokes = np.concatenate([rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1))], axis=1)
    params = MixtureDensityHead.params(ops.convert_to_tensor(outputs))
    p = {name: numpy(value).astype("float64") for name, value in params.items()}
    for n in range(5):
        parts = []
        for m in range(3):
            sx, sy, r = p["scale_x"][n, m], p["scale_y"][n, m], p["correlation"][n, m]
            covariance = [[sx * sx, r * sx * sy], [r * sx * sy, sy * sy]]
            mean = p["mean_x"][n, m], p["mean_y"][n, m]
            parts.append(
                log_softmax(p["logits"][n])[m] + stats.multivariate_normal(mean, covariance).logpdf(strokes[n, :2])
            )
        pen = np.log(expit(p["pen"][n] if strokes[n, 2] else -p["pen"][n]))
        got = numpy(MixtureDensityHead.log_prob(strokes, **params))[n]
        assert got == pytest.approx(logsumexp(parts) + pen, rel=1e-4, abs=1e-4)


def test_mixture_samples_have_the_moments_of_the_mixture_and_bias_sharpens():
    outputs = ops.convert_to_tensor(np.tile(rng.normal(size=(1, 13)), (20_000, 1)).astype("float32"))
    params = MixtureDensityHead.params(outputs)
    p = {name: numpy(value)[0] for name, value in params.items()}
    weights = np.exp(log_softmax(p["logits"]))
    draws = numpy(MixtureDensityHead.sample(1, **params))
    assert draws.shape == (20_000, 3)
    assert draws[:, 0].mean() == pytest.approx(weights @ p["mean_x"], abs=0.05)
    assert draws[:, 2].mean() == pytest.approx(expit(p["pen"]), abs=0.02)
    product = weights @ (p["mean_x"] * p["mean_y"] + p["correlation"] * p["scale_x"] * p["scale_y"])
    assert np.mean(draws[:, 0] * draws[:, 1]) == pytest.approx(product, abs=0.1)
    assert numpy(MixtureDensityHead.sample(1, **params, bias=3.0))[:, 0].std() < draws[:, 0].std()


def test_categorical_log_prob_and_sampling():
    logits = rng.normal(size=(4, 6, 5)).astype("float32")
    y = rng.integers(0, 5, (4, 6))
    expected = np.take_along_axis(log_softmax(logits, axis=-1), y[..., None], -1)[..., 0]
    np.testing.assert_allclose(numpy(CategoricalHead.log_prob(y, ops.convert_to_tensor(logits))), expected, rtol=1e-5)
    many = ops.convert_to_tensor(np.tile(logits[:1, 0], (20_000, 1)))
    for temperature in (1.0, 0.5):
        counts = np.bincount(numpy(CategoricalHead.sample(1, many, temperature=temperature)), minlength=5)
        expected = np.exp(log_softmax(logits[0, 0] / temperature)) * 20_000
        assert stats.chisquare(counts, expected * (counts.sum() / expected.sum())).pvalue > 1e-3


@pytest.mark.parametrize("head", [CategoricalHead(4), MixtureDensityHead(2)])
def test_fit_with_the_loss_of_a_joint_head(head):
    x = rng.normal(size=(8, 5, 3)).astype("float32")
    y = rng.integers(0, 2, (8, 5) if head.units == 4 else (8, 5, 3))
    model = keras.Sequential([keras.Input((None, 3)), head])
    model.compile("adam", loss=NegativeLogLikelihood(head))
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
