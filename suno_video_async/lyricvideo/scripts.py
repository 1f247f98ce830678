"""What a letter is, as far as fonts care: its name for people, and which of the CJK faces draws it.

Importing this needs no extra.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final, Literal

Region = Literal["JP", "KR", "SC", "TC", "HK"]

#: What to do about other letters that no font has.
FIX: Final = (
    "install suno-video-async[fonts] or your system's Noto fonts (Debian: fonts-noto-core,"
    " fonts-noto-color-emoji), or name a font with --font FILE"
)
VARIANTS: Final = frozenset("\u200c\u200d\ufe0e\ufe0f\u20e3") | {chr(0x1F3FB + tone) for tone in range(5)}
"""What changes or joins the letters around it."""

#: How the names of CJK letters in Unicode begin.
_CJK: Final = (
    "CJK ",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH",
    "FULLWIDTH",
    "HANGUL",
    "BOPOMOFO",
    "IDEOGRAPHIC",
    "KANGXI",
)
_PACKAGES: Final = ("manimgx_fonts_cjk", "uniseg", "budoux")
_REGIONS: Final[dict[str, Region]] = {"ja": "JP", "ko": "KR", "yue": "HK"}


def with_code_points(letters: Iterable[str]) -> str:
    """Return letters with their code points, so that they can be found even if no font shows them."""
    return " ".join(f"{letter} (U+{ord(letter):04X})" for letter in letters)


def has_cjk() -> bool:
    """Whether the extra `cjk` is installed."""
    return all(find_spec(package) is not None for package in _PACKAGES)


def is_cjk(letter: str) -> bool:
    """Whether a letter is Chinese, Japanese or Korean."""
    return unicodedata.name(letter, "").startswith(_CJK)


def left_out(letters: Iterable[str], *, most: int | None = None) -> str:
    """Return a sentence on letters that no font has: which, and which of them the extra adds."""
    letters = list(letters)
    shown = with_code_points(letters[:most])
    text = f"no font has {len(letters)} of its letters, and the video leaves them out: {shown}"
    wide = [letter for letter in letters if is_cjk(letter)]
    if wide and not has_cjk():
        text += "; for Chinese, Japanese and Korean install suno-video-async[cjk]"
    if len(wide) < len(letters):
        text += f"; {FIX}"
    return text


def cjk_region(language: str, texts: Iterable[str]) -> Region:
    """Return whose forms of the shared ideographs to draw.

    Args:
        language: a language tag, such as `ja` or `zh-Hant`; anything else counts as unknown.
        texts: to be drawn. If the language is unknown, kana are Japanese, Hangul is Korean, and the rest is
            taken for simplified Chinese.

    """
    first, *rest = language.lower().replace("_", "-").split("-")
    if first == "zh":
        return "HK" if "hk" in rest or "mo" in rest else "TC" if "tw" in rest or "hant" in rest else "SC"
    if first in _REGIONS:
        return _REGIONS[first]
    names = [unicodedata.name(letter, "") for text in texts for letter in text]
    if any(name.startswith(("HIRAGANA", "KATAKANA")) for name in names):
        return "JP"
    return "KR" if any(name.startswith("HANGUL") for name in names) else "SC"
