"""Pictures: what is rendered, what a model sees of them, and the files that they come in."""

import json

import numpy as np
import pytest
from PIL import Image

from elman.apps.core.errors import DataError
from elman.apps.handwriting import augment, images, pictures, scan
from elman.apps.handwriting.ink import make_ink
from elman.apps.handwriting.pictures import Picture

from .lines import written


def test_ink_is_dark_where_the_pen_went():
    ink = make_ink([[[0, 0], [100, 0]], [[50, -20], [50, 20]]], name="cross")
    picture = images.render(ink, 40, 4)
    row, column = picture.shape[0] // 2, picture.shape[1] // 2
    assert picture[row, 10:-10].max() < 0.05
    assert picture[10:-10, column].max() < 0.05
    assert picture[5, 10] == 1
    across = 1 - picture[:, column // 2]
    assert 3.5 < across.sum() < 5.5  # the width of the pen


def test_a_picture_beyond_all_size_is_refused():
    ink = make_ink([[[0, 0], [1e6, 0]], [[0, 0], [0, 1]]], name="long")
    assert images.render(ink, 30, 2).size < images.MOST_PIXELS
    ink = make_ink([[[0, 0], [1, 1]]], name="square")
    with pytest.raises(ValueError, match="at most 40,000,000 pixels"):
        images.render(ink, 50_000, 2)


@pytest.mark.parametrize("shape", [(10, 7), (40, 33), (5, 90)])
def test_resizing_keeps_the_mean_and_a_constant(shape):
    picture = np.random.default_rng(0).random((20, 30))
    for target in (shape, (20, 30)):
        found = images.resize(picture, *target)
        assert found.shape == target
        assert found.mean() == pytest.approx(picture.mean(), abs=0.03)
    np.testing.assert_allclose(images.resize(np.full((20, 30), 0.3), *shape), 0.3)
    exact = picture.reshape(10, 2, 15, 2).mean((1, 3))
    np.testing.assert_allclose(images.resize(picture, 10, 15), exact)


def test_weather_and_variation_leave_a_picture():
    rng = np.random.default_rng(0)
    (ink,) = written(1, length=10)
    clean = images.render(ink, 40, 3)
    before = scan.prepare(clean, 32, 2)
    for _ in range(10):
        worn = images.weather(clean, rng)
        assert worn.shape == clean.shape
        assert 0 <= worn.min() <= worn.max() <= 1
        found = scan.prepare(worn, 32, 2)
        width = min(len(found), len(before))
        assert abs(len(found) - len(before)) < 0.25 * len(before)
        assert (
            np.corrcoef(images.resize(found, width, 32).ravel(), images.resize(before, width, 32).ravel())[0, 1] > 0.3
        )
        varied = augment.vary(Picture(worn), rng)
        assert np.isfinite(varied.pixels).all()
        assert varied.pixels.shape != worn.shape


def save(path, pixels, mode="L"):
    Image.fromarray((255 * pixels).astype(np.uint8)).convert(mode).save(path)


def test_a_folder_of_pictures_with_texts(tmp_path):
    pixels = np.random.default_rng(1).random((20, 50))
    for name in ("a.png", "b.jpg", "c.bmp"):
        save(tmp_path / name, pixels)
    (tmp_path / "a.txt").write_text("first é\n")
    (tmp_path / "lines.csv").write_text("file,text,writer,split\nb.jpg,second,w1,test\n")
    found, skipped = pictures.read(tmp_path)
    assert not skipped
    assert [(p.text, p.writer, p.split) for p in found] == [
        ("first é", "", ""),
        ("second", "w1", "test"),
        (None, "", ""),
    ]
    np.testing.assert_allclose(found[0].pixels, pixels, atol=1 / 250)


def test_transparent_paper_is_white(tmp_path):
    image = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    image.putpixel((5, 5), (0, 0, 0, 255))
    image.save(tmp_path / "t.png")
    pixels = pictures.read_file(tmp_path / "t.png").pixels
    assert pixels[0, 0] == 1
    assert pixels[5, 5] == 0


def test_broken_pictures_are_refused(tmp_path):
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nnonsense")
    save(tmp_path / "half.png", np.random.default_rng(2).random((200, 300)))
    whole = (tmp_path / "half.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "note.txt").write_text("x")
    (tmp_path / "p.json").write_text(json.dumps({"picture": [[0.1, "x"]]}))
    for name in ("x.png", "half.png", "p.json"):
        with pytest.raises(DataError, match=name):
            pictures.read_file(tmp_path / name)
    with pytest.raises(DataError, match="expected a picture"):
        pictures.read_file(tmp_path / "note.txt")


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path):
    Image.new("1", (30_000, 20_000)).save(tmp_path / "big.png")
    with pytest.raises(DataError, match=r"big\.png"):
        pictures.read_file(tmp_path / "big.png")
