"""What counts as a playable MP4: a track with samples that are in the file."""

from __future__ import annotations

import pytest

from suno_video_async.download import mp4
from tests.support.mp4 import FTYP, START, box, film, movie, numbers, problem_of, sizes_of, trak

MEDIA = bytes(range(1, 201))
#: In a fragment: where the media begin, which is known only when the fragment is written.
HERE = 0x00ABCDEF


def fragment(*runs: bytes, flags: int = 0x20000, more: bytes = b"") -> bytes:
    return box(b"moof", box(b"traf", box(b"tfhd", numbers(flags, 1), more), *(box(b"trun", run) for run in runs)))


def fragmented(moof: bytes, media: bytes = MEDIA, *, size: int = 0) -> bytes:
    moof = moof.replace(numbers(HERE), numbers(len(moof) + 8))
    moov = box(b"moov", trak([], sizes_of()), box(b"mvex", box(b"trex", numbers(0, 1, 1, 0, size, 0))))
    return FTYP + moov + moof + box(b"mdat", media)


@pytest.mark.parametrize(
    "content",
    [
        movie(),
        film(MEDIA, trak([START, START + 100], sizes_of(100, 100))),
        film(MEDIA, trak([START, START + 100], sizes_of(50, 50, 60, 40), per_chunk=2)),
        film(MEDIA, trak([START], sizes_of(4, every=50), per_chunk=4)),
        film(MEDIA, trak([START], sizes_of(len(MEDIA)), wide=True)),
        film(MEDIA, trak([START], box(b"stz2", numbers(0, 8, 1, 200 << 24)))),
        film(MEDIA + bytes(64), trak([START], sizes_of(200)), trak([START + 200], sizes_of(64), kind=b"soun")),
        FTYP + b"\0\0\0\1mdat" + (16 + 200).to_bytes(8) + MEDIA + box(b"moov", trak([START + 8], sizes_of(200))),
        FTYP + box(b"moov", trak([START + 300], sizes_of(99))) + b"\0\0\0\0mdat" + MEDIA * 3,
        fragmented(fragment(numbers(0x1, 4, HERE)), size=50),
        fragmented(fragment(numbers(0x201, 2, HERE, 120, 80))),
        fragmented(fragment(numbers(0xF05, 1, HERE, 0, 1, 200, 0, 0))),
        fragmented(fragment(numbers(0x1, 1, HERE), numbers(0, 1), flags=0x20010, more=numbers(100))),
        fragmented(fragment(numbers(0, 2), flags=0x3B, more=numbers(0, 250, 1, 1, 50))),
    ],
)
def test_whole_files_can_be_played(content: bytes) -> None:
    """Chunks of one or more samples, narrow and wide tables, silence, and fragments of every kind."""
    assert problem_of(content) is None


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0", b"garbage!garbage!", b"\xff" * 4000, bytes(100_000)])
def test_a_few_bytes_behind_the_last_box_do_not_matter(tail: bytes) -> None:
    """Signatures, padding and zeros are no part of the video."""
    assert problem_of(movie() + tail) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (box(b"ftyp") + box(b"moov") + box(b"mdat"), "no track has samples"),
        (box(b"ftyp", b"isom") + box(b"moov", b"\xff" * 100) + box(b"mdat", bytes(1000)), "no track has samples"),
        (movie(bytes(500)), "blank"),
        (film(MEDIA + bytes(400), trak([START, START + 200], sizes_of(200, 400))), "blank"),
        (movie(b"d" * 250 + bytes(250)), "blank"),
        (film(MEDIA, trak([START, START + 101], sizes_of(100, 9**9))), "do not end within"),
        (film(MEDIA, trak([9**9, START], sizes_of(100, 100))), "do not end within"),
        (
            film(MEDIA, trak([START], sizes_of(2**32 - 1, every=2**32 - 1), per_chunk=2**32 - 1)),
            "do not end within",
        ),
        (
            FTYP + box(b"moov", trak([START + 300], sizes_of(2000))) + b"\0\0\0\0mdat" + MEDIA * 3,
            "do not end within",
        ),
        (film(MEDIA, trak([START], box(b"stsz", numbers(0, 0, 9, 1)), per_chunk=9)), "cut off"),
        (fragmented(fragment(numbers(0x1, 4, HERE)), size=51), "do not end within"),
        (fragmented(fragment(numbers(0x1, 4, HERE))), "no track has samples"),
        (fragmented(fragment(numbers(0x1, 4, HERE)), bytes(200), size=50), "blank"),
        (fragmented(fragment(numbers(0x1, 1, 2**32 - 500)), size=50), "do not end within"),
        (FTYP + box(b"mdat"), "no moov"),
        (FTYP + box(b"moov"), "no mdat"),
        (b"", "no ftyp, mdat, moov"),
        (b"<html>", "begins with"),
        (b"\0\0\0\7ftyp", "does not end within"),
        (movie() + (9**9).to_bytes(4) + b"free" + bytes(5000), "does not end within"),
    ],
)
def test_what_cannot_be_played_says_why(content: bytes, problem: str) -> None:
    """Empty boxes, zeroed, cut or missing media, and tables that promise more than there is."""
    assert problem in (problem_of(content) or "")


def test_a_file_of_endless_boxes_or_chunks_is_not_a_video(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a file says, what is read of it is bounded."""
    monkeypatch.setattr(mp4, "MOST_BOXES", 10)
    assert "over 10 boxes" in (problem_of(FTYP + box(b"free") * 20) or "")
    monkeypatch.setattr(mp4, "MOST_CHUNKS", 3)
    assert "over 3 chunks" in (problem_of(film(MEDIA, trak([START] * 4, sizes_of(1, 1, 1, 1)))) or "")
    monkeypatch.setattr(mp4, "MOST_INDEX", 100)
    assert "larger than 100 bytes" in (problem_of(movie()) or "")


@pytest.mark.parametrize("cut", range(1, len(movie()), 7))
def test_every_cut_is_noticed(cut: int) -> None:
    """A film without its end, wherever it was cut, cannot be played."""
    assert problem_of(movie()[:-cut]) is not None
