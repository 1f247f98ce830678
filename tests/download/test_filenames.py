"""Names of files: safe everywhere, whatever a catalog says, and never another track's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async import Track
from suno_video_async.download.filenames import MOST_BYTES, NameTemplate


def track(**more: str) -> Track:
    fields = {"task_id": "m1", "suno_id": "s1", "author": "Ava", "brand": "Acme"}
    return Track(**{**fields, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{suno_id}", "s1.mp4"),
        ("{author} - {title} [{suno_id}]", "Ava - Night [s1].mp4"),
        ("{task_id}-{video_task_id}", "m1-v1.mp4"),
        ("{brand}/{suno_id}", "Acme_s1.mp4"),
        ("{extra[album]} {suno_id}", "First Light s1.mp4"),
        ("{extra[none]}{suno_id}", "s1.mp4"),
        ("{{{suno_id}}}", "{s1}.mp4"),
        ("CON.{suno_id}", "track-CON.s1.mp4"),
        (". {suno_id} .", "s1.mp4"),
    ],
)
def test_a_template_names_the_file(template: str, name: str) -> None:
    """Fields of the track, the song's title and the catalog's own columns stand in the name."""
    one = Track(task_id="m1", suno_id="s1", author="Ava", brand="Acme", extra={"album": "First  Light"})
    assert NameTemplate(template).name(one, video_task_id="v1", title="Night") == name


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{author}", "add {suno_id} to it"),
        ("video", "add {suno_id} to it"),
        ("{suno_id}{nothing}", "{nothing} is not a field"),
        ("{suno_id.__class__}", "{suno_id.__class__} is not a field"),
        ("{suno_id[0]}", "is not a field"),
        ("{suno_id}{}", "{} is not a field"),
        ("{suno_id}{extra}", "{extra} is not a field"),
        ("{suno_id", "cannot be read"),
        ("{suno_id:>10}", "fields take no format"),
        ("{suno_id!r}", "fields take no format"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template: str, problem: str) -> None:
    """The error names the field or the fix, before anything is bought."""
    with pytest.raises(ValueError, match=r"file name|field") as caught:
        NameTemplate(template)
    assert problem in str(caught.value)


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_words_make_a_safe_name(author: str, title: str) -> None:
    """No word leads out of the folder, hides the file, is too long, or cannot be written."""
    one = Track(task_id="m1", suno_id="s1", extra={"author": author})
    name = NameTemplate("{extra[author]}{title}{suno_id}").name(one, title=title)
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name.isprintable()
    assert name.endswith(".mp4")
    assert not name.startswith((".", " "))
    assert not name.removesuffix(".mp4").endswith((".", " "))
    assert len(name.encode()) <= MOST_BYTES


def test_long_names_stay_apart() -> None:
    """Two names that differ behind the cut only are told apart."""
    template = NameTemplate("{title} {suno_id}")
    first, second = (template.name(track(suno_id=one), title="\u00e9" * 300) for one in ("s1", "s2"))
    assert first != second
    assert max(len(first.encode()), len(second.encode())) <= MOST_BYTES


def test_songs_of_one_id_stay_apart() -> None:
    """A mark keeps the file of a song under another author from that of the first."""
    template = NameTemplate("{suno_id}")
    assert (
        template.name(track(), marked_by="k1") != template.name(track(), marked_by="k2") != template.name(track())
    )


def test_only_a_title_costs_a_question() -> None:
    """The song's title is asked for where the template has it."""
    assert NameTemplate("{title} {suno_id}").needs_title
    assert not NameTemplate("{author} {suno_id}").needs_title


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-8", "Ärzte 東京 s1.mp4"), ("iso8859-1", "Ärzte __ s1.mp4"), ("ascii", "_rzte __ s1.mp4")],
)
def test_a_letter_that_the_file_system_lacks_is_replaced(
    encoding: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a locale without Unicode the video was paid for, and could not be saved."""
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: encoding)
    track = Track(task_id="m", suno_id="s1", author="Ärzte 東京")
    assert NameTemplate("{author} {suno_id}").name(track) == name
