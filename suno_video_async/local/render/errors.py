"""What a render can end with, apart from a video."""

from __future__ import annotations


class RenderError(Exception):
    """The video cannot be made; the message says what is wrong with which input."""


class RenderCancelled(RenderError):
    """The render was told to stop; it left no file."""
