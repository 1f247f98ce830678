"""The contract as OpenAPI 3.1, in the file `openapi.json` beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from suno_video_async.local.exchange import JSON, Reply

CONTRACT: Final = Path(__file__).with_name("openapi.json").read_bytes()


def reply() -> Reply:
    """Return the answer that hands it out."""
    return Reply(headers=JSON, body=CONTRACT)
