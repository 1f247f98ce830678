"""Lyrics as karaoke tools, subtitle editors, exporters and people write them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from suno_video_async.lyricvideo.lyrics import (
    LyricLine,
    LyricsError,
    LyricWord,
    parse_lrc,
    parse_subtitles,
    read_lyrics,
    spread_lines,
)
from suno_video_async.lyricvideo.lyrics.headings import is_credit, sung


def _shown(text: str, duration: float = 200.0) -> list[tuple[float, str]]:
    """The times and texts of all lines that are shown."""
    return [(line.start, line.text) for line in read_lyrics(text, duration).lines]


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("[01:02.5]", 62.5),
        ("[01:02.50]", 62.5),
        ("[01:02.505]", 62.505),
        ("[01:02.5058]", 62.506),
        ("[01:02,50]", 62.5),
        ("[01:02:50]", 62.5),
        ("[01:02]", 62.0),
        ("[1:2.5]", 62.5),
        ("[ 01:02.50 ]", 62.5),
        ("[00:01:02.50]", 62.5),
        ("[00:01:02,5]", 62.5),
        ("[0:01:02]", 62.0),
        ("[00:62.50]", 62.5),
        ("[122:00.00]", 7320.0),
    ],
)
def test_stamps_of_all_kinds(stamp: str, seconds: float) -> None:
    """A point, a comma or a colon, one to four digits, with or without hours."""
    assert _shown(f"{stamp}la", 7400.0 if seconds > 7000 else 100.0) == [(seconds, "la")]


def test_three_numbers_are_hours_only_if_the_song_is_long_enough_for_them() -> None:
    """`[00:03:30]` of a song of four minutes is 3.5 minutes; of one of one minute, 3.3 seconds."""
    text = "[00:00:10]one\n[00:03:30]two"
    assert _shown(text, 240.0) == [(10.0, "one"), (210.0, "two")]
    assert _shown(text, 60.0) == [(0.1, "one"), (3.3, "two")]
    assert _shown("[00:00:90]one\n[00:03:30]two", 240.0) == [(0.9, "one"), (3.3, "two")]
    assert _shown("[02:03:30]one", 240.0) == [(123.3, "one")]


@pytest.mark.parametrize(
    ("offset", "start"),
    [
        ("+250", 9.75),
        ("-250.7", 10.251),
        (" 250 ms", 9.75),
        ("0,5s", 9.5),
        ("-0.5 s", 10.5),
        ("", 10.0),
        ("0", 10.0),
    ],
)
def test_offsets_of_all_kinds(offset: str, start: float) -> None:
    """Milliseconds or seconds, whole or not; a positive one shows the lyrics sooner."""
    assert parse_lrc(f"[offset:{offset}]\n[00:10.00]la").lines == (LyricLine(start, "la"),)


def test_an_unreadable_offset_is_a_warning() -> None:
    """And the lyrics are shown as they are."""
    lyrics = parse_lrc("[offset:soon]\n[00:10.00]la")
    assert lyrics.lines == (LyricLine(10.0, "la"),)
    assert [(warning.line, warning.problem[:17]) for warning in lyrics.warnings] == [(1, "the offset 'soon'")]


@pytest.mark.parametrize(
    "heading",
    [
        "[Verse 1]",
        "[Verse 2: Ben & Ava]",
        "[Pre-Chorus]",
        "[Instrumental Break]",
        "Chorus:",
        "Chorus",
        "CHORUS (x2):",
        "Verse 2",
        "Verse II:",
        "(Verse 1)",
        "(Chorus x2)",
        "**[Bridge]**",
        "**Bridge:**",
        "## Verse 1",
        "\\[Outro\\]",
        "【Verse】",
        "【サビ】",
        "[Guitar solo]",
        "Guitar Solo:",
        "Final Chorus:",
        "副歌：",
        "Припев:",
        "Estribillo",
        "[soft, female vocals]",
        "---",
        "***",
    ],
)
def test_headings_are_not_shown(heading: str) -> None:
    """With a time and without, in LRC, captions and plain text."""
    assert sung(heading) == ""
    assert _shown(f"[00:01.00]{heading}\n[00:02.00]la") == [(2.0, "la")]
    assert _shown(f"{heading}\n[00:02.00]la") == [(2.0, "la")]
    assert [text for _, text in _shown(f"{heading}\nla")] == ["la"]
    caption = f"00:00:01,000 --> 00:00:02,000\n{heading}\n\n00:00:02,000 --> 00:00:03,000\nla"
    assert [text for _, text in _shown(caption, 3.0) if text] == ["la"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("(ooh, aah)", "(ooh, aah)"),
        ("Bridge over the water", "Bridge over the water"),
        ("The end", "The end"),
        ("Chorus girls are dancing", "Chorus girls are dancing"),
        ("One [whispered]", "One"),
        ("[Chorus] Three on the same line", "Three on the same line"),
        ("Chorus: we sing", "we sing"),
        ("(Hook me up)", "(Hook me up)"),
        ("I <3 you", "I <3 you"),
        ("versed in love", "versed in love"),
        ("Solo", "Solo"),
        ("♪", "♪"),
        ("#1 in my heart", "#1 in my heart"),
    ],
)
def test_what_is_sung_is_shown(line: str, shown: str) -> None:
    """Only headings and directions are left out."""
    assert sung(line) == shown


def test_credits_before_and_after_the_song_are_named() -> None:
    """They are not sung; within the song, a line that looks like one is."""
    lyrics = parse_lrc(
        "[00:00.00]作词 : 林\n[00:01.00]Composed by: Ava\n[00:05.00]la\n[00:06.00]Music: my only friend\n"
        "[00:07.00]lo\n[00:09.00]Mixed by Ben"
    )
    assert [line.text for line in lyrics.lines] == ["la", "Music: my only friend", "lo"]
    assert [warning.line for warning in lyrics.warnings] == [1, 2, 6]
    assert all("is a credit" in warning.problem for warning in lyrics.warnings)
    assert not is_credit("I was written by the wind and rain")


def test_comments_and_unknown_tags_are_no_lyrics() -> None:
    """Only known tags are tags: a line in brackets that is none is a heading."""
    text = "[#comment]\n[ti:Song]\n[AR: Ava  Lin]\n[re:LRC Maker]\n[00:01.00]la"
    lyrics = parse_lrc(text)
    assert (lyrics.title, lyrics.artist) == ("Song", "Ava Lin")
    assert lyrics.lines == (LyricLine(1.0, "la"),)
    assert lyrics.warnings == ()


def test_an_odd_line_is_a_warning_and_the_others_are_shown() -> None:
    """A line without a stamp, one of many characters, and times out of order."""
    lyrics = parse_lrc(
        "[00:01.00]fine\nno stamp\n[00:02.00]" + "la " * 400 + "\n[00:03.00]<00:04.00>late <00:03.50>early"
    )
    assert [line.text for line in lyrics.lines] == ["fine", "late early"]
    assert [warning.line for warning in lyrics.warnings] == [2, 3, 4]
    assert "no time stamp" in lyrics.warnings[0].problem
    assert "1210 characters" in lyrics.warnings[1].problem
    assert "words' times are ignored" in lyrics.warnings[2].problem


def test_only_so_many_warnings_are_kept() -> None:
    """The rest is counted."""
    warnings = parse_lrc("[00:01.00]la\n" + "odd\n" * 50).warnings
    assert len(warnings) == 21
    assert warnings[-1].problem.startswith("30 more lines")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[00:01.00]" + "la " * 400, 1, "1210 characters on one line"),
        ("[00:01.00]la\n" * 6000, 5001, "more than 5000 lines"),
        ("WEBVTT\n\n00:99 --> soon\nla", 3, "is not a time range"),
    ],
)
def test_a_text_without_a_line_that_can_be_used_is_a_mistake(text: str, line: int, problem: str) -> None:
    """It names the first line at fault."""
    with pytest.raises(LyricsError, match=problem) as caught:
        read_lyrics(text, 100.0)
    assert caught.value.line == line


def test_a_text_of_nothing_but_headings_is_a_song_without_words() -> None:
    """An instrumental."""
    assert read_lyrics("[Instrumental]\n", 100.0).lines == ()
    assert read_lyrics("[ti:Song]\n[00:01.00][Instrumental]\n", 100.0).lines == ()
    assert read_lyrics("", 100.0).lines == ()


def test_the_text_of_an_empty_stamp_may_be_on_the_next_line() -> None:
    """As some exporters write it; an empty line ends it, and an empty stamp clears the stage."""
    assert _shown("[00:01.00]\none line\n[00:03.00]\ntwo line\n[00:05.00]\n\n") == [
        (1.0, "one line"),
        (3.0, "two line"),
        (5.0, ""),
    ]


def test_lines_of_one_time_are_shown_together() -> None:
    """The original, its transcription and its translation; what is said twice is shown once."""
    lyrics = parse_lrc(
        "[00:01.00]<00:01.00>波<00:02.00>の\n[00:01.00]nami no\n[00:01.00]the waves\n[00:01.00]the waves"
    )
    assert lyrics.lines == (
        LyricLine(1.0, "波の", (LyricWord(1.0, "波"), LyricWord(2.0, "の")), ("nami no", "the waves")),
    )
    assert lyrics.lines[0].texts == ("波の", "nami no", "the waves")


def test_an_empty_line_at_the_time_of_another_is_nothing() -> None:
    """It does not clear what is sung."""
    assert parse_lrc("[00:01.00]\n[00:01.00]la").lines == (LyricLine(1.0, "la"),)


def test_lines_that_all_have_one_time_are_spread_over_the_song() -> None:
    """As a tool writes them that knows no times."""
    lyrics = parse_lrc("\n".join(f"[00:00.00]{word}" for word in ("one", "two", "three", "four")), 100.0)
    assert lyrics.spread
    assert [line.text for line in lyrics.lines] == ["one", "two", "three", "four"]
    assert 0 < lyrics.lines[0].start < lyrics.lines[-1].start < 100
    assert "same time" in lyrics.warnings[0].problem


def test_too_many_lines_of_one_time_stay_lines() -> None:
    """They would not fit below each other; a warning says so."""
    lyrics = parse_lrc("[00:01.00]a\n[00:01.00]b\n[00:01.00]c\n[00:01.00]d\n[00:09.00]e", 100.0)
    assert [line.text for line in lyrics.lines] == ["a", "b", "c", "d", "e"]
    assert "4 lines have the same time" in lyrics.warnings[0].problem


@pytest.mark.parametrize(
    "line",
    [
        "[00:01.00]One [00:01.60]two [00:02.40]three[00:03.00]",
        "[00:01.00]<00:01.00>One <00:01.60>two <00:02.40>three<00:03.00>",
        "[00:01.00] One <00:01.60> two <00:02.40> three <00:03.00>",
        "[00:01,00]<00:01,00>One <00:01,60>two <00:02,40>three<00:03,00>",
    ],
)
def test_stamps_of_words_and_of_the_end(line: str) -> None:
    """In both kinds of brackets."""
    words = (LyricWord(1.0, "One "), LyricWord(1.6, "two "), LyricWord(2.4, "three"), LyricWord(3.0, ""))
    assert parse_lrc(line).lines == (LyricLine(1.0, "One two three", words),)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Tom &amp; Jerry &quot;x&quot; &#9834; &#x266A; &lt;3", 'Tom & Jerry "x" ♪ ♪ <3'),
        ("R&B & soul &c.", "R&B & soul &c."),
        ("&nosuchentity; stays", "&nosuchentity; stays"),
    ],
)
def test_entities_are_decoded(text: str, shown: str) -> None:
    """In every kind of lyrics; only whole ones."""
    assert _shown(f"[00:01.00]{text}") == [(1.0, shown)]
    assert _shown(f"00:00:01,000 --> 00:00:02,000\n{text}", 3.0)[0] == (1.0, shown)
    assert [line for _, line in _shown(text)] == [shown]


@pytest.mark.parametrize(
    ("time", "start", "end"),
    [
        ("00:00:01,500 --> 00:00:03,000", 1.5, 3.0),
        ("00:00:01 --> 00:00:03", 1.0, 3.0),
        ("0:00:01.5 --> 0:00:03.25", 1.5, 3.25),
        ("00:01.500 --> 00:03.000 align:start position:10%", 1.5, 3.0),
        ("00:00:01,500-->00:00:03,000", 1.5, 3.0),
        ("00:00:01,500 -> 00:00:03,000", 1.5, 3.0),
        ("00:00:01:500 --> 00:00:03:000", 1.5, 3.0),
    ],
)
def test_time_ranges_of_all_kinds(time: str, start: float, end: float) -> None:
    """SubRip's and WebVTT's, with and without fractions and hours."""
    assert _shown(f"1\n{time}\nla", 100.0) == [(start, "la"), (end, "")]


def test_webvtt_without_its_header_comments_and_styles() -> None:
    """Names of cues, notes, styles and regions are not lyrics; voices and classes are tags."""
    text = (
        "WEBVTT - a song\nKind: captions\n\nNOTE\nnot sung\n\nSTYLE\n::cue { color: red }\n\n"
        "first\n00:01.000 --> 00:03.000\n<v Ava><c.loud>one</c> two</v>\n\n00:03.000 --> 00:04.000\nthree\n"
    )
    assert _shown(text, 4.0) == [(1.0, "one two"), (3.0, "three"), (4.0, "")]


def test_webvtt_stamps_of_words() -> None:
    """As karaoke in browsers has them."""
    line = parse_subtitles("WEBVTT\n\n00:01.000 --> 00:03.000\none <00:01.500>two <00:02.000>three").lines[0]
    assert line.words == (LyricWord(1.0, "one "), LyricWord(1.5, "two "), LyricWord(2.0, "three"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("go --> there", "go --> there"),
        ("<i>One</i> <b>two</b>", "One two"),
        ('<font color="#fff">One</font>', "One"),
        (r"{\k50}one {\k30}two {i}x{/i} {y:i}z", "one two x z"),
        ("I <3 you > all", "I <3 you > all"),
        ("<laughing> ha", "<laughing> ha"),
        ("1999", "1999"),
    ],
)
def test_only_known_tags_are_tags(text: str, shown: str) -> None:
    """All else in a caption is text."""
    assert _shown(f"1\n00:00:01,000 --> 00:00:02,000\n{text}", 3.0)[0] == (1.0, shown)


def test_a_caption_that_ends_before_it_begins_is_shown() -> None:
    """With a warning."""
    lyrics = parse_subtitles("00:00:05,000 --> 00:00:01,000\nla")
    assert lyrics.lines[0] == LyricLine(5.0, "la")
    assert [warning.line for warning in lyrics.warnings] == [1]


def test_captions_before_the_first_time_range_are_named() -> None:
    """The others are shown."""
    lyrics = parse_subtitles("Hello\n\n1\n00:00:01,000 --> 00:00:02,000\nla\n")
    assert [line.text for line in lyrics.lines] == ["la", ""]
    assert [warning.line for warning in lyrics.warnings] == [1]


def test_the_content_decides_which_kind_of_lyrics_it_is() -> None:
    """Whatever the file is called."""
    assert _shown("[00:01.00]one\n[00:03.00]two") == [(1.0, "one"), (3.0, "two")]
    assert _shown("1\n00:00:01,000 --> 00:00:02,000\none", 2.0)[0] == (1.0, "one")
    assert [text for _, text in _shown("one\ntwo")] == ["one", "two"]
    assert read_lyrics("one\ntwo", 10.0).spread


@pytest.mark.parametrize("lines", [["Lyrics by Ava", "one", "two", "© 2026 Ava"]])
def test_credits_of_plain_lyrics_are_left_out(lines: Sequence[str]) -> None:
    """At the begin and the end."""
    lyrics = spread_lines("\n".join(lines), 60.0)
    assert [line.text for line in lyrics.lines] == ["one", "two"]
    assert [warning.line for warning in lyrics.warnings] == [1, 4]


def test_a_text_of_nothing_but_credits_is_shown() -> None:
    """What would be left is nothing."""
    assert [line.text for line in spread_lines("Words: are all I have", 60.0).lines] == ["Words: are all I have"]
