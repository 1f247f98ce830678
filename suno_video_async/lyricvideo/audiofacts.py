"""What is known of an audio file before it is decoded. Importing this needs no extra."""

from __future__ import annotations

from attrs import frozen


@frozen
class Measured:
    """What an audio file holds: its length in seconds, the one that it states (0: none), and its tags."""

    seconds: float
    stated: float = 0.0
    title: str = ""
    artist: str = ""
    has_picture: bool = False
