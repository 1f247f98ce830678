"""Letters of many scripts: which face draws them, and what is said of one that none has."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from suno_video_async.lyricvideo.render import fontfiles
from suno_video_async.lyricvideo.render.breaking import clusters
from suno_video_async.lyricvideo.render.errors import RenderError
from suno_video_async.lyricvideo.render.fonts import FONT_FILES, Faces
from suno_video_async.lyricvideo.render.scene import LYRIC
from suno_video_async.lyricvideo.render.text import Typesetter
from suno_video_async.lyricvideo.scripts import FIX, left_out

#: A line in each script that the fonts of the extra draw.
PACKAGED = {
    "Hebrew": "שלום עולם",
    "Thai": "สวัสดีชาวโลก",
    "Lao": "ສະບາຍດີຊາວໂລກ",
    "Khmer": "សួស្តីពិភពលោក",
    "Burmese": "မင်္ဂလာပါ ကမ္ဘာ",
    "Devanagari": "नमस्ते दुनिया क्षत्रिय",
    "Bengali": "আমার সোনার বাংলা",
    "Tamil": "வணக்கம் உலகம்",
    "Telugu": "నమస్కారం ప్రపంచం",
    "Ethiopic": "ሰላም ለዓለም",
}
#: And in those that only the machine's fonts do: Debian's fonts-noto-core and fonts-noto-color-emoji.
MACHINE = {
    "Gujarati": "નમસ્તે દુનિયા",
    "Gurmukhi": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ",
    "Kannada": "ನಮಸ್ಕಾರ ಜಗತ್ತು",
    "Malayalam": "നമസ്കാരം ലോകം",
    "Sinhala": "ආයුබෝවන් ලෝකය",
    "Georgian": "გამარჯობა მსოფლიო",
    "Armenian": "Բարեւ աշխարհ",
    "emoji": "Hello 👋🏽 👨\u200d👩\u200d👧 ❤\ufe0f 🇩🇪",
}


@pytest.fixture
def packages_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine have no fonts."""
    monkeypatch.setattr(fontfiles, "machine_fonts", lambda: ())
    fontfiles.candidates.cache_clear()
    yield
    fontfiles.candidates.cache_clear()


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let there be only the vendored fonts."""
    monkeypatch.setattr(fontfiles, "candidates", lambda: ())


@pytest.mark.usefixtures("packages_alone")
@pytest.mark.parametrize("text", PACKAGED.values(), ids=PACKAGED)
def test_the_fonts_of_the_extra_draw_their_scripts(text: str) -> None:
    """On a machine without any font."""
    setter = Typesetter()
    line = setter.shape(text, LYRIC)
    assert setter.missing == ()
    assert any(glyph.face >= len(FONT_FILES) for glyph in line.glyphs)
    assert setter.draw([(line, 8.0, 40.0)], 24.0, (600, 60)).any()


@pytest.mark.skipif(
    not os.environ.get("CI") and not any("Noto" in path.name for path in fontfiles.machine_fonts()),
    reason="this machine has no Noto fonts; in CI they are installed",
)
@pytest.mark.parametrize("text", [*PACKAGED.values(), *MACHINE.values()], ids=[*PACKAGED, *MACHINE])
def test_the_fonts_of_the_machine_draw_all_scripts(text: str) -> None:
    """With Debian's Noto fonts no letter is missing."""
    setter = Typesetter()
    line = setter.shape(text, LYRIC)
    assert setter.missing == ()
    assert setter.draw([(line, 8.0, 40.0)], 24.0, (800, 60))[:, 8:].any()


@pytest.mark.skipif(
    not os.environ.get("CI") and not any("Emoji" in path.name for path in fontfiles.machine_fonts()),
    reason="this machine has no emoji; in CI they are installed",
)
def test_emoji_are_pictures_of_their_own_width() -> None:
    """A family is one glyph, a flag another; each is drawn in several shades."""
    setter = Typesetter()
    line = setter.shape("👨\u200d👩\u200d👧🇩🇪", LYRIC)
    assert len(line.glyphs) == 2
    mask = setter.draw([(line, 0.0, 40.0)], 40.0, (round(line.width * 40), 60))
    assert len(np.unique(mask)) > 20


def test_latin_looks_the_same_on_every_machine() -> None:
    """Whatever fonts it has."""
    faces = {glyph.face for glyph in Typesetter().shape("Über Жизнь Ελλάδα 123!", LYRIC).glyphs}
    assert faces == {0}


@pytest.mark.usefixtures("no_fonts")
def test_a_named_font_goes_before_all_others(tmp_path: Path) -> None:
    """It draws what it has; the rest is looked for as always."""
    arabic = Path(fontfiles.__file__).parent / "fonts" / FONT_FILES[1]
    font = shutil.copy(arabic, tmp_path / "own.ttf")
    setter = Typesetter.of("", [], [Path(font)])
    assert {glyph.face for glyph in setter.shape("سلام", LYRIC).glyphs} == {len(FONT_FILES) + 1}
    assert {glyph.face for glyph in setter.shape("Ж", LYRIC).glyphs} == {0}


def test_a_file_that_is_not_a_font_is_refused(tmp_path: Path) -> None:
    """With its name, whether it is there or not."""
    (tmp_path / "x.ttf").write_bytes(b"not a font")
    for path in (tmp_path / "x.ttf", tmp_path / "none.ttf"):
        with pytest.raises(RenderError, match=f"{path.name} is not a font"):
            Faces(fonts=(path,))


@pytest.mark.usefixtures("no_fonts")
def test_the_letter_that_is_missing_is_the_one_that_is_named() -> None:
    """Of a letter with a mark, the mark, if only that is missing."""
    setter = Typesetter()
    setter.shape("a\u1ab0 क 👋🏽 fine", LYRIC)
    assert setter.missing == ("\u1ab0", "क", "👋")


@pytest.mark.usefixtures("no_fonts")
def test_a_letter_that_unicode_does_not_have_is_missing() -> None:
    """As an emoji is that is newer than this Python; the text around it is drawn."""
    setter = Typesetter()
    assert [glyph.face for glyph in setter.shape("a\U00033080b", LYRIC).glyphs] == [0, 0]
    assert setter.missing == ("\U00033080",)


def test_what_is_said_of_missing_letters_has_the_fix() -> None:
    """Which package, which fonts, or which option."""
    text = left_out(["क"])
    assert text.startswith("no font has 1 of its letters, and the video leaves them out: क (U+0915)")
    assert text.endswith(FIX)
    assert "[fonts]" in FIX
    assert "--font" in FIX


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("क्षत्रिय", 3),
        ("สวัสดี", 4),
        ("👨\u200d👩\u200d👧❤\ufe0f", 2),
        ("🇩🇪🇫🇷", 2),
        ("👋🏽a", 2),
        ("e\u0301x", 2),
    ],
)
def test_a_long_word_is_cut_between_what_readers_take_for_characters(text: str, count: int) -> None:
    """Never within a conjunct, a family or a flag."""
    assert len(list(clusters(text))) == count


def test_fonts_are_looked_for_in_folders_where_there_is_no_fontconfig(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bold faces without serifs first."""
    for name in ("NotoSerifThai-Bold.ttf", "NotoSansThai-Regular.ttf", "NotoSansThai-Bold.ttf", "read.me"):
        path = tmp_path / ".local/share/fonts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    found = [path.name for path in fontfiles.machine_fonts() if path.is_relative_to(tmp_path)]
    assert found == ["NotoSansThai-Bold.ttf", "NotoSansThai-Regular.ttf", "NotoSerifThai-Bold.ttf"]


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_systems_have_other_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str) -> None:
    """Of the user and of the system."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("WINDIR", str(tmp_path / "Library"))
    font = tmp_path / "Library" / "Fonts" / "Own.otf"
    font.parent.mkdir(parents=True)
    font.touch()
    assert font in fontfiles.machine_fonts()


def test_a_fontconfig_that_fails_is_not_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folders are looked through."""
    broken = tmp_path / "fc-list"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(broken))
    monkeypatch.setattr(fontfiles, "_folders", lambda: iter([tmp_path]))
    (tmp_path / "a.ttf").touch()
    assert fontfiles.machine_fonts() == (tmp_path / "a.ttf",)
