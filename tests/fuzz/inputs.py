"""Inputs by Hypothesis: known ones with pieces taken out, put in and repeated, and ones made of their pieces."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Sequence

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from tests.fuzz.targets import Target

#: Pieces that mean something to one parser or another.
PIECES = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\r",
        b"\0",
        b"null",
        b"true",
        b"NaN",
        b"-1",
        b"1e999",
    ),
    *(b"\xef\xbb\xbf", b"\xff", b"\\ud800", b"\\u0000", "\u2028".encode(), "\u202e".encode(), b"9" * 30, b"' #="),
    *(b"[[fault]]", b"[00:00.00]", b"<00:01>", b" --> ", b"\0\0\0\1", b"\0\0\0\0", b"\xff\xff\xff\xff", b"moov"),
)


def inputs(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Return a strategy for inputs like these."""
    words = sorted({word for seed in seeds for word in re.findall(rb"\w+|\W", seed)} | set(PIECES))
    piece = st.sampled_from(words) | st.binary(max_size=6)
    edit = st.tuples(st.integers(0, 4096), st.integers(0, 12), piece, st.integers(0, 3))
    edited = st.builds(_edited, st.sampled_from(seeds), st.lists(edit, max_size=6))
    return edited | st.lists(piece, max_size=40).map(b"".join) | st.binary(max_size=200)


def _edited(seed: bytes, edits: Sequence[tuple[int, int, bytes, int]]) -> bytes:
    for at, removed, piece, times in edits:
        begin = at % (len(seed) + 1)
        seed = seed[:begin] + piece * times + seed[begin + removed :]
    return seed


def vary(
    target: Target, seeds: Sequence[bytes], *, seed: int, end: float, most: int = 300
) -> tuple[int, str | None]:
    """Give a target up to so many inputs, until a moment of the monotonic clock.

    Returns how many it was given, and what it raised, with the shortest input for which it does.
    """
    count, failed = 0, False

    @seeded(seed)
    @settings(
        max_examples=most,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(seeds))
    def run(data: bytes) -> None:
        nonlocal count, failed
        if time.monotonic() > end and not failed:
            return
        count += 1
        try:
            target.run(data)
        except BaseException:
            failed = True
            raise

    try:
        run()
    except Exception:
        return count, traceback.format_exc()[-3000:]
    return count, None
