"""Training on the score itself: captions that the model draws are reinforced by how far they beat the others."""

from pathlib import Path

import keras
import numpy as np

from ..core.batching import Batches
from ..core.decoding import engine_step, greedy, sample
from ..core.engines import Engine
from ..core.engines import keras as runtime
from ..core.files import write_csv
from ..core.progress import bar
from ..core.signature import Signature, Spec
from ..core.source import Source
from .codec import END, START, Codec
from .describe import sayable
from .metrics import Cider

DRAWS = 5  # captions drawn of each picture


def train(network, config, data, directory: Path, *, quiet: bool = True) -> list[dict]:
    """Self-critical training of a network on frozen features or pictures; leaves the weights best on validation in it.

        ∇ = −Σ_i (r_i − mean_{j≠i} r_j) ∇ log p(caption_i)

    over the `DRAWS` captions drawn of a picture, with r their CIDEr-D against the picture's captions, the end a word.

    Returns a row per epoch: mean reward of the draws, and CIDEr-D of greedy captions on validation.
    Reference: Rennie et al. 2017, Self-critical sequence training (arXiv:1612.00563); Luo 2020, A better variant
    (arXiv:2003.09971), the baseline.
    """
    from .model import WordLoss, over

    codec, trained = data.codec, data.parts["train"].captions()
    noise = network.quiet()
    model = over(network, codec.longest, DRAWS, features=config.frozen)
    optimizer = keras.optimizers.Adam(config.self_critical_rate, global_clipnorm=config.clip_norm or None)
    model.compile(optimizer, WordLoss(reduction="sum_over_batch_size"), jit_compile=False)
    engine, scorer = _engine(network, config.frozen), Cider(trained, ends=True)
    check = Cider(data.parts["validation"].captions(), trained)
    best, history = _kept(network), []
    score = _validate(engine, codec, data, check)
    history.append({"epoch": 0, "reward": float("nan"), "validation_cider": score})
    batches = Batches(_pictures(data.train, len(trained)), config.batch_size, config.seed)
    with bar("self-critical", config.self_critical_epochs * len(batches), quiet=quiet) as update:
        for epoch in range(1, config.self_critical_epochs + 1):
            batches.start_epoch(epoch)
            rewards = []
            for step in range(len(batches)):
                inputs, indices = batches[step]
                drawn = _draw(engine, codec, inputs, (config.seed, epoch, step))
                reward = _rewards(scorer, codec, indices, drawn)
                rewards.append(reward.mean())
                model.train_on_batch(*_row(inputs, drawn, reward, codec))
                update(description=f"self-critical: reward {np.mean(rewards[-20:]):.3f}")
            score = _validate(engine, codec, data, check)
            history.append({"epoch": epoch, "reward": float(np.mean(rewards)), "validation_cider": score})
            write_csv(directory / "self_critical.csv", history)
            if score >= max(row["validation_cider"] for row in history):
                best = _kept(network)
    for variable, value in zip(network.weights, best, strict=True):
        variable.assign(value)
    network.disturb(noise)
    return history


def _rewards(scorer: Cider, codec: Codec, indices, drawn) -> np.ndarray:
    """(pictures, draws) CIDEr-D."""
    pairs = zip(indices, drawn, strict=True)
    return np.array([[scorer.score(i, codec.decode(h.tokens), h.ended) for h in group] for i, group in pairs])


def _kept(network) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(v)) for v in network.weights]


def _pictures(rows: Source, count: int) -> Source:
    """A row a picture, with its place as the target."""
    each = rows.count // count  # rows of a picture: groups of its captions

    def gather(indices):
        inputs, *_ = rows.gather(np.asarray(indices) * each)
        inputs.pop("captions")
        return inputs, np.asarray(indices)

    return Source(count, gather)


def _engine(network, features: bool) -> Engine:
    """An engine of two signatures: `first`, what a picture gives, and `step`."""
    o = network.options
    side = o["image_size"]
    shape = network.features if features else (side, side, 3)
    name = "features" if features else "image"
    states = [Spec(f"state_{i}", (None, o["units"])) for i in range(network.state_count)]
    places = network.features[0]
    sizes = {"values": o["memory_units"], "keys": o["attention_units"]} if network.attends else {}
    memory = [Spec(f"memory_{name}", (None, places, size)) for name, size in sizes.items()]
    feeds = {f"next_{i}": state.name for i, state in enumerate(states)}
    signatures = [
        Signature("first", (Spec(name, (None, *shape)),), {}, {}, network.encode),
        Signature("step", (Spec("tokens", (None,), "int32"), *states, *memory), {"logits": ""}, feeds, network.step),
    ]
    named = {s.name: s for s in signatures}
    return Engine("keras", named, runtime.load(named))


def _first(engine, inputs) -> tuple:
    """The step over some pictures and the states before the first word."""
    seen = engine("first", **{name: array.astype(np.float32) for name, array in inputs.items()})
    states = {k.replace("first_", "state_"): v for k, v in seen.items() if k.startswith("first_")}
    memory = {f"memory_{k}": v for k, v in seen.items() if not k.startswith("first_")}
    return engine_step(engine, constants=memory), states


def _draw(engine, codec: Codec, inputs, seed) -> list[list]:
    """`DRAWS` captions of each picture as hypotheses."""
    step, states = _first(engine, inputs)
    start = np.full(len(states["state_0"]), START)
    only = sayable(codec.size)
    found = sample(
        step, states, start, end=END, max_length=codec.longest, n=DRAWS, seed=seed, mask=lambda tokens, logits: only
    )
    return found


def _row(inputs, drawn, reward, codec: Codec) -> tuple:
    """What `train_on_batch` takes: the captions drawn as input and target, their advantage as the weight."""
    captions = np.zeros((len(drawn), DRAWS, codec.longest + 1), np.int32)
    for row, group in zip(captions, drawn, strict=True):
        for line, hypothesis in zip(row, group, strict=True):
            said = [START, *hypothesis.tokens, *[END] * hypothesis.ended]
            line[: len(said)] = said
    others = (reward.sum(axis=1, keepdims=True) - reward) / (DRAWS - 1)
    targets = captions[:, :, 1:]
    weights = (targets > 0) * (reward - others)[..., None]
    return {**inputs, "captions": captions}, targets, weights.astype(np.float32)


def _validate(engine, codec: Codec, data, scorer: Cider) -> float:
    """Mean CIDEr-D of greedy captions of the validation pictures."""
    count = len(data.parts["validation"])
    rows, found = _pictures(data.validation, count), []
    for begin in range(0, count, 32):
        inputs, _ = rows.gather(np.arange(begin, min(begin + 32, count)))
        step, states = _first(engine, inputs)
        start = np.full(len(states["state_0"]), START)
        found += [h[0].tokens for h in greedy(step, states, start, end=END, max_length=codec.longest)]
    return float(scorer.scores([codec.decode(tokens) for tokens in found]).mean())
