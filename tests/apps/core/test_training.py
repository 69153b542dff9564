import csv
import dataclasses
import math

import keras
import numpy as np
import pytest

from elman.apps.core import checkpoint, training
from elman.apps.core.batching import Batches
from elman.apps.core.config import TrainingConfig
from elman.apps.core.errors import ElmanError, UsageError
from elman.apps.core.source import Source
from elman.layers import LSTMCell, Recurrent

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype("float32")
Y = (X @ np.array([[1.0], [-2.0], [0.5]], "float32")) + 0.1 * RNG.normal(size=(40, 1)).astype("float32")
CONFIG = TrainingConfig(epochs=5, batch_size=7, learning_rate=0.05, patience=0, seed=3)


def source(rows=slice(None), scale=1.0):
    x, y = X[rows], scale * Y[rows]
    return Source(len(x), lambda indices: (x[indices], y[indices]))


def model():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
    )


def recurrent():
    keras.utils.set_random_seed(3)
    reads = Recurrent(LSTMCell(4))
    return keras.Sequential([keras.Input((3,)), keras.layers.Reshape((3, 1)), reads, keras.layers.Dense(1)])


def fit(directory, config=CONFIG, net=None, train=None, **options):
    net = net or model()
    fitted = training.fit(
        net, config, "mse", train or source(slice(28)), source(slice(28, 40)), directory, quiet=True, **options
    )
    return net, fitted


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


# Batches


@pytest.mark.parametrize(("rows", "batch_size", "steps"), [(0, 7, 6), (0, 40, 1), (0, 64, 1), (10, 4, 3), (99, 8, 5)])
def test_an_epoch_sees_each_row_once(rows, batch_size, steps):
    batches = Batches(Source(40, lambda indices: (indices,)), batch_size, seed=1, rows=rows)
    seen = np.concatenate([batches[i][0] for i in range(len(batches))])
    assert len(batches) == steps
    assert len(seen) == min(rows or 40, 40) == len(set(seen.tolist()))
    assert set(seen.tolist()) <= set(range(40))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = Batches(Source(40, lambda indices: (indices,)), 8, seed)
        for other in (5, 0, epoch):
            batches.start_epoch(other)
        return [batches[i][0].tolist() for i in (4, 2, 0, 1, 3)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_without_a_seed_the_rows_stay_in_order_and_a_share_is_spread():
    batches = Batches(Source(40, lambda indices: (indices,)), 8)
    assert [i for s in range(5) for i in batches[s][0]] == list(range(40))
    few = Batches(Source(40, lambda indices: (indices,)), 8, rows=4)
    assert few[0][0].tolist() == [0, 10, 20, 30]


# The schedule


@pytest.mark.parametrize("kind", ["constant", "cosine", "decay"])
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_the_rate_follows_its_formula(kind, warmup):
    peak, epoch_steps, epochs, decay, after = 0.02, 4, 6, 0.7, 2
    rate = training.Rate(peak, kind, epoch_steps, epochs, warmup, decay, after)
    for step in range(30):
        factor = {
            "constant": 1.0,
            "cosine": (1 + math.cos(math.pi * min(step / 24, 1))) / 2,
            "decay": decay ** max(step // epoch_steps - (after - 1), 0),
        }[kind]
        expected = peak * factor * (min(1, (step + 1) / warmup) if warmup else 1)
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_the_rate_survives_its_config():
    rate = training.Rate(0.1, "decay", 3, 4, 2, 0.5, 1)
    again = training.Rate.from_config(rate.get_config())
    assert [float(again(s)) for s in range(12)] == [float(rate(s)) for s in range(12)]


@pytest.mark.parametrize(("clip", "weight_decay"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.01)])
def test_the_optimizer_is_as_configured(clip, weight_decay):
    made = training.optimizer(dataclasses.replace(CONFIG, clip_norm=clip, weight_decay=weight_decay), 0.1)
    assert made.global_clipnorm == (clip or None)
    assert isinstance(made, keras.optimizers.AdamW) == bool(weight_decay)
    assert not made.use_ema


def test_muon_makes_the_steps_of_matrices_orthogonal(tmp_path):
    """All singular values of a step are near one, and it is of the size of Adam's; the last layer's are Adam's."""
    config = dataclasses.replace(CONFIG, optimizer="muon", epochs=1, learning_rate=0.01)
    before = [v.numpy() for v in recurrent().trainable_variables]
    net, _ = fit(tmp_path, config, recurrent(), rows=config.batch_size)
    steps = {v.path: v.numpy() - old for v, old in zip(net.trainable_variables, before, strict=True)}
    step = next(step for path, step in steps.items() if path.endswith("recurrent_kernel"))
    values = np.linalg.svd(step, compute_uv=False)
    assert values.min() > 0.5 * values.max()
    assert np.sqrt((step**2).mean()) == pytest.approx(0.4 * 0.01, rel=0.4)
    dense = next(step for step in steps.values() if step.shape == (4, 1))
    np.testing.assert_allclose(np.abs(dense), 0.01, rtol=1e-2)


def test_muon_has_one_rate_for_all_layers():
    with pytest.raises(UsageError, match="--optimizer adam"):
        dataclasses.replace(CONFIG, optimizer="muon", rates=("*=0.5",))


# Fit


@pytest.mark.parametrize(
    ("average", "optimizer", "make"), [(0.0, "adam", model), (0.8, "adam", model), (0.8, "muon", recurrent)]
)
@pytest.mark.parametrize("stop", [1, 3])
def test_resume_gives_the_history_and_weights_of_an_unbroken_run(tmp_path, average, optimizer, make, stop):
    config = dataclasses.replace(CONFIG, average=average, optimizer=optimizer, schedule="cosine", warmup_steps=3)
    whole, expected = fit(tmp_path / "whole", config, make(), rows=20)
    broken = {"rows": 20, "on_epoch": lambda history: "stopped" if len(history) == stop else ""}
    fit(tmp_path / "broken", config, make(), **broken)
    with (tmp_path / "broken" / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) == stop
    keras.utils.set_random_seed(99)
    RNG.normal()
    resumed, found = fit(tmp_path / "broken", config, make(), rows=20, resume=True)
    assert without_seconds(found.history) == without_seconds(expected.history)
    assert found.best_epoch == expected.best_epoch
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("calls", [5, 11])
def test_each_epoch_has_rows_of_its_own_and_a_resumed_run_asks_for_none_before(tmp_path, calls):
    """Two steps an epoch, and two that the pipeline looks at; the training is cut off where its data break."""
    config = dataclasses.replace(CONFIG, average=0.8, checkpoint_seconds=1e-9)
    asked, seen = [], []

    def fresh(epoch):
        asked.append(epoch)
        rows = np.random.default_rng(epoch).permutation(28)[:14]

        def gather(indices):
            seen.append(indices)
            if len(seen) == calls:
                raise OSError("the disk is gone")
            return X[rows[indices]], Y[rows[indices]]

        return Source(14, gather)

    train = dataclasses.replace(source(slice(14)), fresh=fresh)
    with pytest.raises(Exception, match="the disk is gone"):
        fit(tmp_path / "broken", config, train=train)
    done = len(checkpoint.read(tmp_path / "broken" / checkpoint.LAST)["history"])
    assert set(asked) == set(range(max(asked) + 1))
    asked.clear()
    resumed, found = fit(tmp_path / "broken", config, train=train, resume=True)
    assert set(asked) == set(range(done, 5))
    whole, expected = fit(tmp_path / "whole", config, train=train)
    assert without_seconds(found.history) == without_seconds(expected.history)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("average", [0.0, 0.8])
@pytest.mark.parametrize("calls", [3, 9, 14])
def test_resume_inside_an_epoch_gives_the_history_of_an_unbroken_run(tmp_path, average, calls):
    """A checkpoint after every step; the training is cut off where its data break."""
    config = dataclasses.replace(CONFIG, average=average, checkpoint_seconds=1e-9, schedule="cosine")
    whole, expected = fit(tmp_path / "whole", config)
    seen = []

    def gather(indices):
        seen.append(indices)
        if len(seen) > calls:
            raise OSError("the disk is gone")
        return X[indices], Y[indices]

    with pytest.raises(Exception, match="the disk is gone"):
        fit(tmp_path / "broken", config, train=Source(28, gather))
    left = checkpoint.read(tmp_path / "broken" / checkpoint.LAST)
    assert len(left["history"]) < 5
    keras.utils.set_random_seed(99)
    resumed, found = fit(tmp_path / "broken", config, resume=True)
    assert without_seconds(found.history) == without_seconds(expected.history)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert left["step"] > 0 or calls != 3


def test_resume_inside_an_epoch_of_rows_of_any_length(tmp_path):
    """Its batches come in the order in which the unbroken run sees them, whatever their lengths."""
    sizes = np.random.default_rng(5).integers(1, 30, 40)

    def gather(indices):
        seen.append(indices)
        if len(seen) > calls:
            raise OSError("the disk is gone")
        x = np.zeros((len(indices), sizes[indices].max(), 1), "float32")
        for row, i in zip(x, indices, strict=True):
            row[: sizes[i]] = X[i, 0]
        return x, Y[indices]

    def run(folder, **options):
        keras.utils.set_random_seed(3)
        layers = [keras.Input((None, 1)), keras.layers.Dense(4, "tanh"), keras.layers.GlobalAveragePooling1D()]
        net = keras.Sequential([*layers, keras.layers.Dense(1)])
        return net, training.fit(net, config, "mse", rows, rows, tmp_path / folder, quiet=True, **options)

    rows, config = Source(40, gather, lambda: sizes), dataclasses.replace(CONFIG, epochs=2, checkpoint_seconds=1e-9)
    seen, calls = [], 1000
    whole, expected = run("whole")
    assert len({sizes[indices].max() for indices in seen}) > 4
    seen, calls = [], 5
    with pytest.raises(Exception, match="the disk is gone"):
        run("broken")
    assert checkpoint.read(tmp_path / "broken" / checkpoint.LAST)["step"] > 0
    seen, calls = [], 1000
    resumed, found = run("broken", resume=True)
    assert without_seconds(found.history) == without_seconds(expected.history)
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plateau_lowers_the_rate_and_a_resumed_run_knows(tmp_path):
    config = dataclasses.replace(CONFIG, schedule="plateau", decay=0.5, learning_rate=1.0, epochs=9)
    _, whole = fit(tmp_path / "whole", config)
    rates = [row["learning_rate"] for row in whole.history]
    scores = [row["val_loss"] for row in whole.history]
    assert rates == pytest.approx([0.5 ** training.plateaus(scores[:i]) for i in range(9)])
    assert rates[-1] < 1
    fit(tmp_path / "broken", config, on_epoch=lambda history: "stopped" if len(history) == 6 else "")
    assert without_seconds(fit(tmp_path / "broken", config, resume=True)[1].history) == without_seconds(whole.history)


@pytest.mark.parametrize(("scores", "count"), [([], 0), ([3, 2, 1], 0), ([1, 2, 2, 2, 2], 2), ([1, 2, 0, 1, 1], 1)])
def test_plateaus_by_hand(scores, count):
    assert training.plateaus(scores) == count


def test_clipping_by_value(tmp_path):
    made = training.optimizer(dataclasses.replace(CONFIG, clip_norm=0.0, clip_value=0.5), 0.1)
    assert (made.clipvalue, made.global_clipnorm) == (0.5, None)
    with pytest.raises(UsageError, match="--clip-value: give --clip-norm 0 with it"):
        dataclasses.replace(CONFIG, clip_value=0.5)


def test_tensorboard_writes_its_file(tmp_path):
    fit(tmp_path, dataclasses.replace(CONFIG, epochs=1, tensorboard=True))
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


def test_resume_after_the_end_changes_nothing(tmp_path):
    net, first = fit(tmp_path)
    before = (tmp_path / "history.csv").read_bytes()
    again, second = fit(tmp_path, resume=True)
    assert second == first
    assert (tmp_path / "history.csv").read_bytes() == before
    np.testing.assert_array_equal(net.get_weights()[0], again.get_weights()[0])


def test_resume_before_the_first_checkpoint_starts_anew(tmp_path):
    assert fit(tmp_path, resume=True)[1].history[0]["epoch"] == 1


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    fit(tmp_path)
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5), keras.layers.Dense(1)])
    with pytest.raises(ElmanError, match="of another model"):
        fit(tmp_path, net=other, resume=True)


def test_history_has_a_row_per_epoch_and_the_best_weights_are_left(tmp_path):
    net, fitted = fit(tmp_path)
    assert [row["epoch"] for row in fitted.history] == [1, 2, 3, 4, 5]
    assert set(fitted.history[0]) == {"epoch", "loss", "val_loss", "learning_rate", "seconds"}
    losses = [row["val_loss"] for row in fitted.history]
    assert fitted.best_epoch == 1 + int(np.argmin(losses))
    assert fitted.reason == "all 5 epochs done"
    kept = float(np.mean((net.predict(X[28:], verbose=0) - Y[28:]) ** 2))
    assert kept == pytest.approx(min(losses), rel=1e-4)


def test_training_stops_when_the_score_gets_no_better(tmp_path):
    config = dataclasses.replace(CONFIG, epochs=50, patience=2, learning_rate=1.0)
    _, fitted = fit(tmp_path, config)
    assert len(fitted.history) == fitted.best_epoch + 2 < 50
    assert fitted.reason == "no better validation loss for 2 epochs"


def test_the_averaged_weights_are_judged_and_kept(tmp_path):
    config = dataclasses.replace(CONFIG, average=0.9, epochs=3, patience=0)
    plain, _ = fit(tmp_path / "plain", dataclasses.replace(config, average=0.0))
    net, fitted = fit(tmp_path / "average", config)
    kept = float(np.mean((net.predict(X[28:], verbose=0) - Y[28:]) ** 2))
    assert kept == pytest.approx(min(row["val_loss"] for row in fitted.history), rel=1e-4)
    assert np.abs(net.get_weights()[0] - plain.get_weights()[0]).max() > 1e-3


def test_the_average_is_exponential(tmp_path):
    """One step an epoch: a run without the average shows the raw weights, of which the average is made by hand."""
    config = dataclasses.replace(CONFIG, batch_size=28, epochs=4, patience=0, learning_rate=0.01)
    raw = []
    for epochs in range(1, 5):
        net, fitted = fit(tmp_path / f"raw{epochs}", dataclasses.replace(config, epochs=epochs))
        assert fitted.best_epoch == epochs
        raw.append(net.get_weights()[0])
    expected = raw[0]  # the average begins with the weights after the first step
    for weights in raw[1:]:
        expected = 0.7 * expected + 0.3 * weights
    net, fitted = fit(tmp_path / "average", dataclasses.replace(config, average=0.7))
    assert fitted.best_epoch == 4
    np.testing.assert_allclose(net.get_weights()[0], expected, atol=1e-5)


def test_a_loss_that_is_no_number_stops_at_once(tmp_path):
    with pytest.raises(ElmanError, match="the loss became nan in epoch 1, step 1"):
        fit(tmp_path, train=source(slice(28), scale=np.nan))
    assert not list(tmp_path.rglob("*.npz"))


def test_a_loss_that_explodes_stops_before_it_is_no_number(tmp_path):
    with pytest.raises(ElmanError, match=r"the loss became \d\.\d+e\+\d+ in epoch 1, step \d: lower the learning rate"):
        fit(tmp_path, dataclasses.replace(CONFIG, learning_rate=1e5))
    _, fitted = fit(tmp_path / "negative", train=source(slice(28), scale=-3.0))
    assert fitted.reason == "all 5 epochs done"


def test_a_loss_that_is_no_number_keeps_the_last_good_epoch(tmp_path):
    calls = []

    def gather(indices):
        calls.append(1)
        x, y = X[indices], Y[indices]
        return x, (y * np.nan if len(calls) > 10 else y)  # four steps an epoch, and what Keras peeks at

    net, fitted = fit(tmp_path, train=Source(28, gather))
    assert "the loss became nan in epoch" in fitted.reason
    assert 1 <= len(fitted.history) <= 2
    assert all(np.isfinite(w).all() for w in net.get_weights())
    kept = float(np.mean((net.predict(X[28:], verbose=0) - Y[28:]) ** 2))
    assert kept == pytest.approx(min(row["val_loss"] for row in fitted.history), rel=1e-4)


def test_a_seed_decides_everything(tmp_path):
    histories = []
    for number, seed in enumerate((1, 1, 2)):
        config = dataclasses.replace(CONFIG, seed=seed, epochs=2)
        keras.utils.set_random_seed(seed)
        net = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
        )
        histories.append(without_seconds(fit(tmp_path / str(number), config, net)[1].history))
    assert histories[0] == histories[1] != histories[2]
