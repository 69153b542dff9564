"""Rendered scenes: shapes in colours and sizes on varied backgrounds, with captions that are true of them. NumPy only.

A scene is a pure function of (split, number): nothing is stored, any picture can be drawn again. A quarter of the
combinations of size, colour and shape, `HELD_OUT`, never occurs in training: every validation scene holds at least one
of the validation combinations, every test scene at least one of the test combinations, and none of the other's.
"""

import itertools
from dataclasses import dataclass

import numpy as np

COLOURS = {
    "red": (0.86, 0.10, 0.12),
    "green": (0.10, 0.58, 0.20),
    "blue": (0.12, 0.26, 0.86),
    "yellow": (0.95, 0.86, 0.10),
    "purple": (0.52, 0.14, 0.70),
    "orange": (0.97, 0.50, 0.06),
    "white": (0.97, 0.97, 0.97),
    "black": (0.04, 0.04, 0.05),
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
SIZES = {"small": (5.5, 7.0), "large": (10.5, 13.0)}  # radius in pixels of a picture 64 wide
NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five"}
INVERSE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}


def _held_out(rest: int) -> tuple[tuple[str, str, str], ...]:
    """One size, in turn, of every pair of colour and shape whose places add up to `rest` modulo 4."""
    places = itertools.product(enumerate(COLOURS), enumerate(SHAPES))
    pairs = [(colour, shape) for (c, colour), (s, shape) in places if (c + s) % 4 == rest]
    return tuple((tuple(SIZES)[k % 2], *pair) for k, pair in enumerate(pairs))


HELD_OUT = {"validation": _held_out(1), "test": _held_out(3)}
SIDE = 64  # pixels of a scene, unless it is drawn larger
_SPLITS = ("train", "validation", "test")
_KINDS = {"one": 0.1, "pair": 0.5, "count": 0.2, "mixed": 0.2}
_LEARNT = {"one": 0.08, "pair": 0.36, "hidden": 0.08, "two": 0.08, "count": 0.18, "mixed": 0.22}  # in training
_BACKGROUNDS = ("plain", "gradient", "stripes", "checks", "clouds")


@dataclass(frozen=True)
class Thing:
    """One object: what it is, its centre (x right, y down), radius and turn, in pixels of a picture 64 wide."""

    size: str
    colour: str
    shape: str
    x: float
    y: float
    radius: float
    turn: float

    @property
    def kind(self) -> tuple[str, str, str]:
        return self.size, self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """Things from back to front. `seed` draws background, tints and noise. `kind`: one, pair, count or mixed.

    Training has more of what is seldom drawn and hard to tell: pairs that overlap (`hidden`) and two of a kind (`two`).
    """

    kind: str
    things: tuple[Thing, ...]
    seed: tuple[int, ...]


def make_scene(split: str, number: int) -> Scene:
    """The scene `number` of a split (`train`, `validation` or `test`)."""
    seed = (_SPLITS.index(split), number)
    rng = np.random.default_rng(seed)
    shares = _LEARNT if split == "train" else _KINDS
    kind = str(rng.choice(list(shares), p=list(shares.values())))
    while True:
        things = _arrange(rng, kind, _choose_kinds(rng, kind, split))
        if things is not None:
            return Scene({"hidden": "pair", "two": "count"}.get(kind, kind), things, (*seed, 1))


def _choose_kinds(rng, kind: str, split: str) -> list[tuple[str, str, str]]:
    """(size, colour, shape) of each of the scene's groups; different ones."""
    barred = {kind for name, kinds in HELD_OUT.items() if name != split for kind in kinds}
    groups: list[tuple[str, str, str]] = []
    count = 1 if kind in ("one", "two", "count") else 2
    while len(groups) < count:
        if not groups and split != "train":
            one = HELD_OUT[split][rng.integers(len(HELD_OUT[split]))]
        else:
            one = tuple(names[rng.integers(len(names))] for names in (tuple(SIZES), tuple(COLOURS), SHAPES))
        if one not in barred and one not in groups:
            groups.append(one)
    if rng.random() < 0.5:
        groups.reverse()
    return groups


def _arrange(rng, kind: str, groups) -> tuple[Thing, ...] | None:
    """Places the things of the groups, or None where this draw does not fit."""
    kinds = list(groups)
    if kind == "two":
        kinds = groups * 2
    elif kind == "count":
        kinds = groups * int(rng.integers(2, 4 if groups[0][0] == "large" else 6))
    elif kind == "mixed":
        kinds = [groups[0]] * int(rng.integers(2, 3 if groups[0][0] == "large" else 4)) + [groups[1]]
    if kind in ("pair", "hidden"):
        return _place_pair(rng, kinds, 0.3 if kind == "pair" else 1.0)
    things: list[Thing] = []
    for one in kinds:
        for _ in range(20):
            thing = _throw(rng, one)
            if all(_distance(thing, other) > 0.95 * (thing.radius + other.radius) for other in things):
                things.append(thing)
                break
        else:
            return None
    return tuple(things[i] for i in rng.permutation(len(things)))


def _throw(rng, kind) -> Thing:
    radius = float(rng.uniform(*SIZES[kind[0]]))
    x, y = rng.uniform(radius + 1, SIDE - radius - 1, 2)
    return Thing(*kind, float(x), float(y), radius, float(rng.uniform(-0.25, 0.25)))


def _place_pair(rng, kinds, overlapping: float) -> tuple[Thing, Thing] | None:
    """Two things side by side, one above the other, or, tried in a share of the draws, one in front of the other."""
    first, second = _throw(rng, kinds[0]), _throw(rng, kinds[1])
    if rng.random() < overlapping:
        near = 0.45 * first.radius + 0.55 * second.radius
        share = _distance(first, second) / (first.radius + second.radius)
        seen = _visible_share(first, second) if share < 1 else 1.0
        return (first, second) if share < 1 and near < _distance(first, second) and 0.5 < seen < 0.9 else None
    apart = _distance(first, second) > first.radius + second.radius
    return (first, second) if apart and relations(first, second) else None


def _distance(a: Thing, b: Thing) -> float:
    return float(np.hypot(a.x - b.x, a.y - b.y))


def _visible_share(behind: Thing, front: Thing) -> float:
    """How much of a thing is not covered by another."""
    grid = _grid(SIDE)
    back, cover = _coverage(behind, grid, 1.0), _coverage(front, grid, 1.0)
    return float((back * (1 - cover)).sum() / back.sum())


def relations(a: Thing, b: Thing) -> set[str]:
    """What is true of a in relation to b, where b is drawn after a: by place, or behind where they overlap."""
    if _distance(a, b) < a.radius + b.radius:
        return {"behind"} if 1 - _visible_share(a, b) > 0 else set()
    dx, dy = a.x - b.x, a.y - b.y
    found = set()
    if abs(dx) > 1.5 * abs(dy):
        found.add("left of" if dx < 0 else "right of")
    if abs(dy) > 1.5 * abs(dx):
        found.add("above" if dy < 0 else "below")
    return found


def true_relations(scene: Scene) -> set[tuple[tuple, str, tuple]]:
    """(kind, relation, kind) for the two things of a pair, in both directions; empty for other scenes."""
    if scene.kind != "pair":
        return set()
    a, b = scene.things
    forward = {(a.kind, relation, b.kind) for relation in relations(a, b)}
    return forward | {(y, INVERSE[relation], x) for x, relation, y in forward}


def groups_of(scene: Scene) -> dict[tuple[str, str, str], int]:
    """How many there are of each (size, colour, shape)."""
    kinds = [thing.kind for thing in scene.things]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def captions(scene: Scene, count: int) -> list[str]:
    """Sentences that are wholly true of the scene, in an order drawn from it; fewer than `count` where it has fewer."""
    every = _all_captions(scene)
    order = np.random.default_rng((*scene.seed, 2)).permutation(len(every))
    return [every[i] for i in order[:count]]


def noun_phrase(kind: tuple[str, str, str], number: int = 1) -> str:
    """`a small red circle`, `three small red circles`."""
    size, colour, shape = kind
    if number == 1:
        return f"a {size} {colour} {shape}"
    return f"{NUMBERS[number]} {size} {colour} {shape}{'es' if shape == 'cross' else 's'}"


def _all_captions(scene: Scene) -> list[str]:
    groups = groups_of(scene)
    if scene.kind == "pair":
        return [sentence for fact in sorted(true_relations(scene)) for sentence in _relation_captions(*fact)]
    parts = [noun_phrase(kind, number) for kind, number in groups.items()]
    most = max(groups.values())
    if len(parts) == 1:
        return [parts[0], f"there {'is' if most == 1 else 'are'} {parts[0]}", f"a picture of {parts[0]}"]
    parts.sort(key=lambda part: part.startswith("a "))
    return [" and ".join(parts), f"there are {' and '.join(parts)}", " and ".join(reversed(parts))]


def _relation_captions(a, relation: str, b) -> list[str]:
    """Four sentences that name what is left, above or in front before the other; none for the inverse relations."""
    if relation not in ("left of", "above", "in front of"):
        return []
    first, second = noun_phrase(a), noun_phrase(b)
    where, inverse = phrase(relation), phrase(INVERSE[relation])
    return [
        f"{first} is {where} {second}",
        f"there is {first} {where} {second}",
        f"{inverse} {first} is {second}",
        f"{inverse} {first} there is {second}",
    ]


def phrase(relation: str) -> str:
    """How a relation is said: `to the left of`, `above`."""
    return f"to the {relation}" if relation in ("left of", "right of") else relation


def render(scene: Scene, side: int = SIDE) -> np.ndarray:
    """The picture: uint8 (side, side, 3)."""
    rng = np.random.default_rng((*scene.seed, 3))
    grid = _grid(side)
    picture = _background(rng, grid)
    for thing in scene.things:
        tint = np.clip(np.array(COLOURS[thing.colour]) + rng.uniform(-0.05, 0.05, 3), 0, 1)
        shade = 1 + rng.uniform(-0.12, 0.12) * (grid[0] - thing.x + grid[1] - thing.y)[..., None] / 40
        cover = _coverage(thing, grid, side / SIDE)[..., None]
        picture = picture * (1 - cover) + np.clip(tint * shade, 0, 1) * cover
    picture = picture * rng.uniform(0.88, 1.08) + rng.normal(0, rng.uniform(0.0, 0.05), picture.shape)
    return np.clip(255 * picture, 0, 255).astype(np.uint8)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel's centre, in the units of a scene."""
    line = ((np.arange(side) + 0.5) * SIDE / side).astype(np.float32)
    return tuple(np.meshgrid(line, line))


def _background(rng, grid) -> np.ndarray:
    """Muted colours, which no object has: plain, a gradient, stripes, checks or clouds; (side, side, 3)."""
    x, y = grid
    light = rng.uniform(0.35, 0.72)
    first, second = (np.clip(light + rng.uniform(-0.1, 0.1) + rng.uniform(-0.07, 0.07, 3), 0, 1) for _ in range(2))
    angle, period, phase = rng.uniform(0, np.pi), rng.uniform(5, 16), rng.uniform(0, 6.28)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kind = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))]
    if kind == "plain":
        share = np.zeros_like(x)
    elif kind == "gradient":
        share = (along - along.min()) / np.ptp(along)
    elif kind == "stripes":
        share = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * along / period + phase))
    elif kind == "checks":
        share = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * along / period) * np.sin(2 * np.pi * across / period))
    else:
        waves = [np.sin(rng.normal(0, 0.15) * x + rng.normal(0, 0.15) * y + rng.uniform(0, 6.28)) for _ in range(5)]
        share = np.clip(0.5 + 0.3 * np.sum(waves, axis=0), 0, 1)
    return first + (second - first) * share[..., None]


def _coverage(thing: Thing, grid, scale: float) -> np.ndarray:
    """How much of every pixel a thing covers, 0 to 1, from its distance to the outline."""
    x, y = grid[0] - thing.x, grid[1] - thing.y
    c, s = np.cos(thing.turn), np.sin(thing.turn)
    x, y = x * c + y * s, y * c - x * s
    return np.clip(0.5 - scale * _OUTLINES[thing.shape](x, y, thing.radius), 0, 1)


def _triangle(x, y, r):
    x, y = np.abs(x), y - 0.15 * r
    return np.maximum(0.867 * x - 0.5 * y - 0.55 * r, y - 0.65 * r)


def _star(x, y, r):
    """Five points: the distance to the nearer edge of the wedge that a pixel lies in."""
    angle = np.abs(np.mod(np.arctan2(x, -y) + np.pi / 5, 2 * np.pi / 5) - np.pi / 5)
    radius = np.hypot(x, y)
    px, py = radius * np.cos(angle), radius * np.sin(angle)
    ax, bx, by = 1.1 * r, 0.48 * r * np.cos(np.pi / 5), 0.48 * r * np.sin(np.pi / 5)
    length = np.hypot(ax - bx, by)
    return (by * (px - ax) + (ax - bx) * py) / length


def _cross(x, y, r):
    x, y = np.abs(x), np.abs(y)
    wide, long = np.maximum(x, y), np.minimum(x, y)
    return np.maximum(wide - 1.0 * r, long - 0.32 * r)


_OUTLINES = {
    "circle": lambda x, y, r: np.hypot(x, y) - r,
    "square": lambda x, y, r: np.maximum(np.abs(x), np.abs(y)) - 0.88 * r,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": lambda x, y, r: np.abs(np.hypot(x, y) - 0.76 * r) - 0.24 * r,
}
