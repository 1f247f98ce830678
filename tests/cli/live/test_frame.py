"""How a conversion looks: it fits any terminal, whatever tracks are called, and says what is asked of it."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from suno_video_async import RateLimit, VideoTaskId
from suno_video_async.cli.live.frame import Frame, about, in_words, lines
from suno_video_async.cli.live.state import InFlight
from suno_video_async.cli.output import plain

SIGHT = Frame(
    title="catalog.csv",
    ended=84,
    total=200,
    states={"done": 80, "failed": 3, "unknown": 1, "downloading": 2, "in flight": 98, "waiting": 16},
    elapsed=190.0,
    left="about 4 min left",
    rate=RateLimit(20, 10),
    used=18,
    requests=412,
    refused=3,
    spent=168.0,
    reserved=194.5,
    budget=1500.0,
    slowest=[
        InFlight(VideoTaskId("dd0bdacc-e148-4292"), "Harbour Lights", 312.0, 300.0),
        InFlight(VideoTaskId("t2"), "夜の港", 100.0, 90.0),
    ],
    stuck_after=250.0,
    usual=110.0,
    troubles=["s7 refused: CreateTask: 422", "s9 failed: 501 Generation Failed"],
)


def drawn(frame: Frame = SIGHT, *, width: int = 80, height: int = 24, letters: bool = False) -> str:
    return "\n".join(text.plain for text in lines(frame, width=width, height=height, letters=letters))


def test_eighty_columns_show_all() -> None:
    """Tracks by state, rate, credits, forecast, the slowest and the last errors, each with its label."""
    seen = drawn()
    assert seen.splitlines()[0].endswith(" 84/200  42%")
    for words in [
        "tracks   80 done  3 failed  1 unknown  2 downloading  98 in flight  16 waiting",
        "time     about 4 min left  3 min 10 s so far",
        "rate     18 of 20 requests in 10 s  412 in all  3 refused",
        "credits  168 credits spent  194.5 reserved  of at most 1,500",
        "slowest  5 min 12 s stuck (most take 1 min 50 s) dd0bdacc-e148 Harbour Lights",
        "         1 min 40 s t2 夜の港",
        "trouble  s9 failed: 501 Generation Failed",
        "         s7 refused: CreateTask: 422",
    ]:
        assert words in seen.splitlines()


def test_forty_columns_show_the_same_in_fewer_words() -> None:
    """Without labels and ids, and with the states on as many lines as they need, nothing is left out."""
    seen = drawn(width=39)
    assert max(map(cell_len, seen.splitlines())) <= 39
    for words in [
        "80 done",
        "16 waiting",
        "about 4 min left",
        "18 of 20 requests in 10 s",
        "168 credits",
        "stuck",
    ]:
        assert words in seen


def test_few_lines_keep_the_most_important() -> None:
    """Bar, states and time stay longest, then the rate, the credits, the errors; the slowest go first."""
    seen = drawn(height=7)
    assert "s7 refused" in seen
    assert "slowest" not in seen
    assert drawn(height=3).splitlines()[2].startswith("time")
    assert len(drawn(height=1).splitlines()) == 1


def test_an_interruption_is_always_seen() -> None:
    """What Ctrl+C led to stays, however little room there is."""
    assert drawn(evolve(SIGHT, word="finishing"), height=2).splitlines()[-1] == "finishing"


@pytest.mark.parametrize("room", [6, 9, 30])
def test_the_bar_is_as_long_as_its_room(room: int) -> None:
    """Each state that there is has a cell of it where there is room, and the shares are the states'."""
    line = lines(evolve(SIGHT, title=""), width=room + 13, height=1, letters=True)[0].plain
    bar = line[1 : 1 + room]
    assert len(line) == room + 13
    assert set(bar) <= set("#x?=-.")
    assert all(mark in bar for mark in "#x?=-.")
    assert bar.count("-") >= bar.count("x")


def test_what_is_not_known_is_left_out() -> None:
    """At the beginning, and where rows cannot be counted, no share and no forecast is made up."""
    seen = drawn(Frame(title="stdin", ended=3))
    assert seen.splitlines()[0].rstrip().endswith(" 3")
    assert "starting" in seen
    assert "left" not in seen
    assert "%" not in seen


def test_a_pause_is_seen_first() -> None:
    """While the server has asked for less, the rate's line begins with that."""
    assert "rate     paused by the server for 12 s" in drawn(evolve(SIGHT, paused_for=12.0))


def test_both_windows_are_shown() -> None:
    """If reads have a window of their own, the rate is that of the submissions."""
    seen = drawn(evolve(SIGHT, read_rate=RateLimit(10, 1), reads_used=4))
    assert "rate     18 of 20 submissions in 10 s  4 of 10 reads in 1 s  412 in all" in seen


def test_letters_alone() -> None:
    """Where the terminal has no Unicode, all is drawn with ASCII, names too."""
    assert drawn(letters=True).isascii()
    assert "????" not in drawn(letters=True).splitlines()[0]


names = st.text(st.characters(), max_size=90)


@given(names, names, names, st.integers(1, 140), st.integers(1, 30), st.booleans())
def test_nothing_breaks_the_layout(
    title: str, name: str, trouble: str, width: int, height: int, letters: bool
) -> None:
    """Whatever a catalog, a track or an error is called, no line is too wide or too much or controls anything."""
    frame = evolve(
        SIGHT,
        title=plain(title),
        slowest=[evolve(SIGHT.slowest[0], name=plain(name))],
        troubles=[plain(trouble)],
    )
    shown = lines(frame, width=width, height=height, letters=letters)
    assert 1 <= len(shown) <= height
    for text in shown:
        assert cell_len(text.plain) <= width
        assert all(mark.isprintable() for mark in text.plain)


def test_names_cannot_turn_the_line() -> None:
    """Marks that join, turn or colour what stands beside them are not passed on."""
    assert plain("a\u202eb\u2066c\u200d\x1b[31md\r\ne") == "abc\ufffd[31md e"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (190, "3 min 10 s"), (840, "14 min"), (3600, "1 h"),
        (7500, "2 h 5 min"), (172800, "2 days"), (180000, "2 days 2 h"),
    ],
)  # fmt: skip
def test_times_in_words(seconds: float, words: str) -> None:
    """Two units at the most."""
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "5 s"), (43, "45 s"), (200, "3 min 30 s"), (852, "14 min"), (4000, "1 h 5 min"), (90000, "25 h")],
)
def test_forecasts_in_words(seconds: float, words: str) -> None:
    """A forecast is no finer than it can be."""
    assert about(seconds) == words
