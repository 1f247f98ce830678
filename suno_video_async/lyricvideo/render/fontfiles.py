"""Where fonts for letters are that the vendored ones lack: on this machine, or in the packages of an extra.

Nothing of a package is imported: its folder is looked up, and its font files are opened by name.
"""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

# The library ships no type information; through `Any` it needs no ignore at each call.
_hb: Any = importlib.import_module("uharfbuzz")

PACKAGES: Final = (
    "justmytype_intl_rtl",
    "justmytype_intl_south_asia",
    "justmytype_intl_sea",
    "justmytype_intl_africa",
)
"""Those of the extra `fonts`: Noto faces of Hebrew; Bengali, Devanagari, Tamil, Telugu; Khmer, Lao, Burmese, Thai;
Ethiopic. Licence of the faces: OFL 1.1."""
_SUFFIXES: Final = frozenset({".ttf", ".otf", ".ttc", ".otc"})
_PATIENCE: Final = 20.0
"""Seconds for fontconfig, which builds its cache at its first run."""
_MOST: Final = 20_000
"""Files looked at; a machine with more is a font library."""
#: Faces of one width, for another purpose, or that state every letter and draw boxes.
_UNSUITED: Final = re.compile(
    r"italic|oblique|mono|condensed|serif|looped|nastaliq|unjoined|display|thin|light|black|lastresort|unifont|"
    r"sansui|[a-z]ui-|fallback|bitmap",
    re.IGNORECASE,
)
_BOLD: Final = re.compile(r"wght|\bvf\b|-vf|variable|bold|b\.ttf$", re.IGNORECASE)


def machine_fonts() -> tuple[Path, ...]:
    """The font files of this machine: those that fontconfig knows, or all in the usual folders."""
    command = shutil.which("fc-list")
    if command is not None:
        try:
            listed = subprocess.run(  # noqa: S603  an absolute path and fixed arguments
                [command, "--format=%{file}\\n"], capture_output=True, timeout=_PATIENCE, check=True
            )
        except (OSError, subprocess.SubprocessError):
            pass
        else:
            return _usable(map(Path, os.fsdecode(listed.stdout).splitlines()))
    return _usable(file for folder in _folders() for file in _walk(folder))


def packaged_fonts() -> tuple[Path, ...]:
    """The font files of the extra `fonts`, as far as it is installed."""
    found: list[Path] = []
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in spec.submodule_search_locations or () if spec else ():
            found += _walk(Path(folder))
    return _usable(found)


@cache
def candidates() -> tuple[Path, ...]:
    """All font files that may be used, the most suitable ones first; looked up once."""
    return (*machine_fonts(), *packaged_fonts())


@cache
def face_of(path: Path, number: int = 0) -> Any | None:
    """The face of a file, mapped into memory; None if it cannot be opened or has no letters."""
    try:
        face = _hb.Face(_hb.Blob.from_file_path(str(path)), number)
    except Exception:  # the library has an exception of its own for a file that is not there
        return None
    return face if face.glyph_count > 1 else None


def face_with(letter: str, *, fits: Callable[[Any], bool] | None = None) -> Any | None:
    """A face that has a letter and fits, from the machine or from the extra; None if there is none."""
    for path in candidates():
        face = face_of(path)
        if face is not None and _hb.Font(face).get_nominal_glyph(ord(letter)) and (fits is None or fits(face)):
            return face
    return None


def _folders() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield Path(os.environ.get("LOCALAPPDATA", str(home))) / "Microsoft" / "Windows" / "Fonts"
    elif sys.platform == "darwin":
        yield from (home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts"))
    else:
        yield from (home / ".local/share/fonts", home / ".fonts")
        yield from (Path("/usr/local/share/fonts"), Path("/usr/share/fonts"))


def _walk(folder: Path) -> Iterator[Path]:
    for root, _, files in os.walk(folder):
        yield from (Path(root, file) for file in files)


def _usable(files: Iterable[Path]) -> tuple[Path, ...]:
    """Those of a kind that can be drawn, in the order in which they are tried."""
    kept: set[Path] = set()
    for file in files:
        if file.suffix.lower() in _SUFFIXES:
            kept.add(file)
        if len(kept) == _MOST:
            break
    return tuple(sorted(kept, key=_rank))


def _rank(path: Path) -> tuple[bool, bool, bool, str]:
    """Lyrics are set in a bold face without serifs, if possible of the family that the vendored faces go with."""
    name = path.name
    return _UNSUITED.search(name) is not None, "NotoSans" not in name, _BOLD.search(name) is None, str(path)
