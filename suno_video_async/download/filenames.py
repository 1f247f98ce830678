"""Names of videos on disk: safe on every file system, and never another track's."""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections.abc import Mapping

from attrs import frozen

from suno_video_async.models import Track

#: What a template may name; `{title}` costs one request for each music task.
FIELDS = ("suno_id", "task_id", "author", "brand", "video_task_id", "title")
#: One of these keeps the videos of two tracks apart, whatever else a template has.
_APART = ("suno_id", "video_task_id")
DEFAULT_TEMPLATE = "{suno_id}"
SUFFIX = ".mp4"
#: The most bytes of a name: file systems take 255, and `.part.json` is added.
MOST_BYTES = 240

#: Names that Windows keeps for devices.
_RESERVED = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
#: What some file system does not take, or takes for a part of the path, or a terminal for a command.
_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_HASHED = 8


def file_name(suno_id: str, *, marked_by: str | None = None) -> str:
    """Return a safe name for a track's video.

    Args:
        suno_id: the track's id; what no file system would take in it is replaced, and a hash then keeps it apart.
        marked_by: the track's key, where another track of the run has the same `suno_id`.

    """
    return _finished(_safe_id(suno_id, marked_by))


def _safe_id(text: str, marked_by: str | None = None) -> str:
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", text)[:100]
    if marked_by is not None or safe != text:
        safe += "-" + hashlib.sha256((marked_by or text).encode(errors="replace")).hexdigest()[:_HASHED]
    return safe


@frozen
class NameTemplate:
    """How the files of a conversion are named, such as `"{author} - {title} [{suno_id}]"`.

    A field of the track, or `{extra[album]}` for a column of the catalog of one's own; what is absent is empty.

    Args:
        text: the template, without `.mp4`.

    Raises:
        ValueError: it names no such field, or nothing that keeps two tracks apart.

    """

    text: str = DEFAULT_TEMPLATE

    def __attrs_post_init__(self) -> None:
        names = self._names()
        for name in names:
            if name not in FIELDS and not re.fullmatch(r"extra\[[^\[\]{}]+\]", name):
                raise ValueError(f"{{{name}}} is no field of a file's name: use {_listed()} or {{extra[column]}}")
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
            raise ValueError(f"the file name {self.text!r} cannot be read: a field has no format of its own")
        return [name for _, name, _, _ in parsed if name is not None]

    @property
    def needs_title(self) -> bool:
        """Whether the song's title is asked for."""
        return "title" in self._names()

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
            track: what the video is of.
            video_task_id: the task that made it.
            title: the song's, where the template needs it.
            marked_by: the track's key, where another track of the run has the same `suno_id`.

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


class _Columns(dict[str, str]):
    """The catalog's other columns; those that it has not are empty."""

    def __missing__(self, column: str) -> str:
        return ""


def _listed() -> str:
    return ", ".join(f"{{{name}}}" for name in FIELDS)


def _safe(text: str) -> str:
    """Return a text with nothing in it that a file system or a terminal would take for something else."""
    text = unicodedata.normalize("NFC", text)
    printable = (one if one.isprintable() else "_" for one in _UNSAFE.sub("_", text))
    return " ".join("".join(printable).encode(errors="replace").decode().split())


def _finished(stem: str) -> str:
    """Return a whole name: not hidden, no device of Windows, no dot or space at its end, not too long."""
    stem = stem.strip(" .") or "track"
    if len(stem.encode()) > MOST_BYTES - len(SUFFIX):
        mark = "-" + hashlib.sha256(stem.encode()).hexdigest()[:_HASHED]
        room = MOST_BYTES - len(SUFFIX) - len(mark)
        stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .") + mark
    return f"{'track-' if _RESERVED.fullmatch(stem.partition('.')[0]) else ''}{stem}{SUFFIX}"
