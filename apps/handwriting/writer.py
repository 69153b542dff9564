"""The generator: a writer, drawn at random, writes any text as pen strokes. NumPy only, with a Hershey font or two.

A writer has a way to write each letter (our own outlines or a Hershey font, printed or joined, bent by a smooth field
of their own), proportions, slant, spacing, a drifting baseline, a tremor and a speed. A line is composed of control
points, smoothed by splines as one, bent, and then sampled in time: slower in the bends, as hands are.
"""

from dataclasses import dataclass

import numpy as np

from . import outlines
from .ink import Ink

_PRINTED, _JOINED = ("futural",), ("cursive", "scripts")
_DELAYED = "ijtxfAHI"  # letters whose further strokes may wait for the end of the word
_LOOSE = "ijtf"  # letters whose dots and bars are seldom where they belong
_WHOLE = "ij"  # letters whose strokes are never drawn as one
_LEAD_IN = 8.5  # an outline that begins below leads in from the letter before, whose own stroke does so where they join
_SUB = 5  # spline points per control point


@dataclass(frozen=True)
class Writer:
    """One writer's hand.

    Attributes:
        glyphs: letter -> their ways to write it, lists of strokes (points, 3).
        joined: letters that join on to the next one where it can be; tails: of those, the ones whose outline ends in a
            stroke that leads on. join: how often they do.
        delay: how often dots and bars wait for the end of the word. late: how far from their places they come.
        drag: how often the strokes of a letter are drawn as one. haste: how much the pen rounds off what it writes.
        uneven: how much the sizes of letters, and of words, differ.
        width, ascender, descender, capital: factors on the outlines' proportions. slant: shear. gap, space: between
            letters and words, in heights of an x. slope: of the line. trend: how much larger it becomes.
        drift, sag: amplitude of the baseline's waves, and of its course over the whole line. shake, wobble: of the
            tremor, of each letter's misplacement.
        bend: amplitude of the field that bends the line.
        step: metres of paper are unknown, so heights of an x between two samples at mean speed.
        bends: how much slower the pen is in bends. noise: of the tablet. round: whether it gives whole numbers.
        hook: how often a stroke begins or ends with a hook. skip: how often the ink breaks off within a stroke.
        size: units of an x-height.
    """

    glyphs: dict[str, list]
    joined: frozenset[str]
    tails: frozenset[str]
    join: float
    delay: float
    late: float
    drag: float
    haste: int
    uneven: float
    width: float
    ascender: float
    descender: float
    capital: float
    slant: float
    gap: float
    space: float
    slope: float
    trend: float
    drift: float
    sag: float
    shake: float
    wobble: float
    bend: float
    step: float
    bends: float
    noise: float
    round: bool
    hook: float
    skip: float
    size: float


def draw_writer(rng: np.random.Generator, letters: str | None = None) -> Writer:
    """A writer at random, who can write `letters` (every letter that we have where not given)."""
    kind = rng.choice(3, p=[0.34, 0.36, 0.3])  # prints, mixes, joins
    glyphs, joined, tails = _draw_glyphs(kind, rng, letters)

    def spread(low, high):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return Writer(
        glyphs, joined, tails,
        join=[rng.choice([0.0, 0.0, 0.3]), rng.uniform(0.3, 0.95), rng.uniform(0.8, 1.0)][kind],
        delay=rng.choice([0.0, 0.15, 1.0], p=[0.45, 0.15, 0.4]) if kind else rng.choice([0.0, 0.1], p=[0.8, 0.2]),
        late=float(rng.uniform(0, 0.35)),
        drag=float(rng.choice([0.0, 0.1, 0.35], p=[0.5, 0.3, 0.2])),
        haste=int(rng.choice([0, 1, 2, 4, 6], p=[0.3, 0.3, 0.22, 0.13, 0.05])),
        uneven=float(rng.uniform(0.0, 0.1)),
        width=spread(0.68, 1.5),
        ascender=spread(0.55, 1.25),
        descender=spread(0.5, 1.3),
        capital=spread(0.6, 1.15),
        slant=float(np.clip(rng.normal(0.12, 0.25), -0.5, 0.8)),
        gap=float(rng.uniform(0.06, 0.6)),
        space=spread(0.6, 2.4),
        slope=float(np.clip(0.03 * rng.standard_t(3), -0.2, 0.2)),
        trend=float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
        drift=float(rng.uniform(0, 0.25)),
        sag=float(rng.uniform(0, 1.5)) * (rng.random() < 0.3),
        shake=spread(0.004, 0.03),
        wobble=spread(0.02, 0.11),
        bend=spread(0.03, 0.25),
        step=spread(0.05, 0.4),
        bends=float(rng.uniform(0.2, 2.5)),
        noise=spread(0.002, 0.02),
        round=bool(rng.random() < 0.6),
        hook=float(rng.choice([0.0, 0.1, 0.4], p=[0.5, 0.3, 0.2])),
        skip=float(rng.choice([0.0, 0.015, 0.05], p=[0.6, 0.3, 0.1])),
        size=spread(8, 400),
    )  # fmt: skip


def _draw_glyphs(kind: int, rng: np.random.Generator, letters: str | None) -> tuple[dict, frozenset, frozenset]:
    """The writer's outlines of each letter, bent in their own way; which letters join on, and which have tails."""
    own, whole = outlines.own(), rng.random()
    # some write the whole alphabet as a Hershey font has it
    font = outlines.hershey(str(rng.choice(_PRINTED if kind == 0 else _JOINED))) if whole < 0.18 else None
    round_corners = rng.random() < 0.35
    chosen, joined, tails = {}, set(), set()
    scale, turn, dots = rng.normal(1, 0.06), rng.normal(0, 0.03), rng.random()
    for letter in own["p"] if letters is None else sorted(own["p"].keys() & set(letters)):
        cursive = kind == 2 or (kind == 1 and rng.random() < 0.5)
        ways = own["c"].get(letter, own["p"][letter]) if cursive else own["p"][letter]
        if font and letter in font and not (kind == 0 and letter in "agt" and rng.random() < 0.5):
            ways = font[letter]
        elif cursive and letter.isupper() and rng.random() < 0.3:
            ways = outlines.hershey("cursive")[letter]
        picks = [ways[rng.integers(len(ways))] for _ in range(1 + (rng.random() < 0.25))]
        picks = [[*pick[:-1], _dot(pick[-1], dots)] for pick in picks] if letter in "ij" else picks
        chosen[letter] = [_bent(pick, scale, turn, round_corners, rng) for pick in picks]
        if letter.islower() and (cursive or kind):
            joined.add(letter)
            if cursive:
                tails.add(letter)
    return chosen, frozenset(joined), frozenset(tails)


def _dot(stroke: np.ndarray, kind: float) -> np.ndarray:
    """A dot as this writer makes them: mostly as the outline has it, else a ring or a dash."""
    if kind < 0.7 or stroke[:, 1].min() < 11:
        return stroke
    ring = kind < 0.82
    shape = [[0, 1], [-1, 0], [0, -1], [1, 0], [0, 1]] if ring else [[-1.5, 0], [1.5, 0.5]]
    return np.column_stack([stroke[:1, :2] + np.array(shape), np.zeros(len(shape))])


def _bent(strokes: list, scale: float, turn: float, rounded: bool, rng: np.random.Generator) -> list:
    """Strokes under a small affine map and a smooth field, both drawn for this letter of this writer."""
    matrix = np.array([[scale, turn], [-turn, 1.0]]) + rng.normal(0, 0.06, (2, 2))
    waves, phases = rng.normal(0, 0.22, (2, 2, 2)), rng.uniform(0, 2 * np.pi, (2, 2))
    amplitude = rng.uniform(0.2, 0.8)
    found = []
    for stroke in strokes:
        at = stroke[:, :2]
        field = np.sin(np.einsum("nd,kde->nke", at, waves) + phases).sum(1)
        moved = at @ matrix + amplitude * field
        corners = stroke[:, 2] * (not rounded)
        found.append(np.column_stack([moved, corners]))
    return found


def write(text: str, writer: Writer, rng: np.random.Generator, name: str = "") -> Ink:
    """The text as that writer would write it; letters that have no outline are left out."""
    strokes = _compose(text, writer, rng)
    lengths = np.array([len(s) for s in strokes])
    points, owner = _smooth(np.concatenate(strokes), np.repeat(np.arange(len(strokes)), lengths))
    points = _bend(_hasten(points, owner, writer.haste), writer, rng)
    sampled, owner, times = _sample(points, owner, writer, rng)
    placed = sampled * writer.size
    placed += rng.normal(0, writer.noise * writer.size, placed.shape)
    if writer.round:
        placed = np.rint(placed * max(1.0, 12.0 / writer.size))  # a tablet resolves a letter into a dozen or more
    out = np.column_stack([placed[:, 0], -placed[:, 1], times])
    cuts = np.flatnonzero(np.diff(owner)) + 1
    return Ink(tuple(np.split(out, cuts)), text, name)


def _compose(text: str, writer: Writer, rng: np.random.Generator) -> list[np.ndarray]:
    """Control points (points, 3) of every stroke, in the order of writing, in tenths of an x-height."""
    done: list[np.ndarray] = []
    cursor = 0.0
    for word in text.split(" "):
        strokes, cursor = _word(word, cursor, writer, rng)
        done += strokes
        cursor += 10 * max(writer.space * rng.lognormal(0, 0.2), 0.4)
    return [_hooked(s, writer, rng) for s in done] or [np.zeros((2, 3))]


def _word(word: str, cursor: float, writer: Writer, rng: np.random.Generator) -> tuple[list[np.ndarray], float]:
    """The strokes of a word that begins at `cursor`, and where it ends; dots and bars that waited come last."""
    main, late = [], []
    before = ""
    wait = rng.random() < writer.delay
    size, rise = rng.normal(1, 0.7 * writer.uneven), rng.normal(0, 5 * writer.uneven)
    for letter in word:
        glyph = _glyph(letter, size, writer, rng)
        if glyph is None:
            continue
        low, high = min(s[:, 0].min() for s in glyph), max(s[:, 0].max() for s in glyph)
        joins = before in writer.joined and letter in writer.joined and rng.random() < writer.join
        gap = 10 * max(writer.gap + rng.normal(0, 0.07), -0.05)
        if joins:
            gap = 4 * max(writer.gap - 0.2, 0) - 1 + rng.normal(0, 0.5) if before in writer.tails else 1.5 + 0.4 * gap
        offset = np.array([cursor - low + gap, rise + 10 * rng.normal(0, writer.wobble), 0])
        first, *rest = _loosened(letter, [s + offset for s in glyph], writer, rng)
        if joins and main:
            leads_in = len(first) > 3 and glyph[0][0, 1] < _LEAD_IN
            main[-1] = np.concatenate([main[-1], first[1:] if leads_in else first])
        else:
            main.append(first)
        waits = wait and letter in _DELAYED
        if waits:
            late += rest
        elif rest and letter in "ij" and writer.join == 0 and rng.random() < 0.06:
            main.insert(len(main) - 1, rest[0])  # the dot first
        else:
            main += rest
        before = letter if waits or not rest else ""
        cursor += high - low + gap
    return main + late, cursor


def _loosened(letter: str, strokes: list, writer: Writer, rng: np.random.Generator) -> list[np.ndarray]:
    """A letter's strokes, dots and bars off their places; or all strokes as one, the pen not lifted."""
    if len(strokes) == 1:
        return strokes
    if letter.isalnum() and letter not in _WHOLE and rng.random() < writer.drag:
        for stroke in strokes[:-1]:
            stroke[-1, 2] = 1
        return [np.concatenate(strokes)]
    if letter not in _LOOSE:
        return strokes
    moved = [strokes[0]]
    for stroke in strokes[1:]:
        move = 10 * writer.late * np.array([0.5 + rng.normal(), 0.5 * rng.normal()])
        middle = stroke[:, :2].mean(0)
        length = np.array([rng.lognormal(0, writer.late) if letter in "tf" else 1.0, 1.0])
        moved.append(np.column_stack([(stroke[:, :2] - middle) * length + middle + move, stroke[:, 2]]))
    return moved


def _glyph(letter: str, size: float, writer: Writer, rng: np.random.Generator) -> list | None:
    ways = writer.glyphs.get(letter)
    if ways is None:
        return None
    strokes = ways[rng.integers(len(ways))]
    size = size * rng.normal(1, writer.uneven)
    width = writer.width * rng.normal(1, 0.07)
    tall = writer.capital if letter.isupper() or letter.isdigit() else None
    found = []
    for stroke in strokes:
        x, y = stroke[:, 0] * width, stroke[:, 1]
        if tall is None:
            y = np.where(y > 10, 10 + (y - 10) * writer.ascender, np.where(y < 0, y * writer.descender, y))
        else:
            y = y * tall
        jitter = rng.normal(0, 10 * writer.wobble * 0.5, (len(x), 2))
        found.append(np.column_stack([size * x + jitter[:, 0], size * y + jitter[:, 1], stroke[:, 2]]))
    return found


def _hooked(stroke: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    if rng.random() >= writer.hook:
        return stroke
    tail = np.array([*rng.normal(0, 1.5, 2), 0.0])
    if rng.random() < 0.5:
        return np.concatenate([stroke[:1] + tail, stroke])
    return np.concatenate([stroke, stroke[-1:] + tail])


def _smooth(points: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Catmull-Rom curves through control points (points, 3) with corners; in x-heights. Returns points and owners."""
    at, corner = points[:, :2], points[:, 2:] > 0
    same = owner[1:] == owner[:-1]
    chord = np.where(same[:, None], np.diff(at, axis=0), 0.0)
    after = np.concatenate([chord, np.zeros((1, 2))])
    before = np.concatenate([np.zeros((1, 2)), chord])
    ends = ~np.concatenate([same, [False]])[:, None] | ~np.concatenate([[False], same])[:, None]
    tangent = np.where(ends, after + before, 0.5 * (after + before))
    start = np.where(corner, after, tangent)[:-1][same]
    stop = np.where(corner, before, tangent)[1:][same]
    p, q = at[:-1][same], at[1:][same]
    u = (np.arange(_SUB) / _SUB)[:, None, None]
    curve = (
        (2 * u**3 - 3 * u**2 + 1) * p + (u**3 - 2 * u**2 + u) * start + (-2 * u**3 + 3 * u**2) * q
        + (u**3 - u**2) * stop
    )  # fmt: skip
    whose = np.repeat(owner[:-1][same], _SUB)
    body = curve.transpose(1, 0, 2).reshape(-1, 2)
    # the last point of each stroke
    last = np.flatnonzero(np.concatenate([~same, [True]]))
    order = np.argsort(np.concatenate([whose, owner[last]]), kind="stable")
    return np.concatenate([body, at[last]])[order] / 10, np.concatenate([whose, owner[last]])[order]


def _hasten(points: np.ndarray, owner: np.ndarray, times: int) -> np.ndarray:
    """The strokes rounded off, so many times; their ends stay."""
    inner = (owner[2:] == owner[:-2])[:, None]
    for _ in range(times):
        mean = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
        points = np.concatenate([points[:1], np.where(inner, mean, points[1:-1]), points[-1:]])
    return points


def _bend(points: np.ndarray, writer: Writer, rng: np.random.Generator) -> np.ndarray:
    """The line under slant, slope, drift, a smooth field, and tremor."""
    waves = rng.normal(0, 1.0, (3, 2, 2)) * np.array([2.0, 1.0, 0.4])[:, None, None]
    field = np.sin(np.einsum("nd,kde->nke", points, waves) + rng.uniform(0, 6.28, (3, 2)))
    points = points + writer.bend * 0.5 * np.einsum("nke,k->ne", field, [0.4, 0.7, 1.0])
    x, y = points[:, 0], points[:, 1]
    y = y * (1 + writer.trend * (x / max(np.ptp(x), 10) - 0.5))
    x = x + writer.slant * y
    sag = writer.sag * np.sin(x / max(np.ptp(x), 30) * rng.uniform(1.5, 5) + rng.uniform(0, 6.28))
    y = y + writer.slope * x + writer.drift * np.sin(x * rng.uniform(0.05, 0.3) + rng.uniform(0, 6.28)) + sag
    noise = rng.normal(0, 1, (len(x) + 4, 2))
    tremor = (noise[:-4] + noise[1:-3] + noise[2:-2] + noise[3:-1] + noise[4:]) / np.sqrt(5)
    return np.stack([x, y], 1) + writer.shake * tremor


def _sample(points: np.ndarray, owner: np.ndarray, writer: Writer, rng: np.random.Generator):
    """The path sampled in time: (samples, 2), the stroke of each, and seconds."""
    step = np.diff(points, axis=0)
    length = np.hypot(step[:, 0], step[:, 1]) + 1e-6
    same = owner[1:] == owner[:-1]
    unit = step / length[:, None]
    turn = np.ones(len(length))
    turn[1:] = 1 - (unit[1:] * unit[:-1]).sum(1)
    slow = 1 + writer.bends * np.minimum(turn, 1.0)
    duration = np.where(same, length * slow, 0.5 * length + 2.0)
    speed = np.exp(0.25 * np.sin(np.linspace(0, rng.uniform(3, 30), len(duration)) + rng.uniform(0, 6)))
    clock = np.concatenate([[0.0], np.cumsum(duration * speed)])
    times = np.arange(rng.uniform(0, writer.step), clock[-1], writer.step)
    place = np.clip(np.searchsorted(clock, times, side="right") - 1, 0, len(same) - 1)
    inside = same[place] & (rng.random(len(times)) > 0.01)  # tablets lose a sample now and then
    edges = np.flatnonzero(np.concatenate([[True], ~same]) | np.concatenate([~same, [True]]))
    times = np.sort(np.concatenate([times[inside], clock[edges]]))
    index = np.interp(times, clock, np.arange(len(clock)))
    whose = owner[np.minimum(np.round(index).astype(int), len(owner) - 1)]
    sampled = np.stack([np.interp(times, clock, points[:, 0]), np.interp(times, clock, points[:, 1])], 1)
    if writer.skip:
        breaks = (rng.random(len(whose)) < writer.skip * writer.step) & (np.arange(len(whose)) > 0)
        whose = whose * 1000 + np.cumsum(breaks)
    return sampled, whose, times * 0.01 / writer.step
