"""The sound of a video: AAC is passed through, anything else is encoded to AAC in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet

from suno_video_async.lyricvideo.render.errors import RenderCancelled, RenderError

# A playlist under the name of a song would have FFmpeg open the files and addresses that it lists.
_SAFE: Final = {
    "protocol_whitelist": "file",
    "format_whitelist": (
        "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,eac3,flac,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
        "mp3,mpc,mpc8,ogg,tta,w64,wav,wv"
    ),
}

_RATES: Final = frozenset({32000, 44100, 48000})
_FRAME: Final = 1024
"""Samples in a frame of AAC."""
_PATIENCE: Final = 0.02
"""Seconds between two looks at the cancel flag while waiting for a packet."""

# What reading a file can raise: FFmpeg's errors, some of them plain OSError or ValueError in Python.
_FAULTS: Final = (FFmpegError, OSError, ValueError, EOFError)


def open_media(path: Path) -> InputContainer:
    """Open a file for reading; tags in an unknown encoding do not matter."""
    opened: Any = av.open
    try:
        container: InputContainer = opened(str(path), mode="r", options=_SAFE, metadata_errors="replace")
    except TypeError:  # PyAV 19 has no such argument: it replaces by itself
        container = opened(str(path), mode="r", options=_SAFE)
    return container


class Sound:
    """An open audio file, and the stream of the output that it feeds.

    `start` begins to read in a thread; `take` hands its packets to the muxer, in order.
    """

    def __init__(self, path: Path, cancelled: threading.Event) -> None:
        self._name = path.name
        self._cancelled = cancelled
        self._stopped = threading.Event()
        self._packets: queue.Queue[Packet[Any] | BaseException | None] = queue.Queue(maxsize=512)
        self._thread: threading.Thread | None = None
        # PyAV's annotations of outputs are incomplete, here and in `encode`.
        self._out: Any = None
        self._copies = False
        self._seconds = 0.0
        self.ended: bool = False
        if not path.is_file():
            raise RenderError(f"the audio {path.name} does not exist")
        try:
            self._source: InputContainer = open_media(path)
        except _FAULTS as error:
            raise RenderError(f"the audio {path.name} cannot be read: {_reason(error)}") from error
        if not self._source.streams.audio:
            self._source.close()
            raise RenderError(f"the audio {path.name} has no sound in it")
        self._in: AudioStream = self._source.streams.audio[0]

    @property
    def seconds(self) -> float:
        """How much sound has been taken; when `ended`, the length of all of it."""
        return self._seconds

    @property
    def estimate(self) -> float:
        """The length that the file states, in seconds; 0 when it states none."""
        if self._in.duration and self._in.time_base:
            return float(self._in.duration * self._in.time_base)
        return (self._source.duration or 0) / 1_000_000

    def attach(self, target: Any) -> None:
        """Add the audio stream to the output."""
        if self._in.codec_context.name == "aac":
            self._copies = True
            self._out = target.add_stream_from_template(self._in)
            return
        rate = self._in.codec_context.sample_rate
        rate = rate if rate in _RATES else 48000
        # The default coder takes twice as long and more. Only a tone near full scale without overtones and noise,
        # which no instrument plays, comes out quieter by this one.
        out = target.add_stream("aac", rate=rate, options={"aac_coder": "fast"})
        out.bit_rate = 192_000
        # One channel stays one: FFmpeg would make two of it that are 3 dB quieter each.
        out.codec_context.layout = "mono" if self._in.codec_context.channels == 1 else "stereo"
        out.codec_context.format = "fltp"
        out.codec_context.time_base = Fraction(1, rate)
        self._out = out

    def start(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._run, name="render-audio", daemon=True)
        self._thread.start()

    def take(self, until: float) -> Iterator[Packet[Any]]:
        """The packets up to a time in seconds; waits for them."""
        while not self.ended and self._seconds < until:
            packet = self._next()
            if packet is None:
                self.ended = True
                return
            if packet.pts is not None and packet.time_base:
                self._seconds = max(self._seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            yield packet

    def close(self) -> None:
        """Stop reading and close the file; waits for the thread, which stops at the next packet."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._source.close()

    def _next(self) -> Packet[Any] | None:
        while True:
            if self._cancelled.is_set():
                raise RenderCancelled("the render was cancelled")
            try:
                item = self._packets.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if isinstance(item, RenderError):
                raise item
            if isinstance(item, BaseException):
                raise RenderError(f"the audio {self._name} cannot be read: {_reason(item)}") from item
            return item

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            for packet in self._copied() if self._copies else self._encoded():
                if not self._put(packet):
                    return
        except Exception as error:  # raised again by the thread that waits
            last = error
        self._put(last)

    def _put(self, item: Packet[Any] | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._packets.put(item, timeout=_PATIENCE)
            except queue.Full:
                continue
            return True
        return False

    def _copied(self) -> Iterator[Packet[Any]]:
        """The packets of an AAC file under stamps of our own, without gaps."""
        rate = self._in.codec_context.sample_rate
        counter: int | None = None
        for packet in self._source.demux(self._in):
            if not packet.size:
                continue
            if counter is None:
                # The encoder's run-in has negative stamps; the muxer turns it into an edit list.
                early = min(0.0, float((packet.pts or 0) * (packet.time_base or 0)))
                counter = round(early * rate)
            base = packet.time_base
            length = round(float((packet.duration or 0) * base) * rate) if base else 0
            length = length or _FRAME
            packet.stream = self._out
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = counter
            packet.duration = length
            counter += length
            yield packet
        if counter is None:
            raise RenderError(f"the audio {self._name} has no sound in it")

    def _encoded(self) -> Iterator[Packet[Any]]:
        """The sound, encoded again; its timestamps come from a count of samples."""
        counter = 0
        for frame in self.decoded():
            frame.pts = counter
            frame.time_base = Fraction(1, frame.sample_rate)
            counter += frame.samples
            yield from self._out.encode(frame)
        if not counter:
            raise RenderError(f"the audio {self._name} has no sound in it")
        yield from self._out.encode(None)

    def decoded(self) -> Iterator[AudioFrame]:
        """The decoded frames; a damaged packet is passed over, as players do, unless there are many.

        For a caller that does not `start`: the file is read once.
        """
        good = bad = 0
        for packet in self._source.demux(self._in):
            try:
                for frame in packet.decode():
                    if frame.samples:
                        good += 1
                        yield frame
            except InvalidDataError as error:
                bad += 1
                if bad > 8 + good // 10:
                    raise RenderError(f"the audio {self._name} is damaged: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """FFmpeg's words for a fault, without the path."""
    text = getattr(error, "strerror", None) or str(error)
    return text or type(error).__name__


def audio_seconds(path: Path) -> float:
    """The length that an audio file states; a `ValueError` when it is none."""
    try:
        with open_media(path) as source:
            if not source.streams.audio:
                raise ValueError("it contains no sound")
            stream = source.streams.audio[0]
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            if source.duration:
                return source.duration / 1_000_000
    except (FFmpegError, OSError) as error:
        raise ValueError(error.strerror or "damaged") from error
    raise ValueError("it does not state its length")
