"""Lyric videos: a cover, a title and scrolling lyrics over an audio file.

Needs the `local` extra (PyAV, NumPy, Pillow, HarfBuzz). `render` blocks: call it in a thread.
"""

from suno_video_async.lyricvideo.render.encode import render
from suno_video_async.lyricvideo.render.errors import RenderCancelled, RenderError
from suno_video_async.lyricvideo.render.job import RenderJob, RenderResult

__all__ = ["RenderCancelled", "RenderError", "RenderJob", "RenderResult", "render"]
