"""The extra `fonts` alone: a song in Hindi and Thai becomes a video in which no letter is missing."""

from __future__ import annotations

import asyncio
import tempfile
import wave
from importlib.util import find_spec
from pathlib import Path

from suno_video_async import SunoVideoClient, Track
from suno_video_async.local import LocalServer


def write_song(folder: Path) -> None:
    """Write a library of one song: two seconds of silence, and a line in two scripts."""
    folder.mkdir(parents=True)
    with wave.open(str(folder / "audio.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(bytes(2 * 44_100))
    (folder / "lyrics.lrc").write_text("[00:00.50]नमस्ते दुनिया สวัสดี\n", encoding="utf-8")
    (folder / "track.toml").write_text('title = "नमस्ते"\nsuno_id = "song"\n', encoding="utf-8")


async def main() -> None:
    """Render one video, small."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "library"
        write_song(library / "music" / "one")
        async with (
            LocalServer(library=library, size=(320, 180)) as server,
            SunoVideoClient(api_key=server.api_key, base_url=server.url) as client,
        ):
            video = await client.generate(Track(task_id="music", suno_id="song"), output_dir=folder)
            snapshot = await client.status(video.task_id)
        notes = snapshot.raw["result"].get("notes", [])
        assert not notes, notes
    print("the extra fonts alone: fine")


asyncio.run(main())
