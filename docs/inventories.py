"""Inventories of other projects' documentation, as far as our pages link to it.

Sphinx would fetch whole inventories with each build, and fail with the network. These are written from the table
below, so that a build needs no network and links the same names everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

#: By project: its documentation, and by page the names there: `role name`, of the Python domain.
PROJECTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "python": (
        "https://docs.python.org/3/",
        {
            "library/asyncio-exceptions.html": "exception asyncio.CancelledError",
            "library/asyncio-task.html": "class asyncio.Task, class asyncio.TaskGroup",
            "library/collections.abc.html": "class collections.abc.AsyncIterable,"
            " class collections.abc.AsyncIterator, class collections.abc.Awaitable,"
            " class collections.abc.Callable, class collections.abc.Collection, class collections.abc.Coroutine,"
            " class collections.abc.Generator,"
            " class collections.abc.Iterable, class collections.abc.Iterator, class collections.abc.Mapping,"
            " class collections.abc.Sequence",
            "library/datetime.html": "class datetime.datetime",
            "library/exceptions.html": "exception KeyboardInterrupt, exception OSError, exception RuntimeError,"
            " exception TimeoutError, exception ValueError",
            "library/os.html": "class os.PathLike",
            "library/pathlib.html": "class pathlib.Path",
            "library/ssl.html": "class ssl.SSLContext",
            "library/typing.html": "data typing.Any",
        },
    ),
    "aiohttp": (
        "https://docs.aiohttp.org/en/stable/",
        {
            "client_reference.html": "class aiohttp.ClientSession, class aiohttp.TCPConnector",
            "web_reference.html": "class aiohttp.web.Application, class aiohttp.web.AppRunner",
        },
    ),
    "anyio": (
        "https://anyio.readthedocs.io/en/stable/",
        {"api.html": "class anyio.CancelScope, class anyio.abc.TaskGroup, class anyio.Path"},
    ),
}


def write(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the inventories and return what `intersphinx_mapping` takes."""
    folder.mkdir(parents=True, exist_ok=True)
    mapping = dict[str, tuple[str, str]]()
    for project, (home, pages) in PROJECTS.items():
        path = folder / f"{project}.inv"
        path.write_bytes(_inventory(project, pages))
        mapping[project] = (home, str(path))
    return mapping


def _inventory(project: str, pages: Mapping[str, str]) -> bytes:
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = [
        f"{name} py:{role} 1 {page}#$ -\n"
        for page, names in pages.items()
        for role, name in (one.split() for one in names.split(","))
    ]
    return head.encode() + zlib.compress("".join(lines).encode())
