"""What a render can end with, apart from a video."""

from __future__ import annotations


class RenderError(Exception):
    """The video cannot be made; the message says what is wrong with which input."""


class RenderCancelled(RenderError):  # noqa: N818 - an order carried out, not a mistake
    """The render was cancelled; it left no file."""
