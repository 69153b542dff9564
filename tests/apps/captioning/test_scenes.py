"""Rendered scenes: what is drawn is what is said, and what is held out stays out."""

import numpy as np
import pytest

from elman.apps.captioning import meaning, scenes
from elman.apps.captioning.scenes import HELD_OUT, Scene, Thing

MANY = 400


def some(split):
    return [scenes.make_scene(split, n) for n in range(MANY)]


def test_a_scene_is_a_function_of_split_and_number():
    one, same, other = scenes.make_scene("train", 3), scenes.make_scene("train", 3), scenes.make_scene("test", 3)
    assert one == same != other
    np.testing.assert_array_equal(scenes.render(one), scenes.render(same))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_held_out_combinations_are_seen_only_where_they_belong(split):
    kinds = [{thing.kind for thing in scene.things} for scene in some(split)]
    for name, held in HELD_OUT.items():
        hits = [bool(found & set(held)) for found in kinds]
        assert all(hits) if name == split else not any(hits)


def test_held_out_combinations_are_disjoint_and_every_colour_and_shape_is_learnt():
    validation, test = (set(HELD_OUT[name]) for name in ("validation", "test"))
    assert not validation & test
    seen = {(t.colour, t.shape) for scene in some("train") for t in scene.things}
    assert {c for c, _ in seen} == set(scenes.COLOURS)
    assert {s for _, s in seen} == set(scenes.SHAPES)
    assert len(seen) == len(scenes.COLOURS) * len(scenes.SHAPES)  # each in at least one size
    assert len({t.kind for scene in some("train") for t in scene.things}) == 2 * len(seen) - len(validation | test)


def test_every_caption_is_right_of_its_scene_and_wrong_of_most_others():
    found = some("train")
    for scene in found:
        captions = scenes.captions(scene, 9)
        assert len(captions) >= 3
        assert all(all(meaning.check(caption, scene).values()) for caption in captions)
    first = scenes.captions(found[0], 1)[0]
    assert sum(meaning.check(first, scene)["exact"] for scene in found) < 5


@pytest.mark.parametrize("shape", scenes.SHAPES)
@pytest.mark.parametrize("side", [64, 128])
def test_things_are_drawn_where_they_are(shape, side):
    thing = Thing("large", "red", shape, 20.0, 40.0, 12.0, 0.1)
    picture = scenes.render(Scene("one", (thing,), (7,)), side).astype(float)
    red = picture[..., 0] - picture[..., 1] > 60
    y, x = np.nonzero(red)
    scale = side / scenes.SIDE
    assert abs(x.mean() / scale - 20) < 1.5
    assert abs(y.mean() / scale - 40) < 2.6  # a triangle weighs more below its middle
    assert np.hypot(x / scale - 20, y / scale - 40).max() < 17
    assert red.sum() > 120 * scale**2


def test_what_lies_in_front_covers_what_lies_behind():
    back = Thing("large", "blue", "circle", 30.0, 30.0, 12.0, 0.0)
    front = Thing("large", "red", "circle", 40.0, 30.0, 12.0, 0.0)
    scene = Scene("pair", (back, front), (1,))
    picture = scenes.render(scene).astype(float)
    assert picture[30, 35, 0] > picture[30, 35, 2]  # the overlap is red
    assert scenes.relations(back, front) == {"behind"}
    kinds = back.kind, front.kind
    assert scenes.true_relations(scene) == {(kinds[0], "behind", kinds[1]), (kinds[1], "in front of", kinds[0])}


PAIR = Scene(
    "pair",
    (
        Thing("small", "red", "circle", 10.0, 30.0, 6.0, 0.0),
        Thing("large", "blue", "square", 45.0, 32.0, 12.0, 0.0),
    ),
    (1,),
)
COUNT = Scene("count", tuple(Thing("small", "green", "cross", 10.0 + 20 * i, 30.0, 6.0, 0.0) for i in range(3)), (1,))


@pytest.mark.parametrize(
    ("scene", "caption", "wrong"),
    [
        (PAIR, "a small red circle is to the left of a large blue square", set()),
        (PAIR, "There is a large blue square to the right of a small red circle", set()),
        (PAIR, "to the right of a small red circle is a large blue square", set()),
        (PAIR, "to the right of a small red circle there is a large blue square", set()),
        (PAIR, "to the left of a small red circle there is a large blue square", {"exact", "relations"}),
        (PAIR, "a small red circle is to the right of a large blue square", {"exact", "relations"}),
        (PAIR, "a small blue circle is to the left of a large red square", {"exact", "attributes", "relations"}),
        (PAIR, "a large red circle is to the left of a large blue square", {"exact", "attributes", "relations"}),
        (PAIR, "a small red circle", {"exact", "objects", "attributes", "relations"}),
        (PAIR, "a small red circle and a large blue square", {"exact", "relations"}),
        (PAIR, "red circle left", {"exact", "objects", "attributes", "relations"}),
        (COUNT, "three small green crosses", set()),
        (COUNT, "a picture of three small green crosses", set()),
        (COUNT, "two small green crosses", {"exact", "objects", "counts"}),
        (COUNT, "three small green circles", {"exact", "objects", "attributes"}),
        (COUNT, "three small green cross", {"exact", "objects", "attributes", "counts"}),
        (COUNT, "three small green crosses and a large red ring", {"exact", "objects", "attributes", "counts"}),
        (COUNT, "", {"exact", "objects", "attributes", "counts"}),
    ],
)
def test_meaning(scene, caption, wrong):
    checked = meaning.check(caption, scene)
    assert {name for name, right in checked.items() if not right} == wrong
