"""The local server: it speaks the API's contract on this machine, and really makes the videos."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suno_video_async._util.connections import Limits
    from suno_video_async.local.errors import FaultError, KeysError, LocalServerError
    from suno_video_async.local.faults import Fault, load_faults
    from suno_video_async.local.keys import ApiKey, load_keys
    from suno_video_async.local.server import LocalServer
    from suno_video_async.local.service import ApiService

__all__ = [
    "ApiKey",
    "ApiService",
    "Fault",
    "FaultError",
    "KeysError",
    "Limits",
    "LocalServer",
    "LocalServerError",
    "load_faults",
    "load_keys",
]

_HOMES = {
    "ApiKey": "keys",
    "ApiService": "service",
    "Fault": "faults",
    "FaultError": "errors",
    "KeysError": "errors",
    "Limits": "server",
    "LocalServer": "server",
    "LocalServerError": "errors",
    "load_faults": "faults",
    "load_keys": "keys",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: a library of songs needs no server."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  not needed for submodules

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
