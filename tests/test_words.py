"""Numbers in sentences."""

from __future__ import annotations

import pytest

from suno_video_async._util.words import many


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 tracks"),
        (1, "1 track"),
        (2, "2 tracks"),
        (1.0, "1 track"),
        (0.5, "0.5 tracks"),
        (1e6, "1000000 tracks"),
    ],
)
def test_a_number_and_its_noun(number: float, said: str) -> None:
    """One is one, and everything else is several."""
    assert many(number, "track") == said


def test_what_follows_agrees() -> None:
    """A verb can go with the noun."""
    assert [many(n, "track is", "tracks are") for n in (1, 2)] == ["1 track is", "2 tracks are"]
