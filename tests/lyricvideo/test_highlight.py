"""Lines that light up word by word."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from suno_video_async.lyricvideo.lyrics import LyricLine, LyricWord, parse_lrc
from suno_video_async.lyricvideo.render.highlight import SOFT, SWEEP, Highlight, highlight
from suno_video_async.lyricvideo.render.layout import lay_out
from suno_video_async.lyricvideo.render.scene import LYRIC, Scene, State
from suno_video_async.lyricvideo.render.text import Typesetter
from tests.lyricvideo.pictures import empty_planes

_EM = 20.0


def _highlight(*words: tuple[float, str]) -> tuple[Highlight, int]:
    """A line of timed words on one row, and its width in columns."""
    timed = tuple(LyricWord(start, text) for start, text in words)
    row = Typesetter().shape("".join(word.text for word in timed), LYRIC)
    columns = round(row.width * _EM)
    made = highlight(timed, [row], [0.0], _EM, columns)
    assert made is not None
    return made, columns


def _lit(words: Highlight, at: float) -> npt.NDArray[np.bool_]:
    """Which columns of the first row are fully lit at a time."""
    lit: npt.NDArray[np.bool_] = words.light(words.tick(at))[0] == 256
    return lit


def test_a_line_without_times_of_words_has_no_highlight() -> None:
    """Such a line is lit as a whole."""
    assert highlight((), [Typesetter().shape("Oh", LYRIC)], [0.0], _EM, 40) is None


def test_a_word_is_dark_until_it_is_sung() -> None:
    """When the first word is over and the second has not begun, the light ends between them."""
    words, columns = _highlight((1.0, "Mmmm "), (5.0, "mmmM"))
    assert not words.light(words.tick(0.9)).any()
    half = _lit(words, 4.0)
    assert half[: int(columns * 0.45)].all()
    assert not half[int(columns * 0.55) :].any()
    assert _lit(words, 5.0 + SWEEP + SOFT + 0.1).all()


def test_a_right_to_left_word_lights_up_from_the_right() -> None:
    """The light goes the way the word is read."""
    words, columns = _highlight((1.0, "نننننننن"))
    light = words.light(words.tick(1.0 + SWEEP / 2))[0].astype(int)
    assert light[-columns // 4 :].min() > light[: columns // 4].max()


def test_nothing_changes_between_words() -> None:
    """A held note costs no pictures: the step stays the same until the next word."""
    words, _ = _highlight((1.0, "one "), (8.0, "two"))
    assert len({words.tick(at / 10) for at in range(20, 80)}) == 1
    assert len({words.tick(at / 10) for at in range(100, 200)}) == 1


def test_a_short_word_is_lit_before_the_next_begins_to_be() -> None:
    """A word takes no longer than it is sung."""
    words, columns = _highlight((1.0, "Mm "), (1.3, "Mm "), (9.0, "Mm"))
    assert _lit(words, 1.3 + SOFT + 0.04)[: columns // 5].all()


def _scene(lrc: str) -> Scene:
    layout = lay_out(640, 360, lyrics=True)
    return Scene(layout, empty_planes(640, 360), parse_lrc(lrc).lines, Typesetter(), duration=20.0)


def _luma(scene: Scene, state: State) -> npt.NDArray[np.int64]:
    planes = empty_planes(640, 360)
    scene.paint(planes, state)
    return planes.y[:, 300:].astype(np.int64)  # without the progress bar


def test_the_current_line_waits_half_lit_for_its_words() -> None:
    """Before its first word the current line is brighter than the others and darker than when it is sung."""
    scene = _scene("[00:01.00]<00:04.00>Mountain <00:05.00>moon\n[00:12.00]Over")
    early, waiting, sung = (_luma(scene, scene.state(at)).sum() for at in (0.1, 3.5, 7.0))
    assert early < waiting < sung
    assert scene.state(2.0).gains == scene.state(2.4).gains


def test_the_second_row_of_a_wrapped_line_lights_up_after_the_first() -> None:
    """A line that takes two rows is lit row by row."""
    text = (
        "Every <00:03.00>mountain <00:04.00>holds <00:05.00>a <00:06.00>morning <00:10.00>over <00:11.00>harbours"
    )
    scene = _scene(f"[00:01.00]<00:02.00>{text}")
    assert len(scene.lines[0]) >= 2
    before, middle, after = (_luma(scene, scene.state(at)) for at in (1.7, 5.9, 15.0))
    first = np.flatnonzero((middle - before).sum(axis=1) > 40)
    second = np.flatnonzero((after - middle).sum(axis=1) > 40)
    assert first.max() < second.max()
    assert first.min() < second.min()


def test_only_what_differs_is_drawn_and_the_picture_is_the_same() -> None:
    """Drawn over the state before, every state of a song is the one that is drawn over an empty backdrop."""
    scene = _scene(
        "[00:01.00]<00:01.20>Mountain <00:02.00>mÅgy\n[00:03.00]<00:03.10>Över <00:03.60>thé\n[00:05.00]Hills"
    )
    planes, shown = empty_planes(640, 360), None
    for at in range(0, 200, 3):
        state = scene.state(at / 30)
        scene.paint(planes, state, shown)
        shown, whole = state, empty_planes(640, 360)
        scene.paint(whole, state)
        for one, other in ((planes.y, whole.y), (planes.u, whole.u), (planes.v, whole.v)):
            assert (one == other).all(), at


def test_a_line_that_leaves_takes_its_light_along() -> None:
    """When the next line is sung the old one is as dim as one that never had times of words."""
    timed = _scene("[00:01.00]<00:01.00>Mountain <00:02.00>moon\n[00:05.00]Over")
    plain = _scene("[00:01.00]Mountain moon\n[00:05.00]Over")
    assert (_luma(timed, timed.state(8.0)) == _luma(plain, plain.state(8.0))).all()


def test_lines_with_and_without_times_stand_in_the_same_place() -> None:
    """Times of words change the light and nothing else."""
    words = (LyricWord(1.0, "Mountain "), LyricWord(2.0, "moon"))
    assert (
        Scene(
            lay_out(640, 360, lyrics=True),
            empty_planes(640, 360),
            [LyricLine(1.0, "Mountain moon", words)],
            Typesetter(),
            duration=9.0,
        ).lines
        == _scene("[00:01.00]Mountain moon").lines
    )
