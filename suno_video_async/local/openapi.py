"""The contract as OpenAPI 3.1, in the file `openapi.json` beside this one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from suno_video_async.local.exchange import JSON, Reply


@cache
def contract() -> bytes:
    """Return the contract; the first call blocks."""
    return Path(__file__).with_name("openapi.json").read_bytes()


def reply() -> Reply:
    """Return the answer that hands it out; a file that was not read yet is read first."""
    if not contract.cache_info().currsize:
        return Reply(prepare=contract)
    return Reply(headers=JSON, body=contract())
