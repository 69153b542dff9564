"""Single drawings: their names on any engine, and what nearest neighbours would say."""

import numpy as np

from ..core.progress import track
from . import features
from .codec import Codec
from .data import Data, Line
from .ink import Ink
from .predict import Reading

POINTS = 24  # of a drawing, for the nearest neighbours
WARPED = 600  # drawings at most whose neighbours are found by time warping, which is slow


def probabilities(engine, line: Line) -> np.ndarray:
    """(symbols,) of a drawing."""
    return engine("classify", frames=np.asarray(line.frames, np.float32)[None])["probabilities"][0]


def name_of(engine, codec: Codec, line: Line) -> str:
    """The most probable symbol."""
    return codec.alphabet[int(probabilities(engine, line).argmax())]


def name_drawings(engine, codec: Codec, inks: list[Ink], sure: float) -> list[Reading]:
    """The names of drawings, each with the next most probable ones."""
    found = []
    for ink in inks:
        frames, _ = codec.encode_traced(ink)
        shares = probabilities(engine, Line(frames, np.zeros(0, np.int32)))
        order = np.argsort(-shares)[:5]
        others = tuple({"text": codec.alphabet[i], "score": round(float(shares[i]), 4)} for i in order)
        best = float(shares[order[0]])
        found.append(Reading(ink, codec.alphabet[int(order[0])], best, best >= sure, (), others))
    return found


def error_rate(engine, codec: Codec, lines: list[Line]) -> float:
    """Share of drawings that are named wrongly."""
    return float(np.mean([name_of(engine, codec, line) != line.ink.text for line in lines]))


def evaluate_symbols(engine, config, data: Data, lines: list[Line], quiet: bool):
    """Accuracy of the model and of nearest neighbours, Euclidean and by dynamic time warping, on the same drawings."""
    from .evaluate import Evaluation, calibration_error

    found = np.array([probabilities(engine, line) for line in track(lines, "naming", quiet=quiet)])
    names = np.array(data.codec.alphabet)[found.argmax(1)]
    truths = np.array([line.ink.text for line in lines])
    model = {"accuracy": float((names == truths).mean()), "error": float((names != truths).mean())}
    order = np.argsort(-found, axis=1)[:, :5]
    model["top_5"] = float((np.array(data.codec.alphabet)[order] == truths[:, None]).any(1).mean())
    sure = found.max(1)
    bins = np.minimum((sure * 10).astype(int), 9)
    curve = np.array(
        [(sure[bins == i].mean(), (names == truths)[bins == i].mean(), (bins == i).sum()) for i in np.unique(bins)]
    )
    model["calibration_error"] = calibration_error(curve)
    known = [line for line in data.parts["train"].rows if line.ink is not None][: data.sizes["train"]]
    baselines, notes = {}, [f"accuracy: share of {len(lines):,} test drawings that are named rightly"]
    if known:
        baselines = _neighbours([line.ink for line in known], [line.ink for line in lines], quiet)
        best = max(baselines, key=lambda name: baselines[name]["accuracy"])
        verdict = "better than" if model["accuracy"] > baselines[best]["accuracy"] else "NOT better than"
        notes.append(f"accuracy {model['accuracy']:.4f}: {verdict} {best} ({baselines[best]['accuracy']:.4f})")
    pairs, counts = np.unique([f"{a}\t{b}" for a, b in zip(truths, names, strict=True) if a != b], return_counts=True)
    top = sorted(zip(pairs, counts, strict=True), key=lambda row: -row[1])
    confusions = [(*str(pair).split("\t"), int(count)) for pair, count in top]
    return Evaluation(model, baselines, tuple(notes), [], confusions, curve)


def _neighbours(known: list[Ink], asked: list[Ink], quiet: bool) -> dict:
    table, query = np.stack([path(ink) for ink in known]), np.stack([path(ink) for ink in asked])
    labels, truths = np.array([ink.text for ink in known]), np.array([ink.text for ink in asked])
    flat = table.reshape(len(table), -1)
    near = [int(((flat - q.ravel()) ** 2).sum(1).argmin()) for q in query]
    some = np.unique(np.linspace(0, len(query) - 1, min(WARPED, len(query))).astype(int))
    warped = [int(warp(table, query[i]).argmin()) for i in track(some, "time warping", quiet=quiet)]
    part = "" if len(some) == len(query) else f" ({len(some)} of the drawings)"
    scores = {
        "nearest neighbour": labels[near] == truths,
        f"nearest neighbour, DTW{part}": labels[warped] == truths[some],
    }
    return {name: {"accuracy": float(right.mean()), "error": float(1 - right.mean())} for name, right in scores.items()}


def path(ink: Ink) -> np.ndarray:
    """A drawing as POINTS points (points, 3): x, y in its box, whether the pen is down; at equal distances."""
    points, owner, _ = features.normalise(ink, deskew=False)
    points = features.symbol(points, owner)
    found, down, _ = features.resample(points, owner, 0.05)
    at = np.linspace(0, len(found) - 1, POINTS)
    columns = [np.interp(at, np.arange(len(found)), column) for column in (*found.T, down)]
    return np.stack(columns, 1)


def warp(table: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Dynamic time warping distances of a path (points, 3) to each of many (paths, points, 3): (paths,).

    Reference: Sakoe and Chiba 1978, "Dynamic programming algorithm optimization for spoken word recognition".
    """
    costs = np.sqrt(((table[:, :, None] - query[None, None]) ** 2).sum(-1))  # (paths, i, j)
    count, rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1, count), np.inf)
    total[0, 0] = 0
    costs = np.ascontiguousarray(costs.transpose(1, 2, 0))
    for i in range(rows):
        for j in range(columns):
            before = np.minimum(np.minimum(total[i, j], total[i, j + 1]), total[i + 1, j])
            np.add(costs[i, j], before, out=total[i + 1, j + 1])
    return total[rows, columns]
