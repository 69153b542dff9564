"""The likelihood of whole test pieces on any engine, the music that the model makes, and the baselines of both."""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.progress import track
from . import generate, statistics
from .baselines import ORDERS, Markov
from .codec import Codec
from .data import Data, Encoded
from .score import Piece

INTENDED_USE = (
    "Sketches, accompaniment and play: continuing a few bars, inventing pieces, harmonising a melody in the style of "
    "the training data. A person listens and chooses."
)
LIMITS = (
    "The model knows the style that it was trained on and a grid of steps; long forms (a returning theme, a plan of "
    "keys) are beyond it. Pieces that it makes may resemble training pieces: `copies` in the metrics says how often "
    "four bars were the same, note for note in any key, at temperature 1. Rights in the training data may reach them."
)
SETS, TUNES = 4, 32  # sets of pieces that are made, and pieces in each, to compare their statistics
LONGEST_TUNE = 256  # steps of each at most
EVENTS_OF_A_TUNE = 400


@dataclass(frozen=True)
class Evaluation:
    """Scores of the model and of the baselines, and some of the music made, to draw."""

    model: dict
    baselines: dict
    notes: tuple[str, ...]
    histograms: dict[str, dict[str, np.ndarray]]  # of test, model, markov-2
    step_scores: list[np.ndarray]
    tune: Piece

    def to_json(self) -> dict:
        return {"model": self.model, "baselines": self.baselines, "notes": list(self.notes)}


def evaluate(engine, config, data: Data, *, quiet: bool = True) -> Evaluation:
    """Scores every step of every test piece, and compares music made at temperature 1 with the test pieces."""
    test, codec = data.parts["test"], data.codec
    if not test:
        raise DataError(f"{config.data}: no test piece; every piece was seen in training, or none could be used")
    wrap = functools.partial(track, description="likelihood", quiet=quiet)
    nats, hits = generate.step_scores(engine, codec, test, wrap)
    model = {**_likelihood(nats), **_accuracy(codec, hits)}
    made = invent(engine, codec, test, config.seed)
    bar, training = round(codec.bar_beats * codec.steps_per_beat), data.parts["train"]
    known = [statistics.roll(codec, e.piece) for e in training]
    cut = None if codec.kind == "performance" else made.shape[1]  # a long piece repeats more: like with like
    histograms = {"test": statistics.statistics([statistics.roll(codec, e.piece)[:cut] for e in test], bar)}
    model |= _music("model", _rolls(codec, made), histograms, bar, known)
    baselines = {}
    if training:
        real = statistics.statistics([table[:cut] for table in known], bar)
        model["distance_training"] = statistics.distances(real, histograms["test"])["mean"]
    for name in track(ORDERS, "baselines", quiet=quiet) if training else ():
        chain = Markov(codec, ORDERS[name], [e.sequence for e in training])
        baselines[name] = _likelihood([chain.step_scores(e.sequence) for e in test])
        if name == "markov-2":
            rng = np.random.default_rng(config.seed)
            drawn = _rolls(codec, [chain.draw(made.shape[1], rng) for _ in made])
            baselines[name] |= _music(name, drawn, histograms, bar, known)
    tune = codec.decode(made[0], name="made")
    return Evaluation(model, baselines, _notes(codec, model, baselines, nats), histograms, nats, tune)


def _likelihood(nats: list[np.ndarray]) -> dict:
    """The protocols: all steps of all pieces; and without each piece's first."""
    every, later = np.concatenate(nats), np.concatenate([n[1:] for n in nats])
    return {"nll": float(every.mean()), "nll_after_first": float(later.mean()) if len(later) else float("nan")}


def _accuracy(codec: Codec, hits: dict[str, float]) -> dict:
    total = sum(hits.values())
    return {"accuracy": hits["right"] / total if total else 0.0}


def invent(engine, codec: Codec, test: list[Encoded], seed: int) -> np.ndarray:
    """Pieces from nothing at temperature 1, as long as test pieces are; conditions are those of test pieces."""
    typical = int(np.median([len(e.sequence) for e in test]))
    steps = min(typical, EVENTS_OF_A_TUNE if codec.kind == "performance" else LONGEST_TUNE)
    rng, count = np.random.default_rng(seed), SETS * TUNES
    chosen = [test[i] for i in rng.permutation(max(len(test), count))[:count] % len(test)]
    start = Piece("", test[0].piece.notes[:0], 0.0, metre=((0.0, codec.bar_beats),))
    place = np.broadcast_to(codec.places(start, steps), (count, steps))
    condition = np.stack([np.resize(e.condition, (steps, e.condition.shape[1])) for e in chosen])
    drawer = generate.Drawer(engine, codec, generate.Rules())
    return generate.invent(engine, codec, drawer, place, condition, seed)


def _rolls(codec: Codec, made) -> list[np.ndarray]:
    return [statistics.roll(codec, codec.decode(sequence)) for sequence in made]


def _music(name: str, rolls: list[np.ndarray], histograms: dict, bar: int, known: list[np.ndarray]) -> dict:
    """Distances of what was made to the test set's histograms, the mean over the sets and the spread of that mean.

    The histograms of all sets together are added to `histograms` under `name`.
    """
    histograms[name] = statistics.statistics(rolls, bar)
    sets = [statistics.statistics(rolls[i::SETS], bar) for i in range(SETS)]
    found = [statistics.distances(one, histograms["test"]) for one in sets]
    scores = {("distance" if n == "mean" else f"distance_{n}"): float(np.mean([f[n] for f in found])) for n in found[0]}
    scores["distance_spread"] = float(np.std([f["mean"] for f in found], ddof=1))
    if known:
        scores["copies"] = statistics.copies(rolls, known, bar)
    return scores


def _notes(codec: Codec, model: dict, baselines: dict, nats) -> tuple[str, ...]:
    """What the scores are, and plainly whether the baselines are beaten."""
    unit = "an event" if codec.kind == "performance" else f"a step of {codec.step:g} beats"
    parts = {"frames": f"all {88} keys", "voices": f"{codec.voices} voices", "performance": "the event"}[codec.kind]
    notes = [
        f"nll: nats for {unit} ({parts}), the mean over all {sum(map(len, nats)):,} steps of {len(nats)} whole test "
        "pieces, the first of each included (given silence and a zero state); nll_after_first leaves it out"
    ]
    if codec.conditions:
        notes.append(
            f"the model is told {' and '.join(codec.conditions)} of each step: not comparable with others' nll"
        )
    if baselines:
        best = min(baselines, key=lambda name: baselines[name]["nll"])
        verdict = "better than" if model["nll"] < baselines[best]["nll"] else "NOT better than"
        notes.append(f"nll {model['nll']:.3f}: {verdict} the best baseline ({best}, {baselines[best]['nll']:.3f})")
        theirs = baselines["markov-2"]
        verdict = "nearer to" if model["distance"] < theirs["distance"] else "NOT nearer to"
        ours, chain = (f"{m['distance']:.3f} ± {m['distance_spread']:.3f}" for m in (model, theirs))
        notes.append(
            f"statistics of {SETS} × {TUNES} tunes made: {verdict} the test set's (distance {ours}) than those of "
            f"an order-2 Markov chain ({chain}; real training pieces: {model['distance_training']:.3f}); "
            f"{100 * model['copies']:.2f} % of the four-bar passages are copies from training (Markov: "
            f"{100 * theirs['copies']:.2f} %)"
        )
    return tuple(notes)


def _heads(pieces: list[Encoded], count: int, steps: int) -> list[Encoded]:
    """The first steps of some pieces."""
    some = [pieces[i] for i in np.unique(np.linspace(0, len(pieces) - 1, min(count, len(pieces))).astype(int))]
    return [
        dataclasses.replace(e, sequence=e.sequence[:steps], place=e.place[:steps], condition=e.condition[:steps])
        for e in some
    ]


def score(engine, config, data: Data) -> tuple[str, float]:
    """Nats a step on the first 48 steps of up to 12 test pieces: what quantisation must not lose."""
    part = data.parts["test"] or data.parts["train"]
    return "nll", _likelihood(generate.step_scores(engine, data.codec, _heads(part, 12, 48))[0])["nll"]


def samples(engine, config, data: Data) -> dict[str, list[dict]]:
    """Training inputs of every signature, in several batch sizes; states come from running along real pieces."""
    recorded: dict[str, list[dict]] = {name: [] for name in engine.signatures}

    def recording(signature, **arrays):
        recorded[signature].append({k: v.copy() for k, v in arrays.items()})
        return engine(signature, **arrays)

    recording.signatures = engine.signatures
    part = data.parts["train"]
    for pieces in (_heads(part, 1, 40), _heads(part, 8, 40)):
        generate.step_scores(recording, data.codec, pieces)
    for count, longest in ((4, 24), (2, 7), (3, 40)):
        rows = []
        pieces = _heads(part, count, longest)
        steps = min(len(e.sequence) for e in pieces)
        for e in _heads(pieces, count, steps):
            before = np.concatenate([data.codec.blank[None], e.sequence[:-1]])
            rows.append(generate.told(data.codec, before, e.place, e.condition))
        recorded["prime"].append({name: np.stack([row[name] for row in rows]) for name in rows[0]})
    return {name: calls[:: max(1, len(calls) // 60)] for name, calls in recorded.items()}


def calibrate(engine, config, data: Data) -> Codec:
    """Nothing is calibrated after training."""
    return data.codec


def plots(evaluation: Evaluation, directory: Path) -> None:
    """Histograms against the test set's, the scores over the pieces' steps, and a tune."""
    from .plots import plot_histograms, plot_roll, plot_scores

    plot_histograms(evaluation.histograms, directory / "statistics.png")
    plot_scores(evaluation.step_scores, directory / "nll.png")
    plot_roll(evaluation.tune, directory / "tune.png")
