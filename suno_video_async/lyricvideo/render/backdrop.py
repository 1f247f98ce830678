"""What stays still: the blurred background, the cover with its shadow, the title, as three YUV planes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from suno_video_async.lyricvideo.render.errors import RenderError
from suno_video_async.lyricvideo.render.layout import Layout
from suno_video_async.lyricvideo.render.text import SUBROWS, Line, Style, Typesetter

# Pillow annotates its colour management in part.
_cms: Any = ImageCms

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]

TITLE = Style(700, 28.0)
ARTIST = Style(450, 20.0)
BRAND = Style(600, 14.0, tracking=0.16)


@frozen
class Planes:
    """A picture in planar YUV 4:2:0 (BT.709, limited range)."""

    y: Plane
    u: Plane
    v: Plane


@frozen(eq=False)
class Cover:
    """A square RGB picture, and what is wrong with it, in a sentence; empty if nothing is."""

    image: Image.Image
    note: str = ""


def open_cover(path: Path) -> Cover:
    """Read the cover; its colours are converted to sRGB.

    A JPEG that lacks less than half of its rows is used as it is.

    Raises:
        RenderError: it cannot be used.

    """
    try:
        with warnings.catch_warnings():
            # An image that is suspiciously large is refused, not merely reported.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            try:
                return Cover(_decode(path))
            except OSError as error:
                if "truncated" not in str(error):
                    raise
                image = _decode(_completed(path))
                share = _lacking(image)
                if share > 0.5:
                    raise
                return Cover(image, f"the cover {path.name} is cut off: the lowest {share:.0%} of it are missing")
    except FileNotFoundError as error:
        raise RenderError(f"the cover {path.name} does not exist") from error
    except UnidentifiedImageError as error:
        raise RenderError(f"the cover {path.name} is not an image that can be read; use PNG or JPEG") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise RenderError(f"the cover {path.name} has too many pixels; make it smaller") from error
    except Exception as error:  # a broken file makes a decoder raise anything, down to struct.error
        raise RenderError(f"the cover {path.name} is damaged: {error}") from error


def _decode(source: Path | io.BytesIO) -> Image.Image:
    with Image.open(source) as image:
        image.draft("RGB", (2160, 2160))
        image.load()  # pyright: ignore[reportUnknownMemberType]  # Pillow annotates it in part
        return _square(_opaque(_in_srgb(ImageOps.exif_transpose(image))))


def _completed(path: Path) -> io.BytesIO:
    """A JPEG whose end is missing, with the mark that lets the decoder fill the rest with grey."""
    data = path.read_bytes()
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("its end is missing")
    return io.BytesIO(data + b"\xff\xd9")


def _lacking(image: Image.Image) -> float:
    """The share of an image's height that is one colour at the bottom: what a decoder filled in."""
    pixels = np.asarray(image.convert("L"), np.int16)
    same = np.abs(pixels - pixels[-1, 0]).max(axis=1) <= 2
    varied = np.flatnonzero(~same)
    return 1.0 - (int(varied[-1]) + 1) / len(pixels) if varied.size else 1.0


def _in_srgb(image: Image.Image) -> Image.Image:
    """The image in the colours of screens, if it says in which others it is."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in {"RGB", "RGBA", "CMYK", "L"}:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = "RGBA" if image.mode == "RGBA" else "RGB"
        converted: Image.Image = _cms.profileToProfile(
            image, source, _cms.createProfile("sRGB"), outputMode=target
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # a profile of another device, or a broken one
        return image
    return converted


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # 16-bit greys; Pillow's own conversion would clip them.
        grey = np.asarray(image, np.float32)
        grey = grey * (255.0 / max(1.0, 65535.0 if grey.max() > 255 else 255.0))
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        solid = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, (18, 18, 22, 255)), solid).convert("RGB")
    return image.convert("RGB")


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    if side < 1:
        raise ValueError("it is empty")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def paint_backdrop(cover: Image.Image, layout: Layout, words: tuple[str, str, str], setter: Typesetter) -> Planes:
    """Draw all that does not move; `words` are title, artist and brand."""
    canvas = _background(cover, layout)
    _shadow(canvas, layout)
    _place_cover(canvas, cover, layout)
    title, artist, brand = words
    column = layout.words
    rows = title_lines(title, layout, setter)
    for number, line in enumerate(rows):
        baseline = column.title_baseline - layout.title_pitch * (len(rows) - 1 - number)
        _write(canvas, setter, line, (layout.title_em, _left(layout, line, layout.title_em), baseline), 1.0)
    line, scale = setter.shorten(artist, ARTIST, column.width / layout.artist_em)
    em = layout.artist_em * scale
    _write(canvas, setter, line, (em, _left(layout, line, em), column.artist_baseline), 0.68)
    # Of any width, centred on the picture, or on the cover if the lyrics are beside it.
    middle = column.left + column.width / 2 if column.centred else layout.width / 2
    line, scale = setter.shorten(brand.upper(), BRAND, 1.6 * min(middle, layout.width - middle) / layout.brand_em)
    em = layout.brand_em * scale
    _write(canvas, setter, line, (em, middle - line.width * em / 2, layout.brand_baseline), 0.42)
    return to_planes(canvas)


def title_lines(title: str, layout: Layout, setter: Typesetter) -> tuple[Line, ...]:
    """Set the title in the rows that a layout has for it; what does not fit ends in an ellipsis."""
    return setter.block(title, TITLE, layout.words.width / layout.title_em, layout.title_rows)


def _left(layout: Layout, line: Line, em: float) -> float:
    words = layout.words
    return words.left + ((words.width - line.width * em) / 2 if words.centred else 0.0)


def _write(
    canvas: Floats, setter: Typesetter, line: Line, place: tuple[float, float, float], strength: float
) -> None:
    """Draw a line of a size (em) from a left edge on a baseline."""
    em, left, baseline = place
    top, bottom = max(0, int(baseline - 1.3 * em)), min(canvas.shape[0], int(baseline + 0.6 * em) + 1)
    mask = setter.draw([(line, left, baseline - top)], em, (canvas.shape[1], bottom - top))
    alpha = mask.reshape(bottom - top, SUBROWS, -1).mean(axis=1, dtype=np.float32) * (strength / 255.0)
    part = canvas[top:bottom]
    part += (1.0 - part) * alpha[:, :, None]


def _background(cover: Image.Image, layout: Layout) -> Floats:
    """The cover, out of focus, darkened until white text reads well on any part of it."""
    width, height = layout.width, layout.height
    share = 64 / max(width, height)
    size = (max(8, round(share * width)), max(8, round(share * height)))
    small = _crop_like(cover, width, height).resize(size, Image.Resampling.BOX)
    colours = np.asarray(small, np.float32) / 255.0
    colours = _blur(colours, 4.6)
    grey = _luma(colours)[:, :, None]
    bright = float(np.quantile(grey, 0.96))
    # The darkest parts lose most of their colour: restore it.
    colours = np.clip(grey + (colours - grey) * (1.22 + 0.9 * bright**2), 0.0, 1.0, dtype=np.float32)
    bright = float(np.quantile(_luma(colours), 0.96))
    colours *= min(0.62, 0.30 / max(bright, 1e-3))
    colours += np.float32(0.012)
    # In floats up to the final dither: eight bits at this darkness would show steps.
    canvas = np.empty((height, width, 3), np.float32)
    for channel in range(3):
        layer = Image.fromarray(np.ascontiguousarray(colours[:, :, channel]))
        canvas[:, :, channel] = np.asarray(layer.resize((width, height), Image.Resampling.BICUBIC))
    across = np.linspace(-1.0, 1.0, width, dtype=np.float32) ** 2
    down = np.linspace(-1.0, 1.0, height, dtype=np.float32) ** 2
    vignette = 1.0 - 0.42 * np.clip((across[None, :] * 0.7 + down[:, None] * 0.8), 0.0, 1.4)
    canvas *= vignette[:, :, None]
    return np.clip(canvas, 0.0, 1.0, out=canvas)


def _crop_like(image: Image.Image, width: int, height: int) -> Image.Image:
    if width >= height:
        part = round(image.height * height / width)
        top = (image.height - part) // 2
        return image.crop((0, top, image.width, top + max(1, part)))
    part = round(image.width * width / height)
    left = (image.width - part) // 2
    return image.crop((left, 0, left + max(1, part), image.height))


def _blur(pixels: Floats, sigma: float) -> Floats:
    """Gaussian blur of the first two axes, edges repeated."""
    reach = int(3 * sigma) + 1
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        pad = [(0, 0)] * pixels.ndim
        pad[axis] = (reach, reach)
        wide = np.pad(pixels, pad, mode="edge")
        size = pixels.shape[axis]
        blurred = np.zeros_like(pixels)
        for at, weight in enumerate(weights):
            blurred += weight * np.take(wide, range(at, at + size), axis=axis)
        pixels = blurred
    return pixels


def _luma(pixels: Floats) -> Floats:
    weights = np.array([0.2126, 0.7152, 0.0722], np.float32)
    luma: Floats = pixels @ weights
    return luma


def _rounded(size: tuple[int, int], box: tuple[float, float, float, float], radius: float) -> Floats:
    """Coverage of a rounded rectangle (left, top, right, bottom) on a canvas of `size`."""
    width, height = size
    left, top, right, bottom = box
    x = np.arange(width, dtype=np.float32) + 0.5
    y = np.arange(height, dtype=np.float32) + 0.5
    dx = np.maximum(np.abs(x - (left + right) / 2) - (right - left) / 2 + radius, 0.0)
    dy = np.maximum(np.abs(y - (top + bottom) / 2) - (bottom - top) / 2 + radius, 0.0)
    distance = np.hypot(dx[None, :], dy[:, None]) - radius
    cover: Floats = np.clip(0.5 - distance, 0.0, 1.0, dtype=np.float32)
    return cover


def _shadow(canvas: Floats, layout: Layout) -> None:
    height, width = canvas.shape[:2]
    unit, box = layout.unit, layout.cover
    for drop, sigma, strength in ((0.022, 0.034, 0.50), (0.006, 0.008, 0.28)):
        step = max(1, int(sigma * unit / 4))
        shape = (width // step + 1, height // step + 1)
        edges = (box.left, box.top + drop * unit, box.right, box.bottom + drop * unit)
        left, top, right, bottom = (edge / step for edge in edges)
        soft = _blur(_rounded(shape, (left, top, right, bottom), _radius(layout) / step), sigma * unit / step)
        layer = Image.fromarray(soft).resize((shape[0] * step, shape[1] * step), Image.Resampling.BICUBIC)
        shade = np.clip(np.asarray(layer)[:height, :width], 0.0, 1.0)
        canvas *= (1.0 - strength * shade)[:, :, None]


def _radius(layout: Layout) -> float:
    return 0.026 * layout.unit


def _place_cover(canvas: Floats, cover: Image.Image, layout: Layout) -> None:
    box = layout.cover
    sharp = cover.resize((box.width, box.height), Image.Resampling.LANCZOS)
    picture = np.asarray(sharp, np.float32) / 255.0
    size = (box.width, box.height)
    shape = _rounded(size, (0.0, 0.0, float(box.width), float(box.height)), _radius(layout))
    line = max(1.0, layout.unit / 720.0)
    inner = _rounded(size, (line, line, box.width - line, box.height - line), _radius(layout) - line)
    # A hairline of light keeps a dark cover apart from a dark background.
    picture = picture + (1.0 - picture) * ((shape - inner) * 0.16)[:, :, None]
    part = canvas[box.top : box.bottom, box.left : box.right]
    part += (picture - part) * shape[:, :, None]


def to_planes(canvas: Floats, *, seed: int = 7) -> Planes:
    """RGB in 0..1 to dithered YUV 4:2:0."""
    luma = _luma(canvas)
    blue = _halved(canvas[:, :, 2] - luma) * (224.0 / 1.8556) + 128.0
    red = _halved(canvas[:, :, 0] - luma) * (224.0 / 1.5748) + 128.0
    noise = np.random.default_rng(seed)
    return Planes(
        _dithered(luma * 219.0 + 16.0, noise, 16, 235),
        _dithered(blue, noise, 16, 240),
        _dithered(red, noise, 16, 240),
    )


def _halved(plane: Floats) -> Floats:
    height, width = plane.shape
    halved: Floats = plane.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3), dtype=np.float32)
    return halved


def _dithered(plane: Floats, noise: np.random.Generator, low: int, high: int) -> Plane:
    """Rounded with triangular noise of one step: gradients keep no edges to see."""
    grain = noise.random(plane.shape, np.float32) - np.float32(0.5)
    return np.clip(np.rint(plane + grain), low, high).astype(np.uint8)
