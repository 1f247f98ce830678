"""An application: it makes the videos of an album, and says which ones it could not make."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from suno_video_async import NO_LEDGER, SunoVideoClient, Track


async def make_album(client: SunoVideoClient, tracks: Sequence[Track], folder: Path) -> list[str]:
    """Make a video of every track, and return the suno ids of those that failed."""
    async with client.convert(tracks, ledger=NO_LEDGER, output_dir=folder) as outcomes:
        return [
            outcome.track.suno_id
            async for outcome in outcomes
            if outcome.track is not None and outcome.state != "downloaded"
        ]
