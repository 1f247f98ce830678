"""Videos in an object store, by `obstore`: put there once, and never over something else.

Each has its task and its digest with it as metadata. So a run that finds a video in its place knows whether it is
its own, such as after a process that was killed after the upload and before its note.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Generator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attrs import define, field, frozen

from suno_video_async.download.places import STORES, StorePath

if TYPE_CHECKING:
    from obstore.store import ObjectStore

#: Metadata of a video: letters alone, since not every store takes more.
_TASK, _SHA256 = "sunovideotask", "sunovideosha256"
#: Seconds that one upload may take.
SLOWEST = 3600
#: Larger files are sent in parts, for which a store cannot be told to replace nothing: it was asked just before.
LARGEST_WHOLE = 256 * 1024**2
#: How long a store is asked before anything is bought.
_TRIES: Any = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
#: Settings of connections that the environment may name, as `AWS_ALLOW_HTTP`.
_CONNECTION = ("allow_http", "connect_timeout", "proxy_ca_certificate", "proxy_excludes", "proxy_url", "timeout")


class StoreProblem(Exception):  # noqa: N818  a download's error says it
    """A store does not do what it is asked; the text says which place and why."""


@frozen(kw_only=True)
class Found:
    """What is in a place.

    Attributes:
        size: in bytes.
        task: the task that it is the video of, if that is known.
        sha256: its digest, if that is known.

    """

    size: int
    task: str | None
    sha256: str | None


@define(eq=False)
class Stores:
    """The stores of a client, opened when they are first used."""

    _opened: dict[str, ObjectStore] = field(factory=dict[str, "ObjectStore"], init=False)

    async def find(self, place: StorePath) -> Found | None:
        """Return what is in a place; None if nothing is, or if this account may not look.

        Raises:
            StoreProblem: the store cannot be asked.

        """
        import obstore  # noqa: PLC0415  of an extra

        with _translated(place, "looked up"):
            try:
                got = await obstore.get_async(self._of(place), place.key, options={"head": True})
            except FileNotFoundError:
                return None
            except obstore.exceptions.PermissionDeniedError:  # the upload decides
                return None
            said = {str(name): str(value) for name, value in got.attributes.items()}
            return Found(size=got.meta["size"], task=said.get(_TASK), sha256=said.get(_SHA256))

    async def put(self, file: Path, place: StorePath, *, task: str, sha256: str) -> Found | None:
        """Upload a task's video to a place, if nothing is there, and return what is there then.

        What another program has put there without metadata counts as the task's if it is the same video.

        Args:
            file: the video.
            place: where it goes.
            task: as `written`.
            sha256: of the video.

        Raises:
            StoreProblem: the store does not take it.

        """
        size = await asyncio.to_thread(os.path.getsize, file)
        mine = Found(size=size, task=task, sha256=sha256)
        found = await self.find(place)
        if found is None and await self._create(file, place, mine):
            return mine
        found = found or await self.find(place)  # since a moment ago, such as by an upload whose answer was lost
        same_size = found is not None and found.task is None and found.size == mine.size
        return mine if same_size and await self._digest(place) == sha256 else found

    async def _create(self, file: Path, place: StorePath, video: Found) -> bool:
        """Upload a video to a place that is free; False if it is not."""
        import obstore  # noqa: PLC0415  of an extra

        attributes: Any = {"Content-Type": "video/mp4", _TASK: video.task, _SHA256: video.sha256}
        with _translated(place, "stored"):
            store = self._of(place)
            try:
                mode: Any = "create" if video.size <= LARGEST_WHOLE else None
                await obstore.put_async(store, place.key, file, mode=mode, attributes=attributes)
            except obstore.exceptions.AlreadyExistsError:
                return False
            except obstore.exceptions.NotSupportedError:  # one that cannot be told so: it was asked just before
                await obstore.put_async(store, place.key, file, attributes=attributes)
            return True

    async def _digest(self, place: StorePath) -> str:
        """Return the SHA-256 of what is in a place."""
        import obstore  # noqa: PLC0415  of an extra

        with _translated(place, "read"):
            got, digest = await obstore.get_async(self._of(place), place.key), hashlib.sha256()
            async for chunk in got.stream():
                digest.update(bytes(chunk))
            return digest.hexdigest()

    def _of(self, place: StorePath) -> ObjectStore:
        if place.root not in self._opened:
            self._opened[place.root] = open_store(place)
        return self._opened[place.root]


#: Stores that live as long as this process, for tests.
_IN_MEMORY = dict[str, "ObjectStore"]()


def open_store(place: StorePath, *, tries: Any = None, seconds: float = SLOWEST) -> ObjectStore:
    """Open the store of a place, with the credentials and settings that the environment names.

    Args:
        place: in the store.
        tries: how often and how long it is asked; None for the usual.
        seconds: the most that one request may take.

    """
    from obstore.store import MemoryStore, from_url  # noqa: PLC0415  of an extra

    if place.scheme == "memory":
        return _IN_MEMORY.setdefault(place.bucket, MemoryStore())
    options: Any = {"timeout": f"{seconds:.0f}s", **_connection(STORES[place.scheme], os.environ)}
    return from_url(place.root, client_options=options, retry_config=tries)


def _connection(prefix: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the environment says of connections: options given in code would hide all of it."""
    named = {name: environment.get(prefix + name.upper()) for name in _CONNECTION}
    return {name: value for name, value in named.items() if value}


def problem_with(place: StorePath) -> str | None:
    """Return why videos cannot be put into a place, as far as that can be known without writing. Blocks."""
    import obstore  # noqa: PLC0415  of an extra

    try:
        with _translated(place, "reached"):
            try:
                store: Any = open_store(place, tries=_TRIES, seconds=10)
                next(iter(store.list(place.key or None, chunk_size=1)), None)
            except obstore.exceptions.PermissionDeniedError:  # one may be allowed to write without that
                return None
    except StoreProblem as error:
        return str(error)
    return None


@contextlib.contextmanager
def _translated(place: StorePath, done: str) -> Generator[None, None, None]:
    """Raise a store's errors as this package's, without what they repeat of requests: that may be signed."""
    from obstore.exceptions import BaseError  # noqa: PLC0415  of an extra

    try:
        yield
    except FileNotFoundError:
        raise StoreProblem(f"{place} cannot be {done}: there is no such bucket or container") from None
    except (BaseError, OSError, ValueError) as error:
        raise StoreProblem(f"{place} cannot be {done}: {_said(error)}") from None


def _said(error: Exception) -> str:
    """Return what a store said, in one line."""
    text = " ".join(str(error).partition("Debug source:")[0].split())
    code = re.search(r"<Code>([A-Za-z]{1,60})</Code>", text)
    line = re.sub(r"\?\S*", "", text.partition(": <?xml")[0].partition(": {")[0])[:300]
    return f"{line} ({code[1]})" if code else line


def written(task: str) -> str:
    """Return a task's id as metadata, which takes printable ASCII only."""
    return quote(task, safe="")[:1000]


def staging_folder() -> Path:
    """Return a folder for videos on their way, of this user alone; a later run finds unfinished ones. Blocks.

    Where another user has made one of that name, it is a folder of this process alone.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"suno-video-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    ours = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o077)
    return folder if ours and folder.is_dir() and not folder.is_symlink() else Path(tempfile.mkdtemp())


def staged(folder: Path, place: StorePath, task: str) -> Path:
    """Return the file that a video is downloaded to on its way to a place."""
    whole = f"{place}\n{task}".encode(errors="replace")
    return folder / f"{hashlib.sha256(whole).hexdigest()[:32]}.mp4"
