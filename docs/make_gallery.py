"""Make the pictures of `gallery.md`: `python docs/make_gallery.py` renders each song and keeps one frame of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import av
from PIL import Image

from suno_video_async.local.library import BuiltinLibrary, LibraryTrack
from suno_video_async.local.render import RenderJob, render
from suno_video_async.local.sizes import SIZES

IMAGES = Path(__file__).parent / "images" / "gallery"
#: The longer side of a kept picture, in pixels.
LONGEST = 640


def frame(library: BuiltinLibrary, track: LibraryTrack, size: tuple[int, int], folder: Path) -> Image.Image:
    """Render a track and return its picture in the middle of a line, or of the song."""
    job = RenderJob(
        audio=library.audio(track, folder),
        cover=library.cover(track, folder),
        title=track.title,
        artist=track.artist,
        brand="Acme Records",
        lyrics=track.lyrics,
        width=size[0],
        height=size[1],
        fps=10,
    )
    video = folder / "video.mp4"
    render(job, video)
    lines = track.lyrics
    wanted = lines[len(lines) // 2].start + 0.8 if lines else track.duration / 2
    with av.open(str(video)) as file:
        pictures: Any = file.decode(video=0)
        image: Image.Image = next(one.to_image() for one in pictures if (one.time or 0.0) >= wanted)
        return image


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture small."""
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    picture.save(IMAGES / f"{name}.jpg", quality=82, optimize=True, progressive=True)


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    library = BuiltinLibrary()
    tracks = library.tracks()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, size in SIZES.items():
            keep(frame(library, tracks[0], size, folder), name)
        languages = {track.language: track for track in tracks}
        for language, track in languages.items():
            keep(
                frame(library, track, SIZES["landscape"], folder),
                f"language-{language}" if language else "instrumental",
            )
            print(language, track.title)


if __name__ == "__main__":
    main()
