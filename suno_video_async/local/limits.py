"""What a client may take of the server."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import gt

#: Bytes of the longest line of a request's head: its first, with the URL, and each header.
MAX_LINE = 8_000
#: Bytes of a request's head.
MAX_HEAD = 32 * 1024
#: Headers of a request.
MAX_HEADERS = 100


@frozen(kw_only=True)
class Limits:
    """What a client may take of the server's connections and time; all seconds are real ones.

    Args:
        connections: at once; one more is answered with 429.
        head_seconds: for a request's first line and headers.
        body_seconds: for its body.
        idle_seconds: between two requests of a connection.
        stalled_seconds: for which a client may take nothing of its answer.

    """

    connections: int = field(default=256, validator=gt(0))
    head_seconds: float = field(default=10.0, validator=gt(0))
    body_seconds: float = field(default=30.0, validator=gt(0))
    idle_seconds: float = field(default=75.0, validator=gt(0))
    stalled_seconds: float = field(default=30.0, validator=gt(0))
