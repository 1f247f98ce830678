"""Where videos go: a folder of this machine, or one in an object store."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from attrs import frozen

from suno_video_async.download.filenames import marked
from suno_video_async.errors import MissingExtraError

#: The stores, and what the names of their settings in the environment begin with.
STORES = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_", "memory": ""}
#: Longest prefix of a key, in bytes: stores allow 1,024 for the whole, and the name needs up to 240.
MOST_PREFIX = 700

#: How a URL begins, also as a path that has lost one of its slashes; a drive of Windows has one letter.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(//?)")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@frozen
class StorePath:
    """A folder in an object store, or a video in one.

    Attributes:
        scheme: of the store, one of `STORES`.
        bucket: or the container.
        key: below it, as it is there: nothing is percent-encoded.

    """

    scheme: str
    bucket: str
    key: str = ""

    @property
    def root(self) -> str:
        """The URL of the bucket."""
        return f"{self.scheme}://{self.bucket}"

    @property
    def uri(self) -> str:
        """The URL, as the store's own tools take it."""
        return f"{self.root}/{self.key}" if self.key else self.root

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return self.uri

    def __fspath__(self) -> str:
        """Return the URL, by which it is taken where folders are."""
        return self.uri

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(self.scheme, self.bucket, f"{self.key}/{name}" if self.key else name)

    def with_name(self, name: str) -> StorePath:
        """Return another video of the same folder."""
        folder, slash, _ = self.key.rpartition("/")
        return StorePath(self.scheme, self.bucket, folder + slash + name)


#: Where videos go.
Folder = Path | StorePath


def folder_of(place: str | PathLike[str]) -> Folder:
    """Return what a folder or a store's URL names: `videos/`, `s3://bucket/videos`, `file:///srv/videos`.

    Raises:
        ValueError: it is another URL, or one that names no folder; what it holds of secrets is not repeated.
        MissingExtraError: it is a store's, and the package for stores is not installed.

    """
    text = os.fspath(place)
    begin = _URL.match(text)
    if begin is None:
        return Path(place)
    scheme = begin[1].lower()
    if begin[2] != "//" or scheme not in {*STORES, "file"}:
        raise ValueError(
            f"{text!r} is a URL, not a folder of this machine: give a folder, and upload the videos from there,"
            " or the URL of a store as text: s3://, gs://, az:// or file://"
        )
    return _folder_of_file(text) if scheme == "file" else _store_path(scheme, text[begin.end() :])


def _folder_of_file(url: str) -> Path:
    parts = urlsplit(url)
    path = unquote(parts.path) if os.sep == "/" else url2pathname(parts.path)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not Path(path).is_absolute():
        raise ValueError(f"{url!r} is not a folder of this machine: write file:///, then its path")
    return Path(path)


def _store_path(scheme: str, rest: str) -> StorePath:
    bucket, _, key = rest.partition("/")
    parts = key.rstrip("/").split("/") if key.strip("/") else []
    if any(sign in rest for sign in "@?#"):
        raise ValueError(
            f"a {scheme}:// URL of videos is a bucket and a folder in it, without a user, '?' or '#': a store's"
            " credentials and settings are taken from the environment"
        )
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{bucket!r} is not a bucket: write {scheme}://bucket/folder")
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise ValueError(f"{key!r} is not a folder of a bucket: a part of it is empty, '.', '..' or unprintable")
    if len(key.encode()) > MOST_PREFIX:
        raise ValueError(f"the folder in the bucket is longer than {MOST_PREFIX} bytes")
    if find_spec("obstore") is None:
        raise MissingExtraError("obstore is not installed: pip install 'suno-video-async[store]'")
    return StorePath(scheme, bucket, "/".join(parts))


def candidates(place: StorePath, mark: str) -> Iterator[StorePath]:
    """Yield names for a video: its own, then marked ones."""
    yield place
    for number in itertools.count(1):
        yield place.with_name(marked(place.name, mark if number == 1 else f"{mark} {number}"))
