"""The fonts for text: the vendored ones, and that of the extra `cjk` if it is installed.

Fonts of the machine are never used, so that a video looks the same on every machine.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from importlib import resources
from typing import Any, Final

from attrs import define, field

from suno_video_async.lyricvideo.scripts import Region, has_cjk

# The library ships no type information; through `Any` it needs no ignore at each call.
_hb: Any = importlib.import_module("uharfbuzz")

FONT_FILES: Final = ("Inter.ttf", "NotoSansArabic.ttf")
CJK: Final = len(FONT_FILES)
"""The number of the face for Chinese, Japanese and Korean."""
_COLLECTION: Final = "NotoSansCJK-VF.otf.ttc"
_PLACES: Final[dict[Region, int]] = {"JP": 0, "KR": 1, "SC": 2, "TC": 3, "HK": 4}
"""Of the regions' faces within the collection."""


@define
class Faces:
    """The faces by number; that of CJK, in the forms of a region, is opened when a letter first needs it."""

    region: Region = "SC"
    _vendored: tuple[Any, ...] = field(init=False, factory=lambda: tuple(_load(name) for name in FONT_FILES))
    _count: int = field(init=False, factory=lambda: len(FONT_FILES) + has_cjk())

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> Any:
        return self._cjk if number == CJK else self._vendored[number]

    @cached_property
    def _cjk(self) -> Any:
        # From the file itself, which the system maps: 33 MB of which a song needs a little.
        path = resources.files("manimgx_fonts_cjk").joinpath(_COLLECTION)
        with resources.as_file(path) as file:
            return _hb.Face(_hb.Blob.from_file_path(str(file)), _PLACES[self.region])


def _load(name: str) -> Any:
    data = resources.files(__name__.rpartition(".")[0]).joinpath("fonts", name).read_bytes()
    return _hb.Face(_hb.Blob(data))
