"""File names of videos: safe on every file system, and different for each track."""

from __future__ import annotations

import hashlib
import re
import string
import sys
import unicodedata
from collections.abc import Mapping

from attrs import frozen

from suno_video_async.models import Track

#: The fields of a template; `{title}` costs one request for each music task.
FIELDS = ("suno_id", "task_id", "author", "brand", "video_task_id", "title")
#: A template needs one of these to keep the videos of two tracks apart.
_APART = ("suno_id", "video_task_id")
DEFAULT_TEMPLATE = "{suno_id}"
SUFFIX = ".mp4"
#: Maximum length of a name in bytes: file systems allow 255, and `.part.json` is added.
MOST_BYTES = 240

#: Names that Windows reserves for devices.
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
#: Characters that some file systems refuse or treat as part of the path.
_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_HASHED = 8


def file_name(suno_id: str, *, marked_by: str | None = None) -> str:
    """Return a safe name for a track's video.

    Args:
        suno_id: the track's id; unsafe characters in it are replaced, and a hash then keeps it apart.
        marked_by: the track's key, if another track of the run has the same `suno_id`.

    """
    return _finished(_safe_id(suno_id, marked_by))


def marked(name: str, mark: str) -> str:
    """Return another name for a file, since its own is taken; the same one for the same mark."""
    stem = name.removesuffix(SUFFIX)
    return _finished(f"{stem}-{hashlib.sha256(mark.encode(errors='replace')).hexdigest()[:_HASHED]}")


def _safe_id(text: str, marked_by: str | None = None) -> str:
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:100]
    if marked_by is not None or safe != text:
        safe += "-" + hashlib.sha256((marked_by or text).encode(errors="replace")).hexdigest()[:_HASHED]
    return safe


@frozen
class NameTemplate:
    """How the files of a conversion are named, such as `"{author} - {title} [{suno_id}]"`.

    Its fields are the track's, and `{extra[album]}` for another column of the catalog; absent ones are empty.

    Args:
        text: the template, without `.mp4`.

    Raises:
        ValueError: it has an unknown field, or none that keeps two tracks apart.

    """

    text: str = DEFAULT_TEMPLATE

    def __attrs_post_init__(self) -> None:
        names = self._names()
        for name in names:
            if name not in FIELDS and not re.fullmatch(r"extra\[[^\[\]{}]+\]", name):
                raise ValueError(f"{{{name}}} is not a field of file names: use {_listed()} or {{extra[column]}}")
        if not any(name in names for name in _APART):
            raise ValueError(
                f"the file name {self.text!r} would be the same for two tracks: add {{suno_id}} to it"
            )

    def _names(self) -> list[str]:
        try:
            parsed = list(string.Formatter().parse(self.text))
        except ValueError as error:
            raise ValueError(f"the file name {self.text!r} cannot be read: {error}") from None
        if any(spec or conversion for _, _, spec, conversion in parsed):
            raise ValueError(f"the file name {self.text!r} cannot be read: fields take no format")
        return [name for _, name, _, _ in parsed if name is not None]

    @property
    def needs_title(self) -> bool:
        """Whether the template uses the song's title."""
        return "title" in self._names()

    @property
    def needs_track_only(self) -> bool:
        """Whether a name follows from the track alone, before its video is made."""
        return not {"title", "video_task_id"} & set(self._names())

    def name(
        self,
        track: Track,
        *,
        video_task_id: str = "",
        title: str = "",
        marked_by: str | None = None,
    ) -> str:
        """Return the name of a track's file, with `.mp4`.

        Args:
            track: of the video.
            video_task_id: the task that made it.
            title: the song's, if the template needs it.
            marked_by: the track's key, if another track of the run has the same `suno_id`.

        """
        values: Mapping[str, object] = {
            "suno_id": _safe_id(track.suno_id, marked_by),
            "video_task_id": _safe_id(video_task_id),
            "task_id": _safe(track.task_id),
            "author": _safe(track.author or ""),
            "brand": _safe(track.brand or ""),
            "title": _safe(title),
            "extra": _Columns({name: _safe(value) for name, value in track.extra.items()}),
        }
        return _finished(_safe(self.text.format_map(values)))


def named_after(text: str) -> str:
    """Return the name of a video that is called like a text."""
    return _finished(_safe(text))


class _Columns(dict[str, str]):
    """The other columns of the catalog; missing ones are empty."""

    def __missing__(self, column: str) -> str:
        return ""


def _listed() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)


def _safe(text: str) -> str:
    """Return a text without anything that a file system or a terminal could misinterpret, or cannot spell."""
    names = sys.getfilesystemencoding()  # in some locales it has few letters
    text = unicodedata.normalize("NFC", text).encode(names, errors="replace").decode(names)
    printable = (one if one.isprintable() else "_" for one in _UNSAFE.sub("_", text))
    return " ".join("".join(printable).split())


def _finished(stem: str) -> str:
    """Return the whole name: not hidden, not a Windows device, no dot or space at its end, not too long."""
    stem = stem.strip(" .") or "track"
    if len(stem.encode()) > MOST_BYTES - len(SUFFIX):
        mark = "-" + hashlib.sha256(stem.encode()).hexdigest()[:_HASHED]
        room = MOST_BYTES - len(SUFFIX) - len(mark)
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .") + mark
    return f"{'track-' if _RESERVED.fullmatch(stem.partition('.')[0]) else ''}{stem}{SUFFIX}"
