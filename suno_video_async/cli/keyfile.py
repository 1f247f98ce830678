"""Writes the provider's key file: sets single names, keeps everything else, and lets only the owner read it."""

from __future__ import annotations

import io
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from suno_video_async.cli.exits import UsageProblem

#: Values that need no quotes in a key file.
_BARE = re.compile(r"[A-Za-z0-9_.:/@%+,-]+")
#: What precedes a name, including empty lines above it.
_HEAD = re.compile(r"\s*(?:export\s+)?")


def store(path: Path, values: Mapping[str, str]) -> None:
    """Set values in a key file; its folder gets mode 0700, the file 0600.

    The file is replaced atomically: it is always either the old one or the new one.

    Args:
        path: the file, which need not exist.
        values: by name; other lines are kept as they are.

    Raises:
        UsageProblem: it cannot be written, or is reached through a symbolic link; it is unchanged.

    """
    for place in (path.parent, path):
        if place.is_symlink():
            raise UsageProblem(
                f"{place} is a link to {place.readlink()}: a key may be read by others there; remove the link,"
                " or write the key yourself"
            )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "posix":
            path.parent.chmod(0o700)
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise UsageProblem(f"{path} is not a regular file: move it away")
        _replace(path, values)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageProblem(f"the key file {path} cannot be written: {reason}") from error


def _replace(path: Path, values: Mapping[str, str]) -> None:
    before = path.read_bytes().decode() if path.exists() else ""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".env-")  # created with mode 0600
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(changed(before, values).encode())
            file.flush()
            os.fsync(file.fileno())
        read = dotenv_values(new, interpolate=False)
        if any(read.get(key) != value for key, value in values.items()):
            raise UsageProblem(f"the key file {path} cannot hold this value; nothing was changed")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def changed(text: str, values: Mapping[str, str]) -> str:
    """Return a key file's text with values set: in place if the name exists, else appended."""
    left, lines = dict(values), list[str]()
    for line in parse_stream(io.StringIO(text, newline="")):
        if line.key is None or line.key not in values or line.error:
            lines.append(line.original.string)
        elif line.key in left:
            head = _HEAD.match(line.original.string)
            lines.append(f"{head[0] if head else ''}{line.key}={_quoted(left.pop(line.key))}\n")
    kept = "".join(lines)
    if kept and not kept.endswith("\n"):
        kept += "\n"
    return kept + "".join(f"{name}={_quoted(value)}\n" for name, value in left.items())


def _quoted(value: str) -> str:
    if _BARE.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
