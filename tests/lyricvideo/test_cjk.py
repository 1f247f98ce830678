"""Chinese, Japanese and Korean: whose letters are drawn, where lines break, and what is said without the extra."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from suno_video_async.lyricvideo.lyrics import parse_lrc
from suno_video_async.lyricvideo.render import fonts
from suno_video_async.lyricvideo.render.breaking import Atom, rows
from suno_video_async.lyricvideo.render.errors import RenderError
from suno_video_async.lyricvideo.render.fonts import CJK, FONT_FILES, Faces
from suno_video_async.lyricvideo.render.highlight import highlight
from suno_video_async.lyricvideo.render.scene import LYRIC
from suno_video_async.lyricvideo.render.text import Line, Typesetter
from suno_video_async.lyricvideo.scripts import cjk_region, left_out

_JAPANESE = "港の灯りがすべて消えるまで、「もうちょっとだけここにいて」と歌った。"
_CHINESE = "我们在夜里（慢慢）走，不知道“方向”在哪里……一直走到天亮！"
_KOREAN = "너를 사랑하는 마음은 아직도 그대로야 (정말로)"


def _broken(text: str, language: str, width: float) -> list[str]:
    """The rows of a text as they are read."""
    setter = Typesetter.of(language, [text])
    lines = setter.wrap(text, LYRIC, width)
    ends = [line.start for line in lines[1:]] + [len(text)]
    return [text[line.start : end].strip() for line, end in zip(lines, ends, strict=True)]


@pytest.mark.parametrize(
    ("language", "texts", "region"),
    [
        ("ja", ["东风"], "JP"),
        ("zh-TW", ["かな"], "TC"),
        ("zh_Hant_HK", [""], "HK"),
        ("zh", ["かな"], "SC"),
        ("yue", [""], "HK"),
        ("ko-KR", [""], "KR"),
        ("", ["夜", "の"], "JP"),
        ("", ["夜", "밤"], "KR"),
        ("en", ["夜"], "SC"),
        ("", [], "SC"),
    ],
)
def test_the_forms_follow_the_language_or_else_the_letters(
    language: str, texts: Sequence[str], region: str
) -> None:
    """A language tag decides; without one kana are Japanese, Hangul is Korean, and the rest Chinese."""
    assert cjk_region(language, texts) == region


def test_one_ideograph_has_another_form_in_each_language() -> None:
    """The bone of Chinese and that of Japanese are one code point and two glyphs, both of the CJK face."""
    drawn = [Typesetter.of(language, []).shape("骨", LYRIC).glyphs[0] for language in ("ja", "zh", "zh-Hant")]
    assert {glyph.face for glyph in drawn} == {CJK}
    assert len({glyph.index for glyph in drawn}) == 3


def test_all_of_it_has_glyphs() -> None:
    """With the extra, nothing of three scripts is missing."""
    for text in (_JAPANESE, _CHINESE, _KOREAN):
        setter = Typesetter.of("", [text])
        setter.shape(text, LYRIC)
        assert setter.missing == ()


def test_figures_and_latin_letters_keep_their_face() -> None:
    """Within a Chinese line they look as in any other; quotation marks are as wide as what they are around."""
    text = "爱2024 “歌” love"
    faces = {text[glyph.cluster]: glyph.face for glyph in Typesetter.of("zh", [text]).shape(text, LYRIC).glyphs}
    assert {faces[char] for char in "爱“歌”"} == {CJK}
    assert {faces[char] for char in "2024love"} == {0}


@pytest.mark.parametrize(("text", "language"), [(_JAPANESE, "ja"), (_CHINESE, "zh"), (_KOREAN, "ko")])
@pytest.mark.parametrize("width", [3.0, 5.0, 8.0, 12.0])
def test_no_row_begins_or_ends_with_the_wrong_mark(text: str, language: str, width: float) -> None:
    """Closing marks and small kana never begin a row, opening marks never end one; no letter is lost."""
    broken = _broken(text, language, width)
    assert "".join(broken).replace(" ", "") == text.replace(" ", "")
    assert not [row for row in broken if row[0] in "、。，！」）”…っょ)"]
    assert not [row for row in broken if row[-1] in "「（“("]


def test_rows_end_with_phrases() -> None:
    """A Japanese line breaks between phrases, a Chinese one not within a word, a Korean one at a space."""
    assert _broken("港の灯りが消えるまで歩いていこう", "ja", 10.0) == ["港の灯りが消えるまで", "歩いていこう"]
    assert _broken("我不知道方向在哪里", "zh", 7.0) == ["我不知道", "方向在哪里"]
    assert _broken("너를 사랑하는 마음", "ko", 6.0) == ["너를 사랑하는", "마음"]


def test_a_word_longer_than_a_row_is_cut_in_any_script() -> None:
    """Hangul without spaces still fits."""
    lines = Typesetter().wrap("사랑" * 20, LYRIC, 6.0)
    assert all(line.width <= 6.0 for line in lines)
    assert sum(len(line.glyphs) for line in lines) == 40


def test_rows_are_as_few_and_as_even_as_can_be() -> None:
    """The cheapest breaks of those that take the fewest rows."""
    even = [Atom("x")] * 6
    assert rows(even, [1.0] * 6, [0.0] * 6, 4.0) == [(0, 3), (3, 6)]
    dear = [Atom("x"), Atom("x"), Atom("x", 0.5), Atom("x"), Atom("x"), Atom("x")]
    assert rows(dear, [1.0] * 6, [0.0] * 6, 4.0) in ([(0, 2), (2, 6)], [(0, 4), (4, 6)])
    assert rows([], [], [], 4.0) == []


def test_letters_with_times_light_up_one_by_one() -> None:
    """A Japanese line has no spaces, and still a time for each letter."""
    line = parse_lrc("[00:01.00]<00:01.00>波<00:02.00>の<00:03.00>う<00:04.00>た").lines[0]
    assert line.text == "波のうた"
    row = Typesetter.of("ja", [line.text]).shape(line.text, LYRIC)
    lit = highlight(line.words, [row], [0.0], 20.0, round(row.width * 20))
    assert lit is not None
    shares = [np.mean(lit.light(lit.tick(at + 0.95))[0] == 256) for at in (1.0, 2.0, 3.0, 4.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0], abs=0.03)


@pytest.fixture
def without_cjk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the extra not be installed."""
    for module in ("scripts", "render.fonts", "render.breaking"):
        monkeypatch.setattr(f"suno_video_async.lyricvideo.{module}.has_cjk", lambda: False)


@pytest.mark.usefixtures("without_cjk")
def test_without_the_extra_the_letters_are_missing_and_the_extra_is_named() -> None:
    """Whoever lacks it is told what to install; for other letters it would not help."""
    setter = Typesetter.of("ja", [_JAPANESE])
    lines: tuple[Line, ...] = setter.wrap("Love 波 and 名", LYRIC, 12.0)
    assert [len(line.glyphs) for line in lines] == [len("Love  and ")]
    assert setter.missing == ("波", "名")
    assert left_out(setter.missing).endswith(
        "波 (U+6CE2) 名 (U+540D); for Chinese, Japanese and Korean install suno-video-async[cjk]"
    )
    assert "[cjk]" not in left_out("\U00033080")


def test_with_the_extra_it_is_not_named() -> None:
    """A letter that even the extra lacks is only named."""
    assert "[cjk]" not in left_out("\U0003347a\u4e00")


# Where the font comes from


@pytest.fixture
def unknown_font() -> Iterator[None]:
    """Let the font be looked for again, before and after."""
    fonts._collection.cache_clear()
    yield
    fonts._collection.cache_clear()


def test_the_package_of_the_font_is_not_run() -> None:
    """A file is all that is wanted of it: importing it would run whatever is in it."""
    code = (
        "import sys; from suno_video_async.lyricvideo.render.text import Typesetter;"
        "Typesetter.of('ja', []).shape('骨', __import__('suno_video_async.lyricvideo.render.scene',"
        " fromlist=['LYRIC']).LYRIC); print('manimgx_fonts_cjk' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


@pytest.mark.usefixtures("unknown_font")
@pytest.mark.parametrize("name", fonts._SHA256)
def test_another_font_of_that_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Fonts are read by a library in C: only those that were looked at are given to it."""
    monkeypatch.setitem(fonts._SHA256, name, "0" * 64)
    with pytest.raises(RenderError, match=f"the font {name} is not the one that belongs here"):
        assert Faces()[CJK] if name not in FONT_FILES else Faces()


@pytest.mark.usefixtures("unknown_font")
@pytest.mark.parametrize("folders", [None, ["here"]])
def test_a_package_without_the_font_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folders: list[str] | None
) -> None:
    """An installation that is not whole names what is missing."""
    monkeypatch.chdir(tmp_path)
    found = None if folders is None else SimpleNamespace(submodule_search_locations=folders)
    monkeypatch.setattr(fonts, "find_spec", lambda _: found)
    with pytest.raises(RenderError, match="has no font"):
        assert Faces()[CJK]
