"""What captions are worth: n-gram metrics, exact meaning on scenes, calibration, and the baselines beside."""

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError, ElmanError
from ..core.progress import track
from . import baselines, calibration, describe, meaning, metrics
from .codec import Codec
from .data import Album, Data
from .describe import Caption, Search

INTENDED_USE = (
    "Drafts of captions for pictures like those of training. Read the confidence; let a person check what is published."
)
LIMITS = (
    "It knows the words and things of its training data, and describes anything else with them. It was not made to "
    "identify people, and repeats the habits of those who wrote the training captions."
)
SHOWN = 8  # test pictures whose attention is drawn
SCORED = 100  # test pictures on which quantised models are compared
NEIGHBOURS = 20
UNSURE = 0.1  # of the validation captions: less sure ones are marked


@dataclass(frozen=True)
class Evaluation:
    """Scores of the model and of the baselines, and some captions to draw."""

    model: dict
    baselines: dict
    notes: tuple[str, ...]
    shown: list[tuple[np.ndarray, Caption]]
    codec: Codec
    reliability: tuple[np.ndarray, np.ndarray]

    def to_json(self) -> dict:
        return {"model": self.model, "baselines": self.baselines, "notes": list(self.notes)}


def search_of(config, codec: Codec) -> Search:
    """The search that a configuration asks for."""
    return Search(config.beam, 1, config.length_penalty, 3 if config.data != "scenes" else 0, codec.longest)


def caption_all(engine, config, codec: Codec, album: Album, quiet: bool = True) -> list[Caption]:
    """The best caption of every picture; an empty one where the rules leave none."""
    wrap = functools.partial(track, description="captions", quiet=quiet)
    found = describe.describe_album(engine, codec, album, search_of(config, codec), wrap)
    return [best[0] for best in found]


def scores(album: Album, captions: Sequence[str]) -> dict[str, float]:
    """All metrics of one caption of every picture; on scenes the shares whose meaning is right come first."""
    found = metrics.all_metrics(captions, album.captions())
    if album.pictures[0].scene is None:
        return found
    checks = [meaning.check(c, p.scene) for c, p in zip(captions, album.pictures, strict=True)]
    parts = ("exact", "objects", "attributes", "counts", "relations")
    shares = {name: [check[name] for check in checks if name in check] for name in parts}
    return {**{name: float(np.mean(s)) for name, s in shares.items() if s}, **found}


def rightness(album: Album, captions: Sequence[str]) -> np.ndarray:
    """(pictures,) 0 to 1: exact meaning on scenes; else CIDEr-D as a share of what a person's caption has, at most 1.

    A person's caption is scored against the other captions of its picture; its mean over the pictures is the measure.
    """
    if album.pictures[0].scene is not None:
        return np.array(
            [meaning.check(c, p.scene)["exact"] for c, p in zip(captions, album.pictures, strict=True)], float
        )
    references = album.captions()
    several = [i for i, group in enumerate(references) if len(group) > 1]
    if not several:
        return np.clip(metrics.Cider(references).scores(captions) / 10, 0, 1)
    rest = metrics.Cider([references[i][1:] for i in several], references)
    human = float(np.mean(rest.scores([references[i][0] for i in several])))
    return np.clip(metrics.Cider(references).scores(captions) / max(human, 1e-9), 0, 1)


def calibrate(engine, config, data: Data) -> Codec:
    """The codec with the confidence fitted on validation pictures."""
    album = data.parts["validation"]
    found = caption_all(engine, config, data.codec, album)
    right = rightness(album, [c.text for c in found])
    fitted = calibration.fit(np.array([c.log_prob for c in found]), _lengths(found), right)
    codec = dataclasses.replace(data.codec, confidence=fitted)
    confidences = [codec.confident(c.log_prob, length) for c, length in zip(found, _lengths(found), strict=True)]
    return dataclasses.replace(codec, sure=float(np.quantile(confidences, UNSURE)))


def _lengths(found: Sequence[Caption]) -> np.ndarray:
    return np.array([len(c.tokens) + 1 for c in found])


def evaluate(engine, config, data: Data, *, quiet: bool = True) -> Evaluation:
    """Scores one caption of every test picture, of the model and of the baselines."""
    album, codec = data.parts["test"], data.codec
    if not len(album):
        raise DataError(f"{config.data}: no test picture; every one was seen in training, or none could be used")
    found = caption_all(engine, config, codec, album, quiet)
    model = scores(album, [c.text for c in found])
    right = rightness(album, [c.text for c in found])
    confidence = np.array([c.confidence for c in found])
    if codec.confidence:
        model["calibration_error"] = calibration.error(confidence, right)
    beside = {name: scores(album, captions) for name, captions in _baselines(engine, data, quiet).items()}
    for path in config.compare:
        beside[Path(path).name] = _compared(path, album, quiet)
    shown = [(album.pixels([i])[0], found[i]) for i in range(min(SHOWN, len(album)))]
    notes = (*_verdict(model, beside), *_split_note(model, album))
    return Evaluation(model, beside, notes, shown, codec, (confidence, right))


def _baselines(engine, data: Data, quiet: bool) -> dict[str, list[str]]:
    """Captions of the test pictures by what needs no decoder."""
    train, album = data.parts["train"], data.parts["test"]
    if not len(train):
        return {}
    wrap = functools.partial(track, description="neighbours", quiet=quiet)
    known, asked = (describe.features(engine, part, wrap) for part in (train, album))
    captions = train.captions()
    found = {
        "nearest picture": baselines.nearest_captions(asked, known, captions),
        "likeliest caption": [baselines.likeliest_caption(captions)] * len(album),
    }
    if album.pictures[0].scene is None:  # on scenes a consensus of words says nothing, and takes minutes
        near = baselines.nearest_captions(asked, known, captions, NEIGHBOURS)
        found[f"consensus of {NEIGHBOURS} nearest"] = near
    return found


def _compared(path: str, album: Album, quiet: bool) -> dict[str, float]:
    """The scores of another run on the same pictures."""
    from . import APP

    other = APP.open(path)
    same = Album(album.pictures, other.codec.image_size)
    if not set(other.codec.tokens) & {word for group in album.captions() for c in group for word in c.split()}:
        raise ElmanError(f"--compare {path}: its vocabulary shares no word with these captions")
    return scores(same, [c.text for c in caption_all(other.engine, other.config, other.codec, same, quiet)])


def _verdict(model: dict, beside: dict) -> tuple[str, ...]:
    """Plainly whether the baselines are beaten, by what decides: exact meaning on scenes, else CIDEr-D."""
    name = "exact" if "exact" in model else "cider"
    lines = []
    if "exact" in model:
        lines.append(f"exact: {100 * model['exact']:.1f} % of the captions say all that is there, and nothing wrong")
    if beside:
        best = max(beside, key=lambda n: beside[n][name])
        verdict = "better than" if model[name] > beside[best][name] else "NOT better than"
        lines.append(f"{name} {model[name]:.3f}: {verdict} the best baseline ({best}, {beside[best][name]:.3f})")
    return tuple(lines)


def _split_note(model: dict, album: Album) -> tuple[str, ...]:
    """What to know of the scores on these pictures."""
    if album.pictures[0].scene is not None:
        return ("every test scene holds a size, colour and shape that training and validation never show together",)
    missing = "METEOR is left out: it takes nltk and its WordNet (pip install nltk; python -m nltk.downloader wordnet)"
    return (
        "cider: CIDEr-D with the document frequencies of the test references; compare scores on one test set only",
        *([] if "meteor" in model else [missing]),
    )


def score(engine, config, data: Data) -> tuple[str, float]:
    """−CIDEr-D on up to 100 test pictures: what quantisation must not lose."""
    album = (data.parts["test"] or data.parts["train"])[:SCORED]
    captions = [c.text for c in caption_all(engine, config, data.codec, album)]
    return "-cider", -metrics.cider_d(captions, album.captions())


def samples(engine, config, data: Data) -> dict[str, list[dict]]:
    """Training inputs of both signatures, in several batch sizes; those of `step` come from real searches."""
    recorded: dict[str, list[dict]] = {name: [] for name in engine.signatures}

    def recording(signature, **arrays):
        recorded[signature].append({k: v.copy() for k, v in arrays.items()})
        return engine(signature, **arrays)

    recording.signatures = engine.signatures
    album = data.parts["train"]
    search = search_of(config, data.codec)
    for start in range(0, min(12, len(album)), 2):
        describe.describe(recording, data.codec, album.pixels(range(start, min(start + 2, len(album)))), search)
    calls = recorded["step"]
    return {"encode": recorded["encode"], "step": calls[:: max(1, len(calls) // 40)]}


def plots(evaluation: Evaluation, directory: Path) -> None:
    """Where the model looked for the words of some captions, and how far its confidence can be believed."""
    from .plots import plot_looks, plot_reliability

    if evaluation.shown and evaluation.shown[0][1].looks is not None:
        for number, (picture, caption) in enumerate(evaluation.shown):
            plot_looks(picture, caption, evaluation.codec, directory / f"looks_{number}.png")
    if evaluation.codec.confidence:
        plot_reliability(*evaluation.reliability, directory / "reliability.png")
