"""Pictures and captions as people keep them, whole and broken."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elman.apps.captioning import images, reading
from elman.apps.core.errors import DataError, ElmanError

REAL = Path(__file__).parents[4] / "shared/data/captioning"
GRADIENT = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)


def saved(tmp_path, name, image, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_a_bundles_example_needs_no_pillow(tmp_path, monkeypatch):
    rgb = np.dstack([GRADIENT, GRADIENT[::-1], 255 - GRADIENT])[:32, :32]
    images.write(rgb, tmp_path / "example.ppm")
    (tmp_path / "cut.ppm").write_bytes((tmp_path / "example.ppm").read_bytes()[:-1])
    monkeypatch.setitem(sys.modules, "PIL", None)
    np.testing.assert_array_equal(images.read(tmp_path / "example.ppm", 32), rgb)
    for other, side in (("example.ppm", 16), ("cut.ppm", 32)):
        with pytest.raises(ElmanError, match=r"pip install 'elman\[image\]'"):
            images.read(tmp_path / other, side)


def test_every_mode_becomes_rgb(tmp_path):
    rgb = np.dstack([GRADIENT, GRADIENT[::-1], 255 - GRADIENT])
    cases = {
        "rgb.png": Image.fromarray(rgb),
        "rgb.jpg": Image.fromarray(rgb),
        "grey.png": Image.fromarray(GRADIENT),
        "cmyk.jpg": Image.fromarray(rgb).convert("CMYK"),
        "palette.png": Image.fromarray(rgb).convert("P"),
        "palette.gif": Image.fromarray(rgb).convert("P"),
        "one-bit.png": Image.fromarray(GRADIENT > 40),
        "deep.png": Image.fromarray(GRADIENT.astype(np.uint16) * 655),
        "deep.tif": Image.fromarray(GRADIENT.astype(np.uint16) * 655),
        "alpha.png": Image.fromarray(np.dstack([rgb, 255 - GRADIENT])),
        "grey-alpha.png": Image.fromarray(GRADIENT).convert("LA"),
        "float.tif": Image.fromarray(GRADIENT.astype(np.float32) / 100),
    }
    for name, image in cases.items():
        found = images.read(saved(tmp_path, name, image), 32)
        assert found.shape == (32, 32, 3), name
        assert found.dtype == np.uint8, name
        assert found.std() > 10, name
    deep, plain = (images.read(tmp_path / n, 32).astype(float) for n in ("deep.png", "grey.png"))
    np.testing.assert_allclose(deep, plain * 655 / 257, atol=3)


def test_transparent_is_white(tmp_path):
    clear = np.zeros((8, 8, 4), np.uint8)
    assert (images.read(saved(tmp_path, "clear.png", Image.fromarray(clear)), 16) == 255).all()


def test_cameras_orientation_is_followed(tmp_path):
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = 255  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what was left is on top
    path = saved(tmp_path, "turned.png", Image.fromarray(picture), exif=exif)
    found = images.read(path, 32).mean(axis=2)
    assert found[:8].mean() > 250
    assert found[-8:].mean() < 5
    assert images.preview(path).shape[:2] == (480, 320)


def test_one_pixel(tmp_path):
    path = saved(tmp_path, "dot.png", Image.fromarray(np.full((1, 1, 3), 7, np.uint8)))
    assert (images.read(path, 16) == 7).all()


def test_what_is_no_picture_is_named(tmp_path):
    whole = saved(tmp_path, "whole.png", Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), "u1")))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("cut.png", "text.jpg", "empty.png"):
        with pytest.raises(DataError, match=f"{name}: not a readable picture"):
            images.read(tmp_path / name, 32)
    with pytest.raises(DataError, match="no such file"):
        images.read(tmp_path / "absent.png", 32)
    with pytest.raises(DataError, match="not a readable picture"):
        images.read(tmp_path, 32)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path):
    path = saved(tmp_path, "huge.png", Image.new("1", (20_000, 10_000)))
    with pytest.raises(DataError, match="20000 × 10000 pixels; expected at most 120 million"):
        images.read(path, 32)


def folder(tmp_path, names=("a.jpg", "b.jpg", "c.jpg")):
    (tmp_path / "images").mkdir()
    for name in names:
        Image.fromarray(GRADIENT).save(tmp_path / "images" / name)
    return tmp_path


def captions(found):
    return {p.name: p.captions for p in found.pictures}


def test_csv_names_what_it_leaves_out(tmp_path):
    text = 'image,caption\na.jpg,"A dog, running"\na.jpg,a dog, brown, runs\nb.jpg,  \nabsent.jpg,a cat\nc.jpg,.\n\n'
    (folder(tmp_path) / "captions.csv").write_text(text)
    found = reading.read(str(tmp_path))
    assert captions(found) == {"a.jpg": ["A dog, running", "a dog,brown,runs"]}
    assert found.skipped == [
        "captions.csv, row 4: b.jpg: an empty caption",
        "captions.csv, row 5: absent.jpg: no such picture beside captions.csv",
        "captions.csv, row 6: c.jpg: an empty caption",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "image_name| comment_number| comment\na.jpg| 0| A dog .\na.jpg| 1| Two dogs .\nb.jpg| 0| A cat .\n",
        "image\tcaption\na.jpg\tA dog .\na.jpg\tTwo dogs .\nb.jpg\tA cat .\n",
        "\ufeffcaption,image\nA dog .,a.jpg\nTwo dogs .,images/a.jpg\nA cat .,b.jpg\n",
    ],
)
def test_other_tables(tmp_path, text):
    (folder(tmp_path) / "captions.csv").write_text(text, encoding="utf-8")
    found = captions(reading.read(str(tmp_path / "captions.csv")))
    assert sorted(c for group in found.values() for c in group) == ["A cat .", "A dog .", "Two dogs ."]


def test_flickr8k(tmp_path):
    folder(tmp_path)
    (tmp_path / "Flickr8k.token.txt").write_text("a.jpg#0\tA dog .\na.jpg#1\tA brown dog .\nb.jpg#0\tA cat .\n")
    (tmp_path / "Flickr_8k.trainImages.txt").write_text("a.jpg\n")
    (tmp_path / "Flickr_8k.devImages.txt").write_text("b.jpg\n")
    found = reading.read(str(tmp_path))
    assert captions(found) == {"a.jpg": ["A dog .", "A brown dog ."], "b.jpg": ["A cat ."]}
    assert {p.name: p.split for p in found.pictures} == {"a.jpg": "train", "b.jpg": "validation"}


def test_coco_and_karpathy(tmp_path):
    folder(tmp_path)
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "gone.jpg"}],
        "annotations": [{"id": 1, "image_id": 7, "caption": "A dog"}, {"id": 2, "image_id": 8, "caption": "A cat"}],
    }
    (tmp_path / "captions.json").write_text(json.dumps(coco))
    found = reading.read(str(tmp_path))
    assert captions(found) == {"a.jpg": ["A dog"]}
    assert found.skipped == ["captions.json, annotation 2: gone.jpg: no such picture beside captions.json"]
    entries = [{"filename": "a.jpg", "filepath": "images", "split": "val", "sentences": [{"raw": "A dog"}]}]
    (tmp_path / "dataset.json").write_text(json.dumps({"images": entries}))
    found = reading.read(str(tmp_path / "dataset.json"))
    assert [(p.name, p.split) for p in found.pictures] == [("images/a.jpg", "validation")]


def test_coco_as_it_is_unpacked(tmp_path):
    """annotations/captions_train2017.json and captions_val2017.json, pictures in folders of the splits."""
    (tmp_path / "annotations").mkdir()
    for split, name in (("train", "a.jpg"), ("val", "b.jpg")):
        (tmp_path / f"{split}2017").mkdir()
        Image.fromarray(GRADIENT).save(tmp_path / f"{split}2017" / name)
        coco = {"images": [{"id": 1, "file_name": name}], "annotations": [{"image_id": 1, "caption": f"A {split}"}]}
        (tmp_path / "annotations" / f"captions_{split}2017.json").write_text(json.dumps(coco))
    found = reading.read(str(tmp_path))
    assert captions(found) == {"a.jpg": ["A train"], "b.jpg": ["A val"]}
    assert {p.name: p.split for p in found.pictures} == {"a.jpg": "train", "b.jpg": "validation"}
    one = reading.read(str(tmp_path / "annotations/captions_val2017.json"))
    assert [(p.name, p.split) for p in one.pictures] == [("b.jpg", "")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.csv", b"picture,words\na.jpg,x\n", "row 1: expected the columns image,caption"),
        ("captions.csv", b"", "row 1: expected the columns"),
        ("captions.csv", b"image,caption\n", "no caption with a picture; the file is empty"),
        ("captions.csv", b"image,caption\nz.jpg,x\n", "row 2: z.jpg: no such picture"),
        ("captions.csv", b"image,caption\na.jpg,caf\xe9\n", "not UTF-8 text"),
        ("x.token", b"a.jpg no tab\n", "x.token, row 1: expected NAME#NUMBER, a tab and a caption"),
        ("captions.json", b"{", "not valid JSON"),
        ("captions.json", b'{"images": [{"id": 1}], "annotations": []}', "not COCO's layout"),
        ("captions.json", b"[]", "not COCO's layout"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, name, content, message):
    (folder(tmp_path) / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        reading.read(str(tmp_path / name))


def test_splits_file(tmp_path):
    (folder(tmp_path) / "captions.csv").write_text("image,caption\na.jpg,x\nb.jpg,y\n")
    (tmp_path / "splits.csv").write_text("image,split\na.jpg,train\nb.jpg,dev\n")
    assert {p.name: p.split for p in reading.read(str(tmp_path)).pictures} == {"a.jpg": "train", "b.jpg": "test"}
    (tmp_path / "splits.csv").write_text("image,split\na.jpg,holdout\n")
    with pytest.raises(DataError, match=r"splits.csv, row 2: expected image,split with train, val or test"):
        reading.read(str(tmp_path))


@pytest.mark.skipif(not REAL.exists(), reason="the real data are not there (../shared)")
def test_the_real_data_are_read_whole():
    found = reading.read(str(REAL))
    assert len(found.pictures) == 875
    assert not found.skipped
    assert sum(len(p.captions) for p in found.pictures) == 4375
    splits = [p.split for p in found.pictures]
    assert (splits.count("train"), splits.count("test")) == (762, 113)
