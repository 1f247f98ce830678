"""The built-in songs: words and scores, their synthesis, and their covers."""

from __future__ import annotations

from pathlib import Path


def picture(name: str) -> Path:
    """Return the picture of a built-in cover; `docs/paint_covers.py` paints them."""
    return Path(__file__).with_name("pictures") / f"{name}.webp"
