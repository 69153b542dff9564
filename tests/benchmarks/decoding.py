"""What decoding costs: `python -m tests.benchmarks.decoding` prints the table; one thread each.

Beam: the bookkeeping of a beam of 5 over 10,000 words, against the LiteRT step of a 256-unit LSTM with that output
layer and a log-softmax, in turn, so that both see the same machine. CTC: a prefix beam of 25 with a character model of
order 6, on frames as a trained network gives them, beside Keras's and TensorFlow's decoders. Times are of the
process's CPU, which other work on the machine disturbs less, or with `--wall` those of the clock on the wall.
"""

import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import ops

from elman.apps.core.decoding import LanguageModel, PrefixBeamSearch, beam_search, best_path
from elman.layers.decoding import beam_search as beam_search_in_graph

WORDS, UNITS, BEAM, STEPS = 10_000, 256, 5, 30
clock = time.perf_counter if "--wall" in sys.argv else time.process_time
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
TEXT = """the sun had not yet risen and the sea was not to be told from the sky except that the sea was slightly creased
as if a cloth had wrinkles in it gradually as the sky whitened a dark line lay on the horizon dividing the sea from the
sky and the grey cloth became barred with thick strokes moving one after another beneath the surface following each
other pursuing each other perpetually as they neared the shore each bar rose heaped itself broke and swept a thin veil
of white water across the sand"""


class Step(keras.layers.Layer):
    """Embedding, LSTM cell, output layer, log-softmax: one step."""

    def __init__(self):
        super().__init__()
        self.embedding, self.cell = keras.layers.Embedding(WORDS, UNITS), keras.layers.LSTMCell(UNITS)
        self.output_layer = keras.layers.Dense(WORDS)

    def call(self, tokens, h, c):
        output, (h, c) = self.cell(self.embedding(tokens), [h, c])
        return ops.log_softmax(4.0 * self.output_layer(output)), h, c


def litert_step(layer, rows):
    """The layer as a LiteRT step over `rows` rows, on one thread, and the list of seconds that its calls took."""
    specs = [tf.TensorSpec((rows,), tf.int32, name="tokens")]
    specs += [tf.TensorSpec((rows, UNITS), tf.float32, name=name) for name in "hc"]
    archive = keras.export.ExportArchive()
    archive.track(layer)
    archive.add_endpoint(
        "step", lambda tokens, h, c: dict(zip(("logits", "h", "c"), layer(tokens, h, c), strict=True)), specs
    )
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        model = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["step"]).convert()
    runner = Interpreter(model_content=model, num_threads=1).get_signature_runner("step")
    seconds = []

    def step(tokens, states):
        begin = clock()
        outputs = runner(tokens=tokens.astype(np.int32), **states)
        seconds.append(clock() - begin)
        return outputs["logits"], {"h": outputs["h"], "c": outputs["c"]}

    return step, seconds


def bookkeeping(layer, repeats=9, **options):
    """Medians: seconds of a LiteRT step, seconds of the beam around it, the share of the one in the other."""
    step, inside = litert_step(layer, BEAM)
    rng = np.random.default_rng(0)
    measured = []
    for _ in range(repeats + 1):
        states = {name: rng.normal(size=(1, UNITS)).astype(np.float32) for name in "hc"}
        inside.clear()
        begin = clock()
        beam_search(step, states, 1, **options)
        total = clock() - begin
        measured.append((sum(inside) / STEPS, (total - sum(inside)) / STEPS, total / sum(inside) - 1))
    return np.median(measured[1:], axis=0)


def beam_table(layer):
    rng = np.random.default_rng(0)
    options = {"end": 0, "max_length": STEPS, "beam": BEAM, "early_stopping": False, "log_probs": True}
    for name, more in (("", {}), (f", minimum length {STEPS}", {"min_length": STEPS})):
        step_time, book, share = bookkeeping(layer, **options, **more)
        print(f"| LiteRT step, {UNITS} units, {WORDS} words, {BEAM} rows | {step_time * 1e6:.0f} µs a step |")
        print(f"| NumPy beam search{name}, bookkeeping alone | {book * 1e6:.0f} µs a step = {share:.0%} of the step |")
    for jit in (False, True):

        def decode(h, c, start):
            def step(tokens, states):
                logits, h, c = layer(tokens, states["h"], states["c"])
                return logits, {"h": h, "c": c}

            return beam_search_in_graph(step, {"h": h, "c": c}, start, **options)["tokens"]

        run = tf.function(decode, jit_compile=jit, autograph=False)
        inputs = [tf.constant(rng.normal(size=(1, UNITS)), tf.float32) for _ in range(2)] + [tf.constant([1])]
        book = median_time(lambda: run(*inputs).numpy(), 5) / STEPS  # noqa: B023
        print(f"| in-graph beam search{', XLA' if jit else ''}, step and bookkeeping | {book * 1e6:.0f} µs a step |")


def frames(seconds, seed=0):
    """Frames at 50 a second of TEXT over and over, about four a character, and what they spell."""
    rng = np.random.default_rng(seed)
    text = " ".join(TEXT.split())
    rows, spelled = [], ""
    while len(rows) < seconds * 50:
        character = text[len(spelled) % len(text)]
        spelled += character
        rows += [0] * rng.integers(1, 5) + [1 + LETTERS.index(character)] * rng.integers(1, 3)
    logits = rng.normal(size=(len(rows), len(LETTERS) + 1)) * 1.5
    logits[np.arange(len(rows)), rows] += 7
    return logits.astype(np.float32), spelled


def median_time(call, repeats):
    """Median seconds after one call to warm up."""
    times = []
    for _ in range(repeats + 1):
        begin = clock()
        call()
        times.append(clock() - begin)
    return float(np.median(times[1:]))


def errors(found, expected):
    """Edit distance over the length, in percent."""
    row = np.arange(len(expected) + 1)
    for place, character in enumerate(found, 1):
        cost = row[:-1] + np.array([character != other for other in expected])
        new = np.minimum(np.concatenate([[place], cost]), row + 1)
        row = np.minimum.accumulate(new - np.arange(new.size)) + np.arange(new.size)
    return 100 * row[-1] / len(expected)


def ctc_table(seconds=20, repeats=5):
    logits, spelled = frames(seconds)
    model = LanguageModel.train([" ".join(TEXT.split())], 6, LETTERS)
    decoders = {"best path": lambda: best_path(logits[None], LETTERS)[0].text}
    searches = {
        "prefix beam of 25": PrefixBeamSearch(LETTERS),
        "prefix beam of 25, language model": PrefixBeamSearch(LETTERS, language_model=model),
        "prefix beam of 25, language model, classes above exp −7": PrefixBeamSearch(
            LETTERS, language_model=model, threshold=-7.0
        ),
        "prefix beam of 25, language model, lexicon, hotwords": PrefixBeamSearch(
            LETTERS, language_model=model, lexicon=TEXT.split(), hotwords=["horizon", "thick strokes"]
        ),
    }
    for name, search in searches.items():
        decoders[name] = lambda search=search: search(logits[None])[0][0].text

    def read(classes):
        return "".join(LETTERS[index - 1] for index in np.asarray(classes).ravel() if index > 0)

    length = np.array([len(logits)])
    for strategy in ("greedy", "beam_search"):
        decoders[f"keras.ops.ctc_decode, {strategy}" + (" of 25" if strategy != "greedy" else "")] = (
            lambda strategy=strategy: read(
                ops.ctc_decode(logits[None], length, strategy=strategy, beam_width=25, mask_index=0)[0][0]
            )
        )
    shifted = np.roll(logits, -1, axis=1)[:, None]  # TensorFlow's blank is the last class

    def tensorflow_beam():
        (best,), _ = tf.nn.ctc_beam_search_decoder(shifted, length, beam_width=25, top_paths=1)
        return read(best.values + 1)

    decoders["tf.nn.ctc_beam_search_decoder of 25"] = tensorflow_beam
    for name, decode in decoders.items():
        taken = median_time(decode, repeats)
        speed = len(logits) / 50 / taken
        print(
            f"| {name} | {taken / len(logits) * 1e6:.0f} µs a frame = {speed:.0f} × real time, "
            f"{errors(decode(), spelled):.1f} % wrong |"
        )


def main():
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    layer = Step()
    layer(np.zeros(1, np.int32), np.zeros((1, UNITS), np.float32), np.zeros((1, UNITS), np.float32))
    print("| what | time |\n|---|---|")
    beam_table(layer)
    ctc_table()


if __name__ == "__main__":
    main()
