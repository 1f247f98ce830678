"""The sound of a video: AAC is passed through, anything else is encoded to AAC in a thread of its own."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from suno_video_async.lyricvideo.audiofacts import Measured
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
_FILLING: Final = 0.15
"""Seconds by which packets may be longer than the sound in them."""
_LONGEST_TAG: Final = 200
_MOST_CHUNKS: Final = 1000
_STREAMED: Final = 0x7FFFFF00
"""Bytes; a WAV that was written to a pipe states this length or more."""
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
        self._path = path

    @property
    def seconds(self) -> float:
        """How much sound has been taken; when `ended`, the length of all of it."""
        return self._seconds

    @cached_property
    def estimate(self) -> float:
        """The length of the sound in seconds, before it is read; 0 if it cannot be told. It is measured once."""
        try:
            return measure(self._path).seconds
        except ValueError:  # what is wrong shows when it is decoded
            return 0.0

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


def measure(path: Path) -> Measured:
    """What an audio file really holds, from all its packets, beside what it states; its tags.

    Raises:
        ValueError: it is not audio, or holds none.

    """
    try:
        with open_media(path) as source:
            if not source.streams.audio:
                raise ValueError("it contains no sound")
            stream = source.streams.audio[0]
            stated = (
                _wav_states(path) or _seconds(stream.duration, stream.time_base) or (source.duration or 0) / 1e6
            )
            tags = {name.lower(): text for name, text in {**source.metadata, **stream.metadata}.items()}
            pictured = any(_is_picture(video) for video in source.streams.video)
            packets = [packet.duration or 0 for packet in source.demux(stream) if packet.size]
            held = _seconds(sum(packets), stream.time_base) if all(packets) else 0.0
    except (FFmpegError, OSError, ArithmeticError) as error:
        raise ValueError(_reason(error)) from error
    held = held or _decoded_seconds(path)
    if not held:
        raise ValueError("it contains no sound")
    # An encoder's run-in and the filling of its last frame are in the packets, and not in what is stated.
    seconds = stated if 0 <= held - stated < _FILLING else held
    title, artist = (" ".join(tags.get(name, "").split())[:_LONGEST_TAG] for name in ("title", "artist"))
    return Measured(seconds, stated, title, artist, pictured)


def comment_of(path: Path) -> str:
    """The comment that a file keeps; empty if it has none, or is not a media file."""
    try:
        with open_media(path) as source:
            return source.metadata.get("comment", "")
    except _FAULTS:
        return ""


def write_picture(audio: Path, path: Path) -> None:
    """Write the picture that an audio file has of its album to `path`.

    Raises:
        RenderError: it has none.

    """
    try:
        with open_media(audio) as source:
            pictures = [video for video in source.streams.video if _is_picture(video)]
            packet = (
                next((packet for packet in source.demux(pictures[:1]) if packet.size), None) if pictures else None
            )
            data = bytes(packet) if packet is not None else b""
    except _FAULTS as error:
        raise RenderError(f"the audio {audio.name} cannot be read: {_reason(error)}") from error
    if not data:
        raise RenderError(f"the audio {audio.name} has no picture")
    path.write_bytes(data)


def _is_picture(video: VideoStream) -> bool:
    return bool(video.disposition & Disposition.attached_pic)


def _seconds(length: int | None, base: Fraction | None) -> float:
    return float(length * base) if length and base else 0.0


def _decoded_seconds(path: Path) -> float:
    """The length of the sound of a file whose packets do not say how long they are."""
    sound = Sound(path, threading.Event())
    try:
        return sum(frame.samples / frame.sample_rate for frame in sound.decoded() if frame.sample_rate)
    except _FAULTS as error:
        raise ValueError(_reason(error)) from error
    except RenderError as error:
        raise ValueError(str(error)) from error
    finally:
        sound.close()


def _wav_states(path: Path) -> float:
    """The length that a WAV states; 0 if it is another kind, or says that it was still being written."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return 0.0
        rate = 0
        for _ in range(_MOST_CHUNKS):
            name, size = file.read(4), int.from_bytes(file.read(4), "little")
            if len(name) < 4:
                break
            if name == b"data":
                return size / rate if rate and 0 < size < _STREAMED else 0.0
            content = file.read(16) if name == b"fmt " else b""
            rate = int.from_bytes(content[8:12], "little") or rate
            file.seek(size + size % 2 - len(content), os.SEEK_CUR)
    return 0.0
