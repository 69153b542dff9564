import csv
import dataclasses

import keras
import numpy as np
import pytest

from elman.apps import captioning, forecasting, handwriting, music
from elman.apps.core import checkpoint, training, transfer
from elman.apps.core.config import TrainingConfig
from elman.apps.core.errors import ElmanError, UsageError
from elman.apps.core.source import Source
from elman.layers import LSTMCell, Recurrent

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
CONFIG = TrainingConfig(epochs=4, batch_size=10, learning_rate=0.01, patience=0, seed=3)


def model(width=4, inputs=3, last=""):
    """first, dense, dense_1; Keras's own numbers depend on what was built before."""
    x = keras.Input((inputs,))
    hidden = keras.layers.Dense(width)(keras.layers.Dense(width, "tanh", name="first")(x))
    return keras.Model(x, keras.layers.Dense(2 if last else 1, name=last or None)(hidden))


def source(rows):
    return Source(len(X[rows]), lambda indices: (X[rows][indices], Y[rows][indices]))


def fit(directory, net, config, **options):
    rows = source(slice(0, 30)), source(slice(30, 40))
    return training.fit(net, config, "mse", *rows, directory, quiet=True, **options)


class Stage:
    """An application's module `model` whose embedding-like weights have names."""

    def __init__(self, labels):
        self.labels = labels

    def rows(self, config, codec):
        return self.labels.get(codec, {})


class Application:
    def __init__(self, labels=None):
        self.labels = labels or {}

    def stage(self, name):
        return Stage(self.labels)


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """Begins a model with the weights of another one, which stands for a run."""

    def run(net, other=None, labels=None, **changes):
        if other is not None:
            weights = {n: keras.ops.convert_to_numpy(v) for n, v in transfer.named(other.weights).items()}
            monkeypatch.setattr(transfer, "open_start", lambda app, path: transfer.Start(weights, None, "old"))
            changes["init_from"] = "run"
        config = dataclasses.replace(CONFIG, **changes)
        return transfer.begin(Application(labels), net, config, "new", tmp_path), config

    return run


def weights_of(net):
    return {name: np.array(keras.ops.convert_to_numpy(v)) for name, v in transfer.named(net.weights).items()}


# Names


def test_names_do_not_depend_on_what_was_built_before():
    for _ in range(2):
        x = keras.Input((6, 3))
        net = keras.Model(x, keras.layers.Dense(1)(Recurrent([LSTMCell(4), LSTMCell(4)])(x)))
        assert list(transfer.layers(net)) == [
            "recurrent/stacked_cells/lstm_cell",
            "recurrent/stacked_cells/lstm_cell_1",
            "dense",
        ]
    names = ["first/kernel", "first/bias", "dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    for net in (model(), model()):
        assert list(transfer.named(net.weights)) == names


def test_a_counter_has_no_place_among_the_weights():
    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.steps = self.add_weight((), "zeros", trainable=False, name="steps")
            self.kernel = self.add_weight((3, 3), name="kernel")

        def call(self, x):
            return x @ self.kernel

    layer = Counting(name="own")
    layer.build((None, 3))
    assert [name.rpartition("/")[2] for name in transfer.named(layer.weights)] == ["kernel"]


# What is taken over


def test_layers_with_the_same_name_and_shape_are_taken_over(begin, tmp_path):
    old, new = model(), model()
    told, _ = begin(new, old)
    for a, b in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [line.split(" | ")[2] for line in told.splitlines()[2:]] == ["loaded"] * 3
    with (tmp_path / transfer.TABLE).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["first", "dense", "dense_1"]
    assert [int(row["numbers"]) for row in rows] == [16, 20, 5]


def test_another_shape_keeps_what_fits_and_says_so(begin):
    old, new = model(inputs=3), model(inputs=5)
    before = weights_of(new)
    told, _ = begin(new, old)
    after, theirs = weights_of(new), weights_of(old)
    kernel = "first/kernel"
    np.testing.assert_array_equal(after[kernel], before[kernel])
    np.testing.assert_array_equal(after["dense/kernel"], theirs["dense/kernel"])
    assert "| first | 24 | partly | 1 | kernel: shape (5, 4), there (3, 4) |" in told


def test_a_layer_that_is_not_there_is_named_on_both_sides(begin):
    old, new = model(last="other"), model(last="mine")
    told, _ = begin(new, old)
    assert "| mine | 10 | new | 1 | not in run |" in told
    assert told.endswith("not used: other")


def test_nothing_in_common_is_refused(begin):
    x = keras.Input((3,))
    old = keras.Model(x, keras.layers.Dense(4, name="other")(x))
    with pytest.raises(UsageError, match=r"--init-from run: no layer of it has the name and shape .* it has other"):
        begin(model(), old)


def test_symbols_that_both_know_keep_their_rows(begin):
    def net(symbols):
        tokens = keras.Input((2,), dtype="int32")
        embedded = keras.layers.Embedding(symbols, 5, name="words")(tokens)
        return keras.Model(tokens, keras.layers.Dense(symbols, name="logits")(embedded))

    old, new = net(3), net(4)
    words = {"old": ["a", "b", "c"], "new": ["c", "x", "a", "y"]}
    labels = {
        who: {"words/embeddings": (0, names), "logits/kernel": (1, names), "logits/bias": (0, names)}
        for who, names in words.items()
    }
    for layer in old.layers[1:]:
        layer.set_weights([RNG.normal(size=w.shape) for w in layer.get_weights()])
    before = weights_of(new)
    told, _ = begin(new, old, labels)
    after, theirs = weights_of(new), weights_of(old)
    np.testing.assert_array_equal(after["words/embeddings"][[0, 2]], theirs["words/embeddings"][[2, 0]])
    np.testing.assert_array_equal(after["words/embeddings"][[1, 3]], before["words/embeddings"][[1, 3]])
    np.testing.assert_array_equal(after["logits/kernel"][:, [0, 2]], theirs["logits/kernel"][:, [2, 0]])
    np.testing.assert_array_equal(after["logits/bias"][[0, 2]], theirs["logits/bias"][[2, 0]])
    assert "embeddings: rows of 2 of 4 symbols" in told


def test_the_same_number_of_other_symbols_is_no_match(begin):
    old, new = model(last="logits"), model(last="logits")
    labels = {"old": {"logits/kernel": (1, ["a", "b"])}, "new": {"logits/kernel": (1, ["c", "d"])}}
    before = weights_of(new)["logits/kernel"]
    told, _ = begin(new, old, labels)
    np.testing.assert_array_equal(weights_of(new)["logits/kernel"], before)
    assert "kernel: no symbol in common" in told


# What learns, and how fast


def moved(before, net):
    return {
        name.rpartition("/")[0] for name, value in weights_of(net).items() if not np.array_equal(value, before[name])
    }


def test_a_frozen_layer_stays_as_it_is(begin, tmp_path):
    net = model()
    told, config = begin(net, freeze=("fir*", "dense"))
    before = weights_of(net)
    fit(tmp_path, net, config)
    assert moved(before, net) == {"dense_1"}
    assert "| first | 16 | new | frozen |" in told
    assert len([v for v in net.optimizer.variables if len(v.shape)]) == 2 * 2  # no moments of what is frozen


def test_a_frozen_normalisation_keeps_its_statistics(begin, tmp_path):
    def net():
        x = keras.Input((3,))
        return keras.Model(x, keras.layers.Dense(1)(keras.layers.BatchNormalization(name="norm")(x)))

    for freeze, still in (((), False), (("norm",), True)):
        one = net()
        _, config = begin(one, freeze=freeze)
        fit(tmp_path / str(still), one, config)
        assert (not weights_of(one)["norm/moving_mean"].any()) == still


def test_frozen_layers_learn_from_their_epoch_on(begin, tmp_path):
    net = model()
    _, config = begin(net, freeze=("fir*", "dense"), unfreeze_after=1, unfreeze_every=2)
    first, seen = weights_of(net), []
    fit(tmp_path, net, config, on_epoch=lambda history: seen.append(moved(first, net)) or "")
    assert seen == [
        {"dense_1"},
        {"dense_1", "dense"},
        {"dense_1", "dense"},
        {"dense_1", "dense", "first"},
    ]


def test_a_factor_is_a_factor_of_the_first_step(tmp_path):
    """Adam's first step is the rate, whatever the gradient."""
    config = dataclasses.replace(CONFIG, epochs=1, batch_size=30, clip_norm=0.0, rates=("dense=0.5",), layer_decay=0.1)
    net = model()
    before = weights_of(net)
    fit(tmp_path, net, config)
    steps = {name: np.abs(value - before[name]).max() for name, value in weights_of(net).items()}
    expected = {"first": 0.01, "dense": 0.5 * 0.1, "dense_1": 1.0}
    for name, step in steps.items():
        assert step == pytest.approx(0.01 * expected[name.rpartition("/")[0]], rel=1e-2), name


def test_all_factors_one_is_adam_with_weight_decay(tmp_path):
    histories = []
    for name, rates in (("plain", ()), ("layerwise", ("*=1",))):
        keras.utils.set_random_seed(1)
        config = dataclasses.replace(CONFIG, rates=rates, weight_decay=0.1)
        histories.append([row["val_loss"] for row in fit(tmp_path / name, model(), config).history])
    assert histories[1] == pytest.approx(histories[0], rel=1e-5)


def test_a_resumed_run_knows_what_is_frozen(begin, tmp_path):
    _, config = begin(model(), freeze=("fir*", "dense"), unfreeze_after=1, unfreeze_every=1, layer_decay=0.5)
    nets = []
    for name, stop in (("whole", 9), ("broken", 2)):
        keras.utils.set_random_seed(1)
        nets.append(model())
        fit(tmp_path / name, nets[-1], config, on_epoch=lambda history, stop=stop: "now" * (len(history) == stop))
    again = model()
    fitted = fit(tmp_path / "broken", again, config, resume=True)
    assert len(fitted.history) == 4
    for a, b in zip(nets[0].get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": ("dence",)}, "--freeze: no layer is called 'dence'; did you mean 'dense'"),
        ({"rates": ("gru*=0.1",)}, "--rates: no layer is called 'gru\\*'; known: dense, dense_1, first"),
        ({"freeze": ("*",)}, "nothing is left to learn"),
    ],
)
def test_a_pattern_that_fits_nothing_or_all_is_refused(begin, changes, message):
    with pytest.raises(UsageError, match=message):
        begin(model(), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unfreeze_after": 2}, "name the layers with --freeze"),
        ({"freeze": ("a",), "unfreeze_every": 2}, "give --unfreeze-after too"),
        ({"rates": ("dense",)}, "expected PATTERN=FACTOR"),
        ({"rates": ("dense=-1",)}, "the factor 0 or more; received 'dense=-1'"),
        ({"layer_decay": 0.0}, "expected a factor in"),
    ],
)
def test_options_that_contradict_each_other(changes, message):
    with pytest.raises(UsageError, match=message):
        dataclasses.replace(CONFIG, **changes)


# Runs and bundles


def forecaster(out, **changes):
    small = {"units": 8, "horizon": 8, "lookback": 60, "segment": 4, "epochs": 1, "windows_per_epoch": 64}
    levels = (0.025, 0.1, 0.5, 0.9, 0.975)
    return forecasting.APP.train(forecasting.Config(**(small | {"levels": levels} | changes)), out, quiet=False)


def test_a_bundle_has_the_weights_of_its_run(co2_run):
    run, bundle = (transfer.open_start(forecasting.APP, str(path)) for path in (co2_run, co2_run / "bundle"))
    assert set(run.weights) == set(bundle.weights)
    for name, value in run.weights.items():
        np.testing.assert_array_equal(bundle.weights[name], value)
    assert run.config == bundle.config
    assert run.codec == bundle.codec


def test_a_run_begins_where_another_ended(co2_run, tmp_path, capsys):
    run = forecaster(tmp_path / "run", init_from=str(co2_run / "bundle"), learning_rate=1e-9)
    printed = capsys.readouterr().out
    assert "| network/segment_out | 180 | loaded | 1 |" in printed
    old, new = (forecasting.APP.open(path).engine.signatures for path in (co2_run, run.path))
    assert old["forecast"].inputs == new["forecast"].inputs
    theirs = transfer.open_start(forecasting.APP, str(co2_run)).weights
    ours = transfer.open_start(forecasting.APP, str(run.path)).weights
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6)
    assert run.codec(forecasting.APP).scale == transfer.open_start(forecasting.APP, str(co2_run)).codec.scale


def test_what_is_no_trained_run_is_named(co2_run, tmp_path):
    with pytest.raises(UsageError, match=r"neither a trained run \(model.keras\) nor a bundle"):
        forecaster(tmp_path / "a", init_from=str(tmp_path))
    with pytest.raises(ElmanError, match="a run of 'forecasting', not of 'music'"):
        transfer.open_start(music.APP, str(co2_run))
    with pytest.raises(ElmanError, match="a bundle of 'forecasting', not of 'music'"):
        transfer.open_start(music.APP, str(co2_run / "bundle"))
    assert not (tmp_path / "a").exists()


CODECS = [
    (forecasting, "deepar-m4-hourly", None),
    (music, "jsb", ("frames", 1)),
    (music, "voices", ("voices", 4)),
    (music, "performance", ("performance", 4)),
    (handwriting, "", ("strokes", "online")),
    (handwriting, "", ("strokes", "attention")),
    (handwriting, "", ("symbol", "classifier")),
    (captioning, "", None),
]


@pytest.mark.parametrize(("app", "preset", "kind"), CODECS)
def test_every_name_of_an_application_is_that_of_a_weight(app, preset, kind):
    """The axis has as many names as the weight has rows."""
    config = app.APP.preset(preset or app.APP.default)
    Codec = app.APP.stage("codec").Codec
    if app is forecasting:
        two = {"loc": (0.0, 0.0), "scale": (1.0, 1.0), "floors": (0.0, 1.0, 1.0), "until": ("", "")}
        none = dict.fromkeys(("past", "future", "static", "calendar"), ())
        size = {"season": 24, "lookback": 8, "horizon": 4, "lags": (1,)}
        codec = Codec(frequency="h", levels=(0.5,), ids=("a", "b"), missing=False, **size, **two, **none)
    elif app is music:
        codec = Codec(*kind, low=40, high=60, bar=16 if kind[0] == "voices" else 0)
    elif app is handwriting:
        codec, config = Codec(tuple("abc"), kind[0]), dataclasses.replace(config, model=kind[1])
    else:
        codec = Codec("words", tuple("abcdefgh"))
    stage = app.APP.stage("model")
    weights = transfer.named(stage.build(config, codec).weights)
    named = {name: row for name, row in stage.rows(config, codec).items() if name in weights}
    assert named
    for name, (axis, labels) in named.items():
        assert weights[name].shape[axis] == len(labels) == len(set(labels)), name


def test_best_weights_are_those_of_the_checkpoint(begin, tmp_path):
    net = model()
    _, config = begin(net, freeze=("dense",), unfreeze_after=2)
    fitted = fit(tmp_path, net, config)
    assert len(checkpoint.read(tmp_path / checkpoint.BEST)["history"]) == fitted.best_epoch
