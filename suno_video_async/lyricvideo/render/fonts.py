"""The faces for text, in the order in which a letter is looked for in them.

The fonts that the caller names, then the vendored ones, that of the extra `cjk`, and for letters that none of
these has the fonts of the machine and those of the extra `fonts`. So Latin, Greek, Cyrillic and Arabic look the
same on every machine.
"""

from __future__ import annotations

import hashlib
import importlib
from functools import cache, cached_property
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from suno_video_async.lyricvideo.render.errors import RenderError
from suno_video_async.lyricvideo.render.fontfiles import face_of, face_with
from suno_video_async.lyricvideo.scripts import Region, has_cjk

# The library ships no type information; through `Any` it needs no ignore at each call.
_hb: Any = importlib.import_module("uharfbuzz")

FONT_FILES: Final = ("Inter.ttf", "NotoSansArabic.ttf")
CJK: Final = len(FONT_FILES)
"""The number of the face for Chinese, Japanese and Korean."""
_PACKAGE: Final = "manimgx_fonts_cjk"
_COLLECTION: Final = "NotoSansCJK-VF.otf.ttc"
_SHA256: Final = {
    "Inter.ttf": "29160a80ff49ddcab2c97711247e08b1fab27a484a329ce8b813d820dc559031",
    "NotoSansArabic.ttf": "63111b5b2e074dd48cc67692e0a2726d86ee94c1c37fe8598257b7b4e87e869e",
    _COLLECTION: "d3d8256cdec8dbcb3552284bc6b20c734dd60c2ee9df83b5758e34807c4bac32",
}
"""Of the files that were looked at: fonts are programs, in a way, and a library in C reads them."""
_PLACES: Final[dict[Region, int]] = {"JP": 0, "KR": 1, "SC": 2, "TC": 3, "HK": 4}
"""Of the regions' faces within the collection."""
_FIX: Final = "install suno-video-async and its extras again"


@define
class Faces:
    """The faces by number: the vendored ones, that of CJK, those that were named, and those that were found.

    That of CJK, in the forms of a region, is opened when a letter first needs it.

    Args:
        region: whose forms of the shared ideographs.
        fonts: files that go before all others.

    Raises:
        RenderError: one of them is not a font.

    """

    region: Region = "SC"
    fonts: tuple[Path, ...] = ()
    _others: list[Any] = field(init=False, factory=list[Any])
    _vendored: tuple[Any, ...] = field(init=False, factory=lambda: tuple(_load(name) for name in FONT_FILES))
    _order: list[int] = field(init=False)
    _numbers: dict[str, int | None] = field(init=False, factory=dict[str, "int | None"])

    def __attrs_post_init__(self) -> None:
        for path in self.fonts:
            face = face_of(path)
            if face is None:
                raise RenderError(f"{path} is not a font that can be read; give a TrueType or OpenType file")
            self._others.append(face)
        named = [CJK + 1 + number for number in range(len(self._others))]
        self._order = [*named, *range(len(FONT_FILES)), *([CJK] if has_cjk() else [])]

    def __getitem__(self, number: int) -> Any:
        if number < len(FONT_FILES):
            return self._vendored[number]
        return self._cjk if number == CJK else self._others[number - CJK - 1]

    def has(self, number: int, letter: str) -> bool:
        """Whether a face has a letter."""
        return bool(_hb.Font(self[number]).get_nominal_glyph(ord(letter)))

    def of(self, letter: str, *, as_emoji: bool = False) -> int | None:
        """The first face that has a letter, or None; as an emoji, the first one in colour."""
        key = f"{letter}\ufe0f" if as_emoji else letter
        if key not in self._numbers:
            self._numbers[key] = self._find(letter, as_emoji=as_emoji)
        return self._numbers[key]

    def _find(self, letter: str, *, as_emoji: bool) -> int | None:
        for number in self._order:
            if self.has(number, letter) and (not as_emoji or is_coloured(self[number])):
                return number
        face = face_with(letter, fits=is_coloured if as_emoji else None)
        if face is None:
            return self.of(letter) if as_emoji else None
        self._others.append(face)
        self._order.append(CJK + len(self._others))
        return self._order[-1]

    @cached_property
    def _cjk(self) -> Any:
        # From the file itself, which the system maps: 33 MB of which a song needs a little.
        return _hb.Face(_hb.Blob.from_file_path(str(_collection())), _PLACES[self.region])


def is_coloured(face: Any) -> bool:
    """Whether a face has pictures in colour, as those of emoji do."""
    return bool(face.has_color_png or face.has_color_layers or face.has_color_paint)


def _load(name: str) -> Any:
    data = resources.files(__name__.rpartition(".")[0]).joinpath("fonts", name).read_bytes()
    _check(name, hashlib.sha256(data).hexdigest())
    return _hb.Face(_hb.Blob(data))


@cache
def _collection() -> Path:
    """Return the font of the extra, whose package is found without running any of its code."""
    spec = find_spec(_PACKAGE)
    folders = (spec.submodule_search_locations if spec is not None else None) or ()
    for path in (Path(folder, _COLLECTION) for folder in folders):
        if path.is_file():
            with path.open("rb") as file:
                _check(_COLLECTION, hashlib.file_digest(file, "sha256").hexdigest())
            return path
    raise RenderError(f"the package {_PACKAGE} has no font {_COLLECTION}: {_FIX}")


def _check(name: str, found: str) -> None:
    """Refuse a font that is another one than it should be.

    Raises:
        RenderError: it is.

    """
    if found != _SHA256[name]:
        raise RenderError(f"the font {name} is not the one that belongs here (SHA-256 {found[:16]}…): {_FIX}")
