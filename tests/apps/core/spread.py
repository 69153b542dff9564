"""Trains one small model on one device and on several, and writes what came out; run by `test_distribution`.

`python -m tests.apps.core.spread OUT.json [COORDINATOR PROCESSES PROCESS]` with KERAS_BACKEND set.
"""

import json
import sys
from pathlib import Path

from elman.apps.core import devices
from elman.apps.core.config import TrainingConfig

REPLICAS = {"tensorflow": 2, "jax": 8}
CASES = {
    "even": {},
    "uneven": {"batch_size": 13},
    "average": {"average": 0.9},
    "layerwise": {"rates": ("*dense=0.5",), "weight_decay": 0.1},
    "mixed_bfloat16": {"precision": "mixed_bfloat16"},
}


def train(directory: Path, changes: dict, device: str, replicas: int) -> dict:
    """The history of a training and its weights; sequences of different length, clipped gradients, masked steps."""
    import dataclasses

    import keras
    import numpy as np

    from elman.apps.core import distribution, precision, training
    from elman.apps.core.source import Source
    from elman.layers import LSTMCell, Recurrent

    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 7, 3)).astype("float32")
    y = np.cumsum(x.sum(-1, keepdims=True), axis=1)
    weights = (np.arange(7) < rng.integers(1, 8, (48, 1))).astype("float32")
    config = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.01, patience=0, clip_norm=0.1, seed=3)
    config = dataclasses.replace(config, **changes)

    class Masked(keras.losses.Loss):
        def __init__(self):
            super().__init__(name="masked", reduction="mean_with_sample_weight")

        def call(self, y_true, y_pred):
            return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    def source(part):
        return Source(len(x[part]), lambda rows: (x[part][rows], y[part][rows], weights[part][rows]))

    with distribution.spread(device, replicas), precision.policy(config.precision):
        keras.utils.set_random_seed(1)
        sequence = keras.Input((7, 3))
        hidden = Recurrent(LSTMCell(4), return_sequences=True)(sequence)
        model = keras.Model(sequence, keras.layers.Dense(1, name="dense")(hidden))
        rows = source(slice(0, 32)), source(slice(32, 48))
        fitted = training.fit(model, config, Masked(), *rows, directory, quiet=True)
        found = distribution.weights(model)
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history]
    return {"history": history, "weights": [value.tolist() for value in found]}


def main(out: str, *cluster: str) -> None:
    """Everything in one process, or one case in one of several."""
    place = Path(out)
    if cluster:
        from elman.apps.core import distribution

        placement = distribution.join(devices.Placement("", 1, cluster[0], int(cluster[1]), int(cluster[2])))
        found = train(place.parent / "shared", {}, "cpu", 0)
        distribution.leave()
        place.with_suffix(f".{placement.process}").write_text(json.dumps(found))
        return
    backend = devices.backend_name()
    count = REPLICAS[backend]
    devices.split_cpu(count)
    results = {
        name: [train(place.parent / f"{name}{n}", changes, "cpu", n) for n in (1, count)]
        for name, changes in CASES.items()
        if backend == "tensorflow" or name in ("even", "uneven")
    }
    place.write_text(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
