"""The networks against NumPy, and against themselves computed another way."""

import dataclasses

import keras
import numpy as np
import pytest
from scipy import stats

from elman.apps.core.engines import Engine
from elman.apps.core.engines import keras as keras_engine
from elman.apps.core.errors import UsageError
from elman.apps.forecasting import data as stage
from elman.apps.forecasting import model as models
from elman.apps.forecasting import predict
from elman.apps.forecasting.config import Config
from elman.apps.forecasting.frequency import Frequency
from elman.apps.forecasting.tables import Series, Table

LEVELS = (0.1, 0.3, 0.5, 0.9)


def table(gaps=True, count=2, covariates=False):
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        y = 50 * (i + 1) + np.cumsum(rng.normal(size=120))
        if gaps:
            y[1:][rng.random(119) < 0.15] = np.nan
        columns = {"wind": rng.normal(size=120), "price": rng.normal(size=130)} if covariates else {}
        static = {"size": float(i), "kind": "ab"[i % 2]} if covariates else {}
        made.append(Series(f"s{i}", np.datetime64("2021-01-01", "s"), y, columns, static))
    return Table(Frequency("s", 3600), tuple(made))


def load(monkeypatch, setting, **options):
    monkeypatch.setattr(stage, "read", lambda *args, **kwargs: table(**options))
    return stage.load(setting)


def build(setting, codec):
    """A model with random biases as well, so that each of them counts."""
    keras.utils.set_random_seed(2)
    net = models.build(setting, codec)
    rng = np.random.default_rng(1)
    net.set_weights(
        [w + 0.1 * rng.normal(size=w.shape).astype(w.dtype) if w.dtype.kind == "f" else w for w in net.get_weights()]
    )
    return net


def engine(net, setting, codec):
    signatures = {s.name: s for s in models.signatures(net, setting, codec)}
    return Engine("keras", signatures, keras_engine.load(signatures))


def inputs(loaded, count=5, ahead=0):
    which, origins = loaded.windows["test"]
    some = np.linspace(0, len(which) - 1, count).astype(int)
    return loaded.codec.windows(loaded.encoded, which[some], origins[some], ahead)


# Segments


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def gru_step(x, h, cell):
    kernel, recurrent = np.array(cell.input_kernel), np.array(cell.recurrent_kernel)
    units = len(recurrent)
    a, b = x @ kernel + np.array(cell.bias), h @ recurrent + np.array(cell.recurrent_bias)
    z = sigmoid(a[:units] + b[:units])
    r = sigmoid(a[units : 2 * units] + b[units : 2 * units])
    g = np.tanh(a[2 * units :] + r * b[2 * units :])
    return z * h + (1 - z) * g


def dense(layer, x):
    return x @ np.array(layer.kernel) + np.array(layer.bias)


def candidates(x, there, cycles, horizon, gap):
    """Anchors of every step of the horizon, and how far each was off: the last value, the same step of each cycle, and
    that step moved by what the last cycle was above the one that it is taken from."""
    window = cycles[0][1]

    def change(t, lag):
        return x[t] - x[t - lag] if there[t] and there[t - lag] else np.nan

    def level(t, lag):
        changes = [change(s, lag) for s in range(max(t - window + 1, lag), t + 1)]
        return np.nanmean(changes) if np.isfinite(changes).any() else 0.0

    def off(errors):
        errors = [abs(e) for e in errors if np.isfinite(e)]
        return (sum(errors) + 1) / (len(errors) + 1)

    lag = min(gap, len(x) - 1)
    made, moved = [(np.full(horizon, x[-1]), off([change(t, lag) for t in range(lag, len(x))]))], []
    for lag, length in cycles:
        same = np.array([x[len(x) - lag + h % length] for h in range(horizon)])
        made.append((same, off([change(t, lag) for t in range(lag, len(x))])))
        first = lag + min(window, len(x) - lag) - 1 + gap
        errors = [change(t, lag) - level(t - gap, lag) for t in range(first, len(x))]
        moved.append((same + level(len(x) - 1, lag), off(errors)))
    return tuple(np.array(both) for both in zip(*made, *moved, strict=True))


def segment_by_hand(net, codec, setting, row):
    """SegRNN on one window, in loops: quantiles in raw units."""
    y, there = row["y"].astype(float), row["observed"]
    if setting.scaling == "series" and row["series"] > 0:
        loc, scale = codec.loc[row["series"] - 1], codec.scale[row["series"] - 1]
    else:
        seen = y[there > 0]
        loc, scale = seen.mean(), max(seen.std(), codec.floors[row["series"]])
    x = (y - loc) / scale
    lookback, horizon, size, season = codec.lookback, codec.horizon, net.segment, net.season
    anchor = np.array([x[lookback - season + h % season] if season else x[-1] for h in range(horizon)])
    features = []
    for t in range(lookback):
        step = [x[t] - x[-1]]
        if season:
            step.append(x[t] - x[t - season] if t >= season else 0.0)
        if "since" in row:
            step += [there[t], row["since"][t]]
        for name in ("past", "future"):
            step += list(row[name][t]) if name in row else []
        features.append(step)
    short = -lookback % size
    features = np.concatenate([np.zeros((short, len(features[0]))), features])
    there = np.concatenate([np.zeros(short), there])
    h = np.zeros(net.options["units"])
    for start in range(0, len(features), size):
        if there[start : start + size].any():
            h = gru_step(np.maximum(dense(net.segment_in, features[start : start + size].ravel()), 0), h, net.cell)
    past, errors = (
        candidates(x, row["observed"], net.cycles, net.ahead * size, -(-horizon // 2)) if net.cycles else ((), ())
    )
    out, anchors = [], [anchor]
    for j in range(net.ahead):
        query = np.array(net.positions)[j]
        if net.options["embedding"]:
            query = np.concatenate([query, np.array(net.identities)[row["series"]]])
        known = []
        if "future" in row:
            ahead = np.zeros((net.ahead * size, row["future"].shape[1]))
            ahead[:horizon] = row["future"][lookback:]
            known.append(ahead[j * size : (j + 1) * size].ravel())
        if "static" in row:
            known.append(row["static"])
        if known:
            query = query + dense(net.known_in, np.concatenate(known))
        decoded = gru_step(query, h, net.cell)
        out.append(dense(net.segment_out, decoded).reshape(size, net.outputs))
        if net.cycles:
            weights = np.exp(dense(net.mixing, decoded))
            if net.fit:
                weights /= errors ** (10 * float(net.trust))
            counted = past[: len(weights), j * size : (j + 1) * size]
            anchors.append(weights / weights.sum() @ counted)
    out = np.concatenate(out)[:horizon]
    anchor = np.concatenate(anchors[1:] or anchors)[:horizon]
    if net.outputs > 1:
        middle = net.centre
        quantiles = np.repeat(out[:, middle : middle + 1], net.outputs, axis=1)
        for k in range(net.outputs):
            between = range(middle + 1, k + 1) if k > middle else range(k, middle)
            sign = 1 if k > middle else -1
            quantiles[:, k] += sign * sum((softplus(out[:, i] - 2) for i in between), np.zeros(horizon))
        out = quantiles
    out = out + anchor[:, None]
    linear = [layer for layer in net.beside if layer.name != "recurrent"]
    others = [x[-1] + beside(layer, x - x[-1], row["series"], horizon) for layer in linear]
    if "reverting" in setting.beside:
        seen = [(x[-k:], row["observed"][-k:] > 0) for k in net.spans]
        level = [past[there].mean() if there.any() else x[-1] for past, there in seen]
        others[-1] = others[-1] + level @ (np.array(net.levels.kernel) + np.array(net.levels.own)[row["series"]])
    for layer in [layer for layer in net.beside if layer not in linear]:
        alone = dataclasses.replace(setting, beside=())
        others.append((segment_by_hand(layer, codec, alone, row)[:, 0] - loc) / scale)
    out += np.mean([out[:, net.centre], *others], axis=0)[:, None] - out[:, net.centre, None]
    return out * scale + loc


def beside(layer, x, series, horizon):
    """The linear forecasts in loops."""
    if layer.name not in ("period", "reverting"):
        kernel = np.array(layer.kernel) + (np.array(layer.own)[series] if layer.name == "series" else 0)
        return x @ kernel
    period, near, weights = layer.period, np.array(layer.smooth.kernel)[:, 0, 0], np.array(layer.dense.kernel)
    reach = len(near) // 2
    padded = np.pad(x, reach)
    smooth = [x[t] + near @ padded[t : t + len(near)] for t in range(len(x))]
    before, start = len(x) // period, len(x) % period
    same = [[smooth[start + k * period + h % period] for k in range(before)] for h in range(horizon)]
    return np.array([same[h] @ weights[:, h // period] for h in range(horizon)])


SEGMENT = {"horizon": 7, "lookback": 22, "segment": 4, "units": 6, "embedding": 2, "season": 5, "levels": LEVELS}


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        ({"anchor": "last", "calendar": False}, {"gaps": False}),
        ({"scaling": "series", "loss": "mae", "anchor": "last"}, {"count": 3}),
        ({"past": ("wind",), "future": ("price",), "static": ("size", "kind")}, {"covariates": True}),
        ({"loss": "mse", "season": 30}, {"count": 1}),
        ({"anchor": "season"}, {}),
        ({"anchor_season": 9}, {}),
        ({"anchor": "fit"}, {}),
        ({"anchor": "fit", "anchor_season": 9, "loss": "mae"}, {"gaps": False}),
        ({"beside": ("linear", "series", "period")}, {}),
        ({"beside": ("series",), "loss": "mae", "anchor": "last"}, {"gaps": False, "count": 3}),
        ({"beside": ("linear", "reverting"), "scaling": "series"}, {"count": 3}),
        ({"beside": ("recurrent", "linear"), "anchor": "fit"}, {"covariates": True}),
    ],
)
def test_the_segment_network_is_its_equations(monkeypatch, changes, options):
    setting = Config(**{**SEGMENT, **changes})
    loaded = load(monkeypatch, setting, **options)
    net = build(setting, loaded.codec)
    windows = inputs(loaded)
    windows["series"][0] = 0  # as of a series that training did not see
    windows["observed"][1, :9] = 0  # segments in which nothing was observed
    found = engine(net, setting, loaded.codec)("forecast", **windows)["quantiles"]
    layer = net.get_layer("network")
    for row in range(len(found)):
        one = {name: values[row] for name, values in windows.items()}
        np.testing.assert_allclose(found[row], segment_by_hand(layer, loaded.codec, setting, one), rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("model", ["segment", "deepar"])
def test_a_window_in_which_nothing_moves_has_a_tenth_of_the_scale_of_those_in_which_something_does(monkeypatch, model):
    setting = Config(**(SEGMENT if model == "segment" else DEEPAR))
    loaded = load(monkeypatch, setting)
    layer, codec = build(setting, loaded.codec).get_layer("network"), loaded.codec
    series = np.arange(len(codec.ids) + 1)
    y, seen = np.full((len(series), codec.lookback), 7.0, "float32"), np.ones((len(series), codec.lookback), "float32")
    arguments = (y, seen, series)
    parts = [s.y[:end] for s, end in zip(loaded.table.series, loaded.borders[:, 0], strict=True)]
    moving = [np.nanstd(np.lib.stride_tricks.sliding_window_view(part, codec.lookback), axis=1) for part in parts]
    step = max(codec.lookback // 8, 1)
    expected = [1e-5 * 7 + 1e-6, *(0.1 * np.median(deviations[::step]) for deviations in moving)]
    np.testing.assert_allclose(np.array(layer.scaling(*arguments)[1])[:, 0], expected, rtol=1e-5)
    if model == "deepar":
        floors = np.array(codec.floors)[series]
        np.testing.assert_allclose(predict.window_scaling(y, seen, True, floors)[1], expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["mae", "quantile"])
def test_each_forecast_beside_the_recurrent_one_learns_from_its_own_error(monkeypatch, loss):
    setting = Config(**SEGMENT, loss=loss, beside=("linear", "period"))
    loaded = load(monkeypatch, setting)
    net = build(setting, loaded.codec)
    outputs = np.array(net(inputs(loaded)))
    truth = np.random.default_rng(3).normal(size=outputs.shape[:2]).astype("float32") + 50
    forecasts, scaled = outputs[..., :-2], (truth - outputs[..., -2]) / outputs[..., -1]
    off = np.abs(scaled[..., None] - forecasts[..., -2:]).mean((0, 1)) * (0.5 if loss == "quantile" else 1.0)
    alone = dataclasses.replace(setting, beside=())
    first = models.loss(net, alone, loaded.codec)(truth, np.delete(outputs, [-4, -3], axis=-1))
    together = models.loss(net, setting, loaded.codec)(truth, outputs)
    np.testing.assert_allclose(float(together), (float(first) + off.sum()) / 3, rtol=1e-4)


def test_weights_of_a_series_are_named_with_a_row_for_each(monkeypatch):
    setting = Config(**SEGMENT, beside=("series", "reverting", "recurrent"), scaling="series")
    loaded = load(monkeypatch, setting, count=10)
    weights = {v.path: v.shape for v in build(setting, loaded.codec).trainable_variables}
    rows = models.rows(setting, loaded.codec)
    assert set(rows) == {path for path, shape in weights.items() if shape[0] == 11}
    assert all(weights[path][axis] == len(names) for path, (axis, names) in rows.items())


def test_maps_beside_want_few_series_and_a_season_within_the_past(monkeypatch):
    setting = Config(**SEGMENT, beside=("series",))
    loaded = load(monkeypatch, setting)
    monkeypatch.setattr(models, "MOST_MAPPED", 1)
    with pytest.raises(UsageError, match="at most 1 series, the data have 2"):
        models.build(setting, loaded.codec)
    setting = Config(**{**SEGMENT, "season": 23}, beside=("period",))
    with pytest.raises(UsageError, match="season within the look-back of 22"):
        models.build(setting, load(monkeypatch, setting).codec)
    with pytest.raises(UsageError, match="each once"):
        Config(beside=("linear", "linear"))
    with pytest.raises(UsageError, match="--model segment"):
        Config(**DEEPAR, beside=("linear",))
    with pytest.raises(UsageError, match="--scaling series"):
        Config(beside=("reverting",))


def test_quantiles_of_a_segment_network_never_cross(monkeypatch):
    setting = Config(**SEGMENT)
    loaded = load(monkeypatch, setting)
    found = engine(build(setting, loaded.codec), setting, loaded.codec)("forecast", **inputs(loaded, 20))["quantiles"]
    assert (np.diff(found, axis=-1) > 0).all()


def test_a_forecast_moves_and_stretches_with_its_window(monkeypatch):
    """With its own scaling a window in other units gives the same forecast in those units."""
    setting = Config(**SEGMENT)
    loaded = load(monkeypatch, setting)
    run = engine(build(setting, loaded.codec), setting, loaded.codec)
    windows = inputs(loaded)
    moved = {**windows, "y": (3 * windows["y"] - 20).astype("float32")}
    np.testing.assert_allclose(
        run("forecast", **moved)["quantiles"], 3 * run("forecast", **windows)["quantiles"] - 20, rtol=1e-3
    )


def test_a_network_of_logarithms_is_a_plain_one_on_logarithms(monkeypatch):
    def symlog(y):
        return np.sign(y) * np.log1p(np.abs(y))

    setting = Config(**SEGMENT, values="symlog", anchor="fit")
    plain = dataclasses.replace(setting, values="plain")
    made = table()
    made = dataclasses.replace(made, series=tuple(dataclasses.replace(s, y=(s.y - 55) * 9) for s in made.series))
    logarithms = dataclasses.replace(made, series=tuple(dataclasses.replace(s, y=symlog(s.y)) for s in made.series))
    assert min(np.nanmin(s.y) for s in made.series) < -20  # both signs
    found, losses, units = [], [], []
    for one, which in ((setting, made), (plain, logarithms)):
        monkeypatch.setattr(stage, "read", lambda *args, which=which, **kwargs: which)
        loaded = stage.load(one)
        net, windows = build(one, loaded.codec), inputs(loaded, 20)
        answer = engine(net, one, loaded.codec)("forecast", **windows)
        found.append(answer["quantiles"])
        units.append(answer["scale"])
        truth = windows["y"][:, : one.horizon]
        losses.append(float(models.loss(net, one, loaded.codec)(truth, net(windows))))
    np.testing.assert_allclose(symlog(found[0]), found[1], rtol=1e-3, atol=1e-4)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    seen = windows["observed"] > 0
    middle = np.array([np.mean(y[o]) for y, o in zip(windows["y"].astype(float), seen, strict=True)])
    np.testing.assert_allclose(units[0], units[1] * np.exp(np.abs(middle)), rtol=1e-3)


def test_an_anchor_that_fits_the_look_back_is_trusted(monkeypatch):
    """Of a series that repeats itself after five steps the forecast is the last five, whatever else was learnt."""
    setting = Config(**{**SEGMENT, "anchor": "fit", "calendar": False})
    loaded = load(monkeypatch, setting, gaps=False)
    layer = models.build(setting, loaded.codec).get_layer("network")
    layer.trust.assign(4.0)
    x = np.tile(np.random.default_rng(0).normal(size=5), 5)[None, -22:].astype("float32")
    decoded = np.zeros((1, layer.ahead, setting.units), "float32")
    found = np.array(layer.mixed(x, np.ones_like(x), decoded))
    np.testing.assert_allclose(found[0], np.tile(x[0, -5:], 2)[:7], atol=1e-2)


def test_what_was_not_observed_does_not_matter_where_it_is_masked(monkeypatch):
    setting = Config(**{**SEGMENT, "anchor": "last", "calendar": False})
    loaded = load(monkeypatch, setting, gaps=False)
    run = engine(build(setting, loaded.codec), setting, loaded.codec)
    windows = inputs(loaded)
    windows["observed"][:, :10] = 0  # 22 steps in segments of 4: those before step 10 are the first three
    other = {**windows, "y": windows["y"].copy()}
    other["y"][:, :10] = -1e4
    np.testing.assert_allclose(
        run("forecast", **other)["quantiles"], run("forecast", **windows)["quantiles"], rtol=1e-5
    )


# Autoregression

DEEPAR = {
    "model": "deepar",
    "horizon": 5,
    "lookback": 9,
    "units": 6,
    "lags": (1, 2, 7),
    "embedding": 2,
    "levels": LEVELS,
}


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("distribution", "changes", "options"),
    [
        ("student_t", {}, {}),
        ("gaussian", {"layers": 2, "calendar": False}, {"gaps": False}),
        ("student_t", {"future": ("price",), "static": ("size", "kind")}, {"covariates": True}),
        ("gaussian", {"lags": (3,)}, {"count": 1}),
    ],
)
def test_stepping_gives_the_distributions_of_the_teacher_forced_pass(monkeypatch, cell, distribution, changes, options):
    setting = Config(**{**DEEPAR, "cell": cell, "distribution": distribution, **changes})
    loaded = load(monkeypatch, setting, **options)
    codec, horizon = loaded.codec, setting.horizon
    net = build(setting, codec)
    windows = inputs(loaded, ahead=horizon)
    loss = models.loss(net, setting, codec)
    outputs = net(windows)
    run = engine(net, setting, codec)
    past = {k: v[:, : codec.lookback] if k in ("y", "observed", "since") else v for k, v in windows.items()}
    state = predict.start_state(run, setting, codec, past)
    first, logs = max(codec.lags), []
    for t in range(first, codec.lookback + horizon):
        state, parameters = predict.advance(run, state, predict.step_inputs(codec, windows, t))
        y = windows["y"][:, t]
        frozen = (
            stats.t(parameters["df"], parameters["location"], parameters["scale"])
            if distribution == "student_t"
            else stats.norm(parameters["location"], parameters["scale"])
        )
        logs.append(frozen.logpdf(y))
    expected = -np.array(loss.call(windows["y"][:, first:], outputs))
    np.testing.assert_allclose(np.stack(logs, axis=1), expected, rtol=2e-3, atol=2e-3)
    assert np.std(expected) > 1e-3


def test_a_counting_model_steps_as_it_was_trained(monkeypatch):
    def counts():
        made = table(gaps=False)
        rng = np.random.default_rng(3)
        return dataclasses.replace(
            made, series=tuple(dataclasses.replace(s, y=rng.poisson(6, 120).astype(float)) for s in made.series)
        )

    monkeypatch.setattr(stage, "read", lambda *args, **kwargs: counts())
    setting = Config(**{**DEEPAR, "distribution": "negative_binomial"})
    loaded = stage.load(setting)
    codec = loaded.codec
    net = build(setting, codec)
    windows = inputs(loaded, ahead=setting.horizon)
    run = engine(net, setting, codec)
    past = {k: v[:, : codec.lookback] if k in ("y", "observed", "since") else v for k, v in windows.items()}
    state, first, logs = predict.start_state(run, setting, codec, past), max(codec.lags), []
    for t in range(first, codec.lookback + setting.horizon):
        state, found = predict.advance(run, state, predict.step_inputs(codec, windows, t))
        r = 1 / found["dispersion"].astype(float)
        logs.append(stats.nbinom(r, r / (r + found["mean"])).logpmf(windows["y"][:, t]))
    expected = -np.array(models.loss(net, setting, codec).call(windows["y"][:, first:], net(windows)))
    np.testing.assert_allclose(np.stack(logs, axis=1), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("parameters", "law"),
    [
        ({"location": 3.0, "scale": 2.0}, stats.norm(3, 2)),
        ({"location": -1.0, "scale": 0.5, "df": 4.0}, stats.t(4, -1, 0.5)),
        ({"mean": 6.0, "dispersion": 0.5}, stats.nbinom(2, 0.25)),
    ],
)
def test_samples_follow_their_distribution(parameters, law):
    full = {name: np.full(200_000, value, "float32") for name, value in parameters.items()}
    draws = predict.sample(np.random.default_rng(0), full)
    assert draws.dtype == np.float32
    for level in (0.05, 0.25, 0.5, 0.75, 0.95):
        value = law.ppf(level)
        below, error = np.mean(draws <= value), 4 * np.sqrt(level * (1 - level) / 200_000)
        assert below == pytest.approx(law.cdf(value), abs=error)


def test_sampled_quantiles_are_those_of_the_distribution(monkeypatch):
    """An engine whose step gives N(2 t, 3²), whatever it is told: the quantiles are known."""
    setting = Config(**{**DEEPAR, "paths": 4000, "calibrate": False, "distribution": "gaussian"})
    loaded = load(monkeypatch, setting)
    net = build(setting, loaded.codec)
    real = engine(net, setting, loaded.codec)
    calls = {"n": 0}

    def step(signature, **arrays):
        calls["n"] += 1
        n = len(arrays["value"])
        kept = {f"next_{k}": v for k, v in arrays.items() if k == "history" or k.startswith("state_")}
        ahead = calls["n"] - (loaded.codec.lookback - max(loaded.codec.lags))
        return {**kept, "location": np.full(n, 2.0 * ahead, "float32"), "scale": np.full(n, 3.0, "float32")}

    step.signatures = real.signatures
    which, origins = loaded.windows["test"]
    found = predict.forecast(step, setting, loaded.codec, loaded.encoded, which[:2], origins[:2])
    for h in range(setting.horizon):
        for k, level in enumerate(LEVELS):
            law = stats.norm(2 * (h + 1), 3)
            error = 5 * np.sqrt(level * (1 - level) / 4000) / law.pdf(law.ppf(level))
            np.testing.assert_allclose(found.quantiles[:, h, k], law.ppf(level), atol=error)
    np.testing.assert_allclose(found.point, found.quantiles[..., LEVELS.index(0.5)], atol=1e-5)


def test_a_seed_repeats_the_paths(monkeypatch):
    setting = Config(**{**DEEPAR, "paths": 10})
    loaded = load(monkeypatch, setting)
    run = engine(build(setting, loaded.codec), setting, loaded.codec)
    which, origins = loaded.windows["test"]

    def ask(seed):
        options = predict.PredictOptions(seed=seed)
        return predict.forecast(run, setting, loaded.codec, loaded.encoded, which[:3], origins[:3], options=options)

    np.testing.assert_array_equal(ask(1).quantiles, ask(1).quantiles)
    assert np.abs(ask(1).quantiles - ask(2).quantiles).max() > 0
