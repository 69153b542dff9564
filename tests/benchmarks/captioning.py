"""Decoders of captions on the same frozen features with the same budget: `python -m tests.benchmarks.captioning`.

    python -m tests.benchmarks.captioning --data FOLDER --weights squeezenet1.1_notop.h5 --seeds 0 1 2 --out rows.jsonl

Attention (the preset `flickr8k`), the same without attention (NIC), the same begun with a run on scenes (--start), and
a Transformer decoder in the style of Keras's example of image captioning (Nain 2021): a dense layer and one block of
self-attention over the places, learnt positions, one decoder block with two heads, dropout .3 and .5. All take the best
epoch by validation loss, search with a beam of 3, and are scored on the test split. A row per training, then the table.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops

from elman.apps.captioning import APP, data, describe, evaluate, features, model
from elman.apps.captioning.codec import END, START
from elman.apps.captioning.config import PRESETS
from elman.apps.core import training, transfer
from elman.apps.core.decoding import beam_search
from elman.apps.core.engines import Engine
from elman.apps.core.engines import keras as runtime

WIDTH = 192


class Transformer(keras.layers.Layer):
    """Features (batch, places, features) and captions (batch, captions, longest + 1) to logits of every word."""

    def __init__(self, vocabulary, longest, width=WIDTH, heads=2, inner=384):
        super().__init__()
        layers = keras.layers
        self.vocabulary, self.longest = vocabulary, longest
        self.seen = layers.Dense(width, activation="relu")
        self.among = layers.MultiHeadAttention(1, width, dropout=0.0)
        self.words = layers.Embedding(vocabulary, width)
        self.places = layers.Embedding(longest, width)
        self.past = layers.MultiHeadAttention(heads, width, dropout=0.1)
        self.picture = layers.MultiHeadAttention(heads, width, dropout=0.1)
        self.up, self.down = layers.Dense(inner, activation="relu"), layers.Dense(width)
        self.logits = layers.Dense(vocabulary)
        self.norms = [layers.LayerNormalization() for _ in range(6)]
        self.drops = [layers.Dropout(0.3), layers.Dropout(0.5)]

    def memory(self, grid, training=False):
        x = self.seen(self.norms[0](grid))
        return self.norms[1](x + self.among(x, x, training=training))

    def decode(self, memory, tokens, training=False):
        x = self.norms[5](self.words(tokens) + self.places(ops.arange(self.longest)))
        x = self.norms[2](x + self.past(x, x, use_causal_mask=True, training=training))
        x = self.norms[3](x + self.picture(x, memory, training=training))
        wide = self.drops[0](self.down(self.drops[0](self.up(x), training=training)), training=training)
        return self.logits(self.drops[1](self.norms[4](x + wide), training=training))

    def call(self, inputs, training=False):
        tokens = inputs["captions"][:, :, :-1]
        group = tokens.shape[1]
        memory = ops.repeat(self.memory(inputs["features"], training), group, axis=0)
        logits = self.decode(memory, ops.reshape(tokens, (-1, self.longest)), training)
        return ops.reshape(logits, (-1, group, self.longest, self.vocabulary))

    def compute_output_spec(self, inputs, training=False):
        return keras.KerasTensor((None, inputs["captions"].shape[1], self.longest, self.vocabulary))


def transformer(config, codec, shape):
    """The Transformer as a model that `training.fit` takes."""
    inputs = {
        "features": keras.Input(shape, name="features"),
        "captions": keras.Input((config.captions, codec.longest + 1), dtype="int32", name="captions"),
    }
    layer = Transformer(codec.size, codec.longest)
    rows = {
        "features": np.zeros((1, *shape), "f4"),
        "captions": np.zeros((1, config.captions, codec.longest + 1), "i4"),
    }
    layer(rows)
    return keras.Model(inputs, layer(inputs)), layer


def transformer_captions(layer, config, codec, grid) -> list[str]:
    """Captions by the same beam search; every step runs the whole prefix again."""
    import tensorflow as tf

    decode = tf.function(lambda memory, tokens: layer.decode(memory, tokens), reduce_retracing=True)
    found = []
    for begin in range(0, len(grid), describe.BATCH):
        memory = ops.convert_to_numpy(layer.memory(grid[begin : begin + describe.BATCH]))

        def step(tokens, states):
            prefix, length = states["prefix"].copy(), int(states["length"][0])
            prefix[:, length] = tokens
            logits = decode(states["memory"], prefix)[:, length].numpy()
            return logits, {**states, "prefix": prefix, "length": states["length"] + 1}

        states = {"memory": memory, "prefix": np.zeros((len(memory), codec.longest), np.int32),
                  "length": np.zeros(len(memory), int)}  # fmt: skip
        search = evaluate.search_of(config, codec)
        best = beam_search(
            step, states, np.full(len(memory), START), end=END, max_length=search.longest, min_length=1,
            beam=search.beam, length_penalty="wu", alpha=search.alpha, no_repeat_ngram=search.no_repeat,
            mask=lambda tokens, logits: describe.sayable(codec.size),
        )  # fmt: skip
        found += [codec.decode(h[0].tokens) for h in best]
    return found


def one(kind: str, config, split: str) -> dict:
    """Trains one decoder and scores it on a split."""
    loaded = data.load(config)
    keras.utils.set_random_seed(config.seed)
    began = time.perf_counter()
    if kind == "transformer":
        grid = features.Features(config, loaded.parts[split])(range(len(loaded.parts[split])))
        built, layer = transformer(config, loaded.codec, grid.shape[1:])
    else:
        built = model.build(config, loaded.codec)
    with tempfile.TemporaryDirectory() as scratch:
        transfer.begin(APP, built, config, loaded.codec, Path(scratch))
        fitted = training.fit(
            built, config, model.WordLoss(config.label_smoothing), loaded.train, loaded.validation, Path(scratch),
            quiet=True,
        )  # fmt: skip
        if kind != "transformer":
            model.refine(built, config, loaded, Path(scratch))
    seconds = time.perf_counter() - began
    if kind == "transformer":
        captions, parameters = transformer_captions(layer, config, loaded.codec, grid), built.count_params()
    else:
        signatures = {s.name: s for s in model.signatures(built, config, loaded.codec)}
        engine = Engine("keras", signatures, runtime.load(signatures))
        captions = [c.text for c in evaluate.caption_all(engine, config, loaded.codec, loaded.parts[split])]
        network = built.get_layer("network")
        parameters = built.count_params() - network.encoder.count_params()
    scores = evaluate.scores(loaded.parts[split], captions)
    best = min(row["val_loss"] for row in fitted.history)
    return {"decoder": kind, "seed": config.seed, "split": split, "seconds": round(seconds), "parameters": parameters,
            "epochs": len(fitted.history), "validation_loss": round(best, 4), **scores}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--preset", default="flickr8k")
    parser.add_argument("--start", default="", help="a run on scenes with the same encoder")
    parser.add_argument("--decoders", nargs="+", default=["attention", "nic", "transformer"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", default="test")
    parser.add_argument("--cache", default="")
    parser.add_argument("--out", type=Path, default=Path("captioning-benchmark.jsonl"))
    options = parser.parse_args()
    base = dataclasses.replace(
        PRESETS[options.preset].config, data=options.data, encoder_weights=options.weights, cache=options.cache
    )
    changes = {"nic": {"attention": False, "coverage": 0.0}, "pretrained": {"init_from": options.start}}
    for kind in options.decoders:
        for seed in options.seeds:
            config = dataclasses.replace(base, seed=seed, **changes.get(kind, {}))
            row = one(kind, config, options.split)
            print(json.dumps(row), flush=True)
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    print("| decoder | parameters | CIDEr-D | BLEU-4 | seconds |\n|---|---|---|---|---|")
    for kind in dict.fromkeys(row["decoder"] for row in rows):
        some = [row for row in rows if row["decoder"] == kind and row["split"] == options.split]
        figures = {name: [row[name] for row in some] for name in ("cider", "bleu4", "seconds")}
        cells = [f"{np.mean(v):.3f} ({min(v):.3f} to {max(v):.3f})" for v in (figures["cider"], figures["bleu4"])]
        print(f"| {kind} | {some[0]['parameters']:,} | {' | '.join(cells)} | {np.mean(figures['seconds']):.0f} |")


if __name__ == "__main__":
    main()
