"""Pictures from files, made square, in bounded memory. Pillow is imported when it is needed."""

import io
from pathlib import Path

import numpy as np

from ..core.errors import DataError, MissingExtra

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm")
MOST_PIXELS = 120_000_000  # as decoded: 360 MB of RGB
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # EXIF orientation -> Pillow's Transpose


def read(source: Path | bytes, side: int, name: str = "") -> np.ndarray:
    """The picture as uint8 (side, side, 3): turned as its camera says and resized whole, its sides made equal.

    Grey, CMYK, palette, transparent (over white) and 16-bit pictures become RGB. JPEG is decoded at the smallest scale
    that is large enough, so that 100 megapixels take a few megabytes.

    Args:
        source: a file, or the content of one, which messages call `name`.
    """
    return _read(source, side, name)[0]


def preview(source: Path, side: int = 480) -> np.ndarray:
    """The picture as uint8 (height, width, 3) in its own proportions, its longer side of `side` pixels; to look at."""
    Image = _pillow()
    square, (width, height) = _read(source, side, "")
    size = (side, max(1, side * height // width)) if width >= height else (max(1, side * width // height), side)
    return np.asarray(Image.fromarray(square).resize(size, Image.Resampling.BILINEAR))


def _read(source: Path | bytes, side: int, name: str) -> tuple[np.ndarray, tuple[int, int]]:
    """As `read`, with the picture's width and height after turning."""
    if isinstance(source, Path) and (exact := _exact_ppm(source, side)) is not None:
        return exact, (side, side)
    Image = _pillow()
    name = name or str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
            image.draft("RGB", (side, side))
            if image.size[0] * image.size[1] > MOST_PIXELS:
                raise DataError(
                    f"{name}: {width} × {height} pixels; expected at most {MOST_PIXELS // 1_000_000} million: "
                    "save it smaller, or as JPEG"
                )
            image = _rgb(Image, image, side)
            image = image if turn is None else image.transpose(turn)
            size = (height, width) if turn is not None and turn in (2, 4, 5, 6) else (width, height)
            return np.asarray(image), size
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except Exception as error:  # Pillow's readers raise many kinds: OSError, SyntaxError, struct.error, ValueError, …
        raise DataError(f"{name}: not a readable picture ({_reason(error)})") from None


def _exact_ppm(path: Path, side: int) -> np.ndarray | None:
    """A PPM file of just that size, which needs no Pillow: a bundle's own example. None for anything else."""
    if path.suffix != ".ppm" or not path.is_file():
        return None
    head, content = b"P6\n%d %d\n255\n" % (side, side), path.read_bytes()
    if not content.startswith(head) or len(content) != len(head) + 3 * side * side:
        return None
    return np.frombuffer(content, np.uint8, offset=len(head)).reshape(side, side, 3)


def _pillow():
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise MissingExtra("reading pictures", "image") from None
    Image.MAX_IMAGE_PIXELS = None  # the size is checked here, before a pixel is decoded
    return Image


def _rgb(Image, image, side: int):
    """In RGB and of (side, side); resized before it is converted where the mode allows it, to save memory."""
    if image.mode in _DEEP:
        image = _shallow(Image, image, side)
    if image.mode not in ("L", "RGB", "CMYK", "RGBA"):
        image = image.convert("RGBA" if image.mode in ("LA", "PA") or "transparency" in image.info else "RGB")
    image = image.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return image.convert("RGB")


def _shallow(Image, image, side: int):
    """A picture of 16 or 32 bits, or of floats, as 8-bit grey."""
    step = max(min(image.size) // (4 * side), 1)
    values = np.asarray(image)[::step, ::step].astype(np.float32)
    most = values.max(initial=0)
    top = 1.0 if image.mode == "F" and most <= 1 else 255.0 if image.mode in ("I", "F") and most <= 255 else 65535.0
    return Image.fromarray(np.clip(255 * values / top, 0, 255).astype(np.uint8))


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    return "of no format that is known" if text.startswith("cannot identify") else text[:80] or type(error).__name__


def write(picture: np.ndarray, path: Path) -> None:
    """Writes uint8 (height, width, 3) in the format of the suffix."""
    _pillow().fromarray(picture).save(path)
