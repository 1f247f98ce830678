"""One render from start to end: draw, encode what changed, mux, rename."""

from __future__ import annotations

import contextlib
import io
import math
import os
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from attrs import define
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from PIL import Image

from suno_video_async.lyricvideo.render.audio import Sound
from suno_video_async.lyricvideo.render.backdrop import TITLE, Plane, Planes, open_cover, paint_backdrop
from suno_video_async.lyricvideo.render.errors import RenderCancelled, RenderError
from suno_video_async.lyricvideo.render.job import RenderJob, RenderResult
from suno_video_async.lyricvideo.render.layout import Layout, lay_out
from suno_video_async.lyricvideo.render.scene import Scene, State
from suno_video_async.lyricvideo.render.text import Typesetter
from suno_video_async.lyricvideo.render.waveform import loudness

CRF: Final = 20
PRESET: Final = "veryfast"
# Key frames come when we say so. B-frames would make the file's length wrong: the index counts decoding
# times, which lag behind when frames are unevenly spaced. Dark gradients get more bits (aq-mode 3). The rest
# saves a third of the time: a scroll is simple motion, mostly by whole pixels, and holds are not encoded at all.
_X264: Final = "keyint=infinite:scenecut=0:bframes=0:rc-lookahead=3:weightp=0:subme=0:partitions=none:aq-mode=3"
KEY_SECONDS: Final = 10
"""A player that seeks decodes at most this much."""
FLOOR: Final = 2
"""Frames a second even when nothing moves, for players that dislike long ones."""
COVER_SIDE: Final = 640
"""Pixels of the cover in the file's facts."""
_AHEAD: Final = 1.0
"""Seconds by which the sound leads: its end is known before the last picture is due."""
_BT709: Final = 1
_LIMITED: Final = 1


def render(
    job: RenderJob,
    target: Path,
    *,
    threads: int = 2,
    cancelled: threading.Event | None = None,
    on_progress: Callable[[float], object] | None = None,
) -> RenderResult:
    """Make the video of a job at `target`; blocks until it is there.

    `threads` are the encoder's. Setting `cancelled` ends the render within some 50 ms with
    `RenderCancelled`. `on_progress` gets a share from 0 to 1, in the calling thread.
    Raises `RenderError` when an input cannot be used or the file cannot be written; no file is left then.
    """
    stop = cancelled or threading.Event()
    part = target.with_name(target.name + ".part")
    try:
        with contextlib.closing(Sound(job.audio, stop)) as sound:
            result = _Render(job, sound, stop, on_progress or _ignore).run(target, part, threads)
        _alive(stop)
        part.replace(target)
    except FFmpegError as error:
        raise RenderError(f"the video could not be encoded: {error.strerror}") from error
    except OSError as error:
        raise RenderError(f"{target} could not be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    (on_progress or _ignore)(1.0)
    return result


def _ignore(_: float) -> None:
    return None


def _alive(stop: threading.Event) -> None:
    if stop.is_set():
        raise RenderCancelled("the render was cancelled")


@define
class _Pace:
    """Decides which frames of the timeline are encoded."""

    fps: int
    every: bool
    last: int = -(10**9)
    shown: State | None = None

    def due(self, index: int, state: State, final: bool) -> bool:
        floor = index - self.last >= self.fps / FLOOR
        return self.every or final or floor or self.key(index) or state != self.shown

    def key(self, index: int) -> bool:
        return index % (KEY_SECONDS * self.fps) == 0


class _Render:
    """The state of one render."""

    def __init__(
        self, job: RenderJob, sound: Sound, stop: threading.Event, report: Callable[[float], object]
    ) -> None:
        self._job, self._sound, self._stop, self._report = job, sound, stop, report
        self._setter = _typesetter(job)
        self._reported = 0.0

    def run(self, target: Path, part: Path, threads: int) -> RenderResult:
        """Write the whole video to `part`."""
        _alive(self._stop)
        cover = open_cover(self._job.cover)
        _alive(self._stop)
        frame, planes, scene = self._draw(cover.image)
        _alive(self._stop)
        part.parent.mkdir(parents=True, exist_ok=True)
        output: Any = av.open(str(part), "w", format="mp4", options={"movflags": "+faststart"})
        output.metadata.update({name: text for name, text in self._facts().items() if text})
        with output:
            video = self._video(output, threads)
            self._sound.attach(output)
            picture = _cover_stream(output, cover.image)
            output.start_encoding()
            output.mux(picture)
            self._sound.start()
            frames, encoded = self._pictures(output, video, frame, planes, scene)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        return RenderResult(
            path=target,
            duration=frames / self._job.fps,
            frames=frames,
            encoded=encoded,
            missing_glyphs=self._setter.missing,
            cover_note=cover.note,
        )

    def _facts(self) -> dict[str, str]:
        """What a player shows of the file."""
        job = self._job
        return {"title": job.title, "artist": job.artist, "copyright": job.brand, "comment": job.comment}

    def _layout(self) -> Layout:
        """With two rows for a title that would have to be cut in one."""
        job = self._job
        sung = any(line.text.strip() for line in job.lyrics)
        layout = lay_out(job.width, job.height, lyrics=sung)
        if self._setter.width(job.title, TITLE) * layout.title_em <= layout.words.width:
            return layout
        return lay_out(job.width, job.height, lyrics=sung, title_rows=2)

    def _draw(self, cover: Image.Image) -> tuple[VideoFrame, Planes, Scene]:
        job = self._job
        layout = self._layout()
        backdrop = paint_backdrop(cover, layout, (job.title, job.artist, job.brand), self._setter)
        heard = None if layout.panel else loudness(job.audio, layout.strokes, self._stop)
        scene = Scene(layout, backdrop, job.lyrics, self._setter, duration=self._sound.estimate, loudness=heard)
        frame = VideoFrame(job.width, job.height, "yuv420p")
        frame.colorspace, frame.color_range = _BT709, _LIMITED
        frame.color_primaries, frame.color_trc = _BT709, _BT709
        planes = _views(frame)
        for plane, still in ((planes.y, backdrop.y), (planes.u, backdrop.u), (planes.v, backdrop.v)):
            plane[:] = still
        return frame, planes, scene

    def _video(self, output: Any, threads: int) -> Any:
        job = self._job
        options = {
            "preset": PRESET,
            "crf": str(CRF),
            "forced-idr": "1",
            "x264-params": _X264,
        }
        stream = output.add_stream("libx264", rate=job.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = job.width, job.height, "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, job.fps)
        context.colorspace, context.color_range = _BT709, _LIMITED
        context.color_primaries, context.color_trc = _BT709, _BT709
        # Slices, the default, leave cores idle: frames are 1.3 times faster.
        context.thread_type, context.thread_count = "FRAME", threads
        return stream

    def _pictures(
        self, output: Any, video: Any, frame: VideoFrame, planes: Planes, scene: Scene
    ) -> tuple[int, int]:
        """Encode the timeline; returns its frames, and how many of them were encoded."""
        encoded = 0
        pace = _Pace(self._job.fps, self._job.every_frame)
        index = 0
        for index, final in self._timeline(output):
            state = scene.state(index / self._job.fps)
            if not pace.due(index, state, final):
                continue
            if state != pace.shown:
                scene.paint(planes, state, pace.shown)
            frame.pts, frame.time_base = index, Fraction(1, self._job.fps)
            frame.pict_type = PictureType.I if pace.key(index) else PictureType.NONE
            pace.last, pace.shown = index, state
            encoded += 1
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        _alive(self._stop)
        return index + 1, encoded

    def _timeline(self, output: Any) -> Iterator[tuple[int, bool]]:
        """Every frame's index and whether it is the last; muxes the sound, a little ahead, on the way."""
        fps, sound = self._job.fps, self._sound
        index, count = 0, 1
        while index < count:
            _alive(self._stop)
            for packet in sound.take(index / fps + _AHEAD):
                output.mux(packet)
            count = max(1, math.floor(sound.seconds * fps + 0.5)) if sound.ended else index + 2
            yield index, index == count - 1
            index += 1
            self._progress(index / fps)

    def _progress(self, seconds: float) -> None:
        length = max(self._sound.seconds, self._sound.estimate, 0.1)
        share = min(0.99, seconds / length)
        if share - self._reported >= 0.01:
            self._reported = share
            self._report(share)


def missing_letters(job: RenderJob) -> tuple[str, ...]:
    """The letters of a job that no font has.

    Raises:
        RenderError: a font of the job cannot be used.

    """
    setter = _typesetter(job)
    for text in _texts(job):
        setter.shape(text, TITLE)
    return setter.missing


def _typesetter(job: RenderJob) -> Typesetter:
    return Typesetter.of(job.language, _texts(job), job.fonts)


def _texts(job: RenderJob) -> tuple[str, ...]:
    return (job.title, job.artist, job.brand, *(text for line in job.lyrics for text in line.texts))


def _cover_stream(output: Any, cover: Image.Image) -> Packet[Any]:
    """Add the cover as players show it in a list of files; returns the packet that is it."""
    side = min(COVER_SIDE, cover.width)
    small = cover.resize((side, side), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=88)
    stream = output.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = side, side, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    packet: Packet[Any] = Packet(data.getvalue())
    packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, 1000)
    return packet


def _views(frame: VideoFrame) -> Planes:
    """The frame's own memory as arrays."""
    views: list[Plane] = []
    for plane in frame.planes[:3]:
        pixels = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        views.append(pixels[: plane.height, : plane.width])
    return Planes(*views)
