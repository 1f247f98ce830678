"""The look that the pages of this library share: the report and the local server's studio."""

from __future__ import annotations

from importlib import resources


def look() -> str:
    """Return the style sheet of the shared part: colours, light and dark, typography, cards. Blocks."""
    return resources.files("suno_video_async._util").joinpath("look.css").read_text(encoding="utf-8")
