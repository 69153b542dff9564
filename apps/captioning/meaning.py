"""What a caption of a rendered scene says, and whether it is so. NumPy only."""

from dataclasses import dataclass

from . import scenes
from .scenes import COLOURS, INVERSE, NUMBERS, SHAPES, SIZES, Scene

_NUMBER_WORDS = {"a": 1, **{word: number for number, word in NUMBERS.items()}}
_SHAPE_WORDS = {scenes.noun_phrase(("", "", shape), n).split()[-1]: (shape, n > 1) for shape in SHAPES for n in (1, 2)}
_RELATIONS = {scenes.phrase(relation): relation for relation in INVERSE}


@dataclass(frozen=True)
class Claims:
    """What a caption says: how many of each (size, colour, shape), and (kind, relation, kind) or None."""

    groups: dict[tuple[str, str, str], int]
    relation: tuple[tuple, str, tuple] | None = None


def parse(caption: str) -> Claims | None:
    """The claims of a caption, or None where it is not a sentence of the grammar of `scenes.captions`."""
    text = " ".join(caption.lower().split())
    for opening in ("there is ", "there are ", "a picture of "):
        if text.startswith(opening):
            return _parse_body(text.removeprefix(opening), verb="")
    return _parse_body(text, verb="is ")


def _parse_body(text: str, verb: str) -> Claims | None:
    for phrase, relation in _RELATIONS.items():
        if text.startswith(f"{phrase} ") and verb:  # to the left of a … (there) is a …
            second, _, first = text.removeprefix(f"{phrase} ").replace(" there is ", " is ").partition(" is ")
            return _related(first, relation, second)
        first, found, second = text.partition(f" {verb}{phrase} ")
        if found:
            return _related(first, relation, second)
    parts = [_noun_phrase(part) for part in text.split(" and ")]
    if None in parts or len({kind for kind, _ in parts}) != len(parts):
        return None
    return Claims(dict(parts))


def _related(first: str, relation: str, second: str) -> Claims | None:
    a, b = _noun_phrase(first), _noun_phrase(second)
    if a is None or b is None or a[1] != 1 or b[1] != 1:
        return None
    return Claims({a[0]: 1, b[0]: 1}, (a[0], relation, b[0]))


def _noun_phrase(text: str) -> tuple[tuple[str, str, str], int] | None:
    words = text.split()
    if len(words) != 4 or words[0] not in _NUMBER_WORDS or words[3] not in _SHAPE_WORDS:
        return None
    number, (shape, plural) = _NUMBER_WORDS[words[0]], _SHAPE_WORDS[words[3]]
    if words[1] not in SIZES or words[2] not in COLOURS or plural != (number > 1):
        return None
    return (words[1], words[2], shape), number


def check(caption: str, scene: Scene) -> dict[str, bool]:
    """Which parts of a caption's meaning are right; a part that the scene does not call for is left out.

    - `exact`: a sentence of the grammar, everything it says is true, and nothing of the scene is left unsaid.
    - `objects`: the shapes, each as often as it is there. `attributes`: sizes and colours with their shapes.
    - `counts` (where there are several of a kind): the numbers. `relations` (pairs): a relation, and a true one.
    """
    claims, truth = parse(caption), scenes.groups_of(scene)
    asked = {"exact", "objects", "attributes"}
    asked |= {"relations"} if scene.kind == "pair" else set()
    asked |= {"counts"} if max(truth.values()) > 1 else set()
    if claims is None:
        return dict.fromkeys(sorted(asked), False)
    found = {
        "objects": _shapes(claims.groups) == _shapes(truth),
        "attributes": set(claims.groups) == set(truth),
        "counts": sorted(claims.groups.values()) == sorted(truth.values()),
        "relations": claims.relation in scenes.true_relations(scene),
    }
    related = found["relations"] if scene.kind == "pair" else claims.relation is None
    found["exact"] = claims.groups == truth and related
    return {name: found[name] for name in sorted(asked)}


def _shapes(groups) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (_, _, shape), number in groups.items():
        counts[shape] = counts.get(shape, 0) + number
    return counts
