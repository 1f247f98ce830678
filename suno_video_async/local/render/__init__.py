"""Lyric videos: a cover, a title and scrolling lyrics over an audio file.

Needs the `local` extra (PyAV, NumPy, Pillow, HarfBuzz). `render` blocks: call it in a thread.
"""

from .encode import render
from .errors import RenderCancelled, RenderError
from .job import RenderJob, RenderResult

__all__ = ["RenderCancelled", "RenderError", "RenderJob", "RenderResult", "render"]
