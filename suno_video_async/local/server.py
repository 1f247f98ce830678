"""The local server as a whole: its parts, how they start and how they stop."""

from __future__ import annotations

import ipaddress
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

import anyio
import anyio.to_thread
from attrs import frozen

from suno_video_async._util.aio import run_to_completion
from suno_video_async._util.connections import Limits
from suno_video_async.clock import Clock, SystemClock
from suno_video_async.errors import MissingExtraError
from suno_video_async.local.announcing import CallbackForm
from suno_video_async.local.app import Edge, Listener
from suno_video_async.local.callbacks import CallbackSender
from suno_video_async.local.faults import Fault, load_faults
from suno_video_async.local.keys import ApiKey, named_keys
from suno_video_async.local.media import MediaFile
from suno_video_async.local.producers import Producer, SimulatedProducer
from suno_video_async.local.service import RETENTION, ApiService
from suno_video_async.local.studio.calls import Keys, Studio
from suno_video_async.local.studio.shelf import Shelf
from suno_video_async.local.watching import LibraryWatch
from suno_video_async.lyricvideo.folder import FolderLibrary
from suno_video_async.lyricvideo.library import BuiltinLibrary, Library
from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, Size, size_of
from suno_video_async.models import RateLimit

#: `"real"`; or the seconds of every task; or their median and the sigma of their logarithm.
RenderSeconds = Literal["real"] | float | tuple[float, float]

_DEFAULT_RATE = RateLimit(20, per=10)
_DEFAULT_LIMITS = Limits()
#: Real seconds between two checks whether a stopping server is done.
_LOOK = 0.02
_STUB = Path(__file__).with_name("stub.mp4")


class LocalServer:
    """A server on this machine that speaks the API's contract and makes real videos.

    Use it with `async with`, or `start` and `aclose`.

    Args:
        host: the address to listen on; other machines can reach the server only if it is not a loopback address.
        port: 0 picks a free one.
        library: the songs, or a folder of them; without it, a few built-in ones.
        api_keys: the keys to accept, each with an account of its own; without any, one is made up. An `ApiKey` may
            have credits and limits of its own, in place of the following.
        credits: the initial balance of each account.
        cost: of one video, in credits.
        rate: requests of one key, all calls together; None for any number.
        read_rate: a window of its own for all calls but CreateTask; `rate` is then for CreateTask alone.
        max_running: unfinished tasks of one key.
        retention: seconds of the server's clock for which a finished video can be fetched.
        time_scale: seconds of the server's clock in one real second.
        render_seconds: `"real"` renders, which needs the `local` extra. With a number every task takes that
            long, with a pair the times are lognormal with that median and sigma; both accept any track ids, and
            all tasks end with the same small video.
        faults: what goes wrong on purpose, as values or as a TOML file.
        seed: makes faults and simulated times repeatable.
        http_refusals: refuse by HTTP status, which then is the code, in place of HTTP 200.
        callback_form: `"plain"` sends callbacks as the data of TaskInfo, `"enveloped"` as TaskInfo answers it.
        clock: in place of the system's at `time_scale`.
        size: of the rendered pictures, in pixels, or `"landscape"` (1280 x 720), `"portrait"` (1080 x 1920) or
            `"square"` (1080 x 1080).
        constant_rate: encode 30 frames a second instead of only those that differ; some editors need it.
        fonts: files in which the letters of videos are looked for before all others.
        limits: on a client's use of connections and time.

    Raises:
        ValueError: an argument is invalid.

    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        library: Library | Path | None = None,
        api_keys: Sequence[str | ApiKey] = (),
        credits: float = 1000.0,  # noqa: A002  the word of the contract
        cost: float = 2.0,
        rate: RateLimit | None = _DEFAULT_RATE,
        read_rate: RateLimit | None = None,
        max_running: int = 100,
        retention: float = RETENTION,
        time_scale: float = 1.0,
        render_seconds: RenderSeconds = "real",
        faults: Path | Sequence[Fault] = (),
        seed: int = 0,
        http_refusals: bool = False,
        callback_form: CallbackForm = "plain",
        clock: Clock | None = None,
        size: Size = "landscape",
        constant_rate: bool = False,
        fonts: Sequence[Path] = (),
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        _check_amounts(credits=credits, cost=cost, retention=retention)
        if max_running < 1:
            raise ValueError(f"max_running must be at least 1, not {max_running!r}")
        self._host = host
        self._port = port
        self._library = library
        self._keys = named_keys(tuple(api_keys) or (ApiKey(),))
        self._made_up = not api_keys
        self._credits = credits
        self._cost = cost
        self._rate = rate
        self._read_rate = read_rate
        self._max_running = max_running
        self._retention = retention
        self._clock: Clock = clock or SystemClock(time_scale)
        self._duration = _read_render_seconds(render_seconds)
        self._faults = faults
        self._seed = seed
        self._http_refusals = http_refusals
        self._callback_form: CallbackForm = _read_callback_form(callback_form)
        self._size = _read_size(size)
        self._constant_rate = constant_rate
        self._fonts = tuple(fonts)
        self._limits = limits
        self._service: ApiService | None = None
        self._parts: _Parts | None = None

    def __repr__(self) -> str:
        return f"<LocalServer {self.url if self._parts else 'not running'}>"

    @property
    def api_key(self) -> str:
        """A key that the server accepts: the first, or the one that was made up."""
        return self._keys[0].key

    @property
    def api_keys(self) -> Mapping[str, str]:
        """The keys that the server accepts, by their names, in their order."""
        return {key.name or "": key.key for key in self._keys}

    @property
    def url(self) -> str:
        """The base URL for clients, once the server was started."""
        return self.service.base_url

    @property
    def service(self) -> ApiService:
        """The behaviour behind the server, once it was started: `stats()`, `tasks()`, `reset()`."""
        if self._service is None:
            raise RuntimeError("the local server was not started; use `async with LocalServer(…)` or `start()`")
        return self._service

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self._host).is_loopback
        except ValueError:
            return self._host == "localhost"

    async def start(self) -> None:
        """Start listening.

        Raises:
            LocalServerError: the port is in use, or cannot be listened on.
            MissingExtraError: videos are to be rendered, and the `local` extra is not installed.
            FaultError: the faults file cannot be used, or a fault names a key that does not exist.
            LibraryError: the library's folder cannot be used.

        """
        if self._parts is not None:
            raise RuntimeError("the local server is running already")
        if self._duration is None:
            await anyio.to_thread.run_sync(_load_renderer)
        folder = await anyio.to_thread.run_sync(_new_folder)
        try:
            self._parts = await self._put_together(folder)
            self._service = self._parts.service
        except BaseException:
            await _remove(folder)
            raise

    async def aclose(self, *, grace: float = 0.0) -> None:
        """Stop: close connections, cancel renders, remove own files. Does nothing if the server is not running.

        Args:
            grace: real seconds in which no connection is accepted, but pending requests are answered, callbacks
                sent, and videos with a callback URL finished. They end early once nothing of that is left, or
                when the caller is cancelled.

        """
        parts, self._parts = self._parts, None
        if parts is None:
            return
        try:
            with anyio.move_on_after(grace):
                await parts.finish()
        finally:
            await run_to_completion(parts.aclose())

    @property
    def is_unfinished(self) -> bool:
        """Whether callbacks are still to be sent."""
        return self._parts is not None and self._parts.owes_callbacks

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _put_together(self, folder: Path) -> _Parts:
        library = await anyio.to_thread.run_sync(_open_library, self._library)
        faults = self._faults
        if isinstance(faults, Path):
            faults = await anyio.to_thread.run_sync(load_faults, faults)
        producer = await self._producer(library, folder)
        sender = CallbackSender(self._clock)
        service = ApiService(
            clock=self._clock,
            producer=producer,
            library=library,
            keys=self._keys,
            credits=self._credits,
            cost=self._cost,
            rate=self._rate,
            read_rate=self._read_rate,
            max_running=self._max_running,
            retention=self._retention,
            faults=faults,
            seed=self._seed,
            http_refusals=self._http_refusals,
            callback_form=self._callback_form,
            send_callback=sender.send,
            drop_callbacks=sender.drop,
            folder=folder,
        )
        shelf = await anyio.to_thread.run_sync(Shelf, library, folder, self._fonts, _new_name)
        keys = Keys(by_name=self.api_keys, made_up=self._made_up)
        studio = Studio(service, shelf, keys, self._clock, renders=self._duration is None)

        def refresh_library() -> None:
            service.refresh_library()
            studio.refresh_library()

        listener = Listener(Edge(studio, self._clock, self._limits), self._limits)
        parts = _Parts(
            service=service,
            producer=producer,
            sender=sender,
            listener=listener,
            folder=folder,
            watch=LibraryWatch(library, refresh_library),
            studio=studio,
        )
        try:
            port = await listener.start(self._host, self._port)
        except BaseException:
            await parts.aclose()
            raise
        service.base_url = f"http://{_reachable(self._host)}:{port}"
        return parts

    async def _producer(self, library: Library, folder: Path) -> Producer:
        if self._duration is not None:
            median, sigma = self._duration
            content = await anyio.Path(_STUB).read_bytes()
            video = MediaFile.of_bytes(content, "video/mp4", time.time())
            return SimulatedProducer(self._clock, video, median, sigma=sigma, seed=self._seed)
        from suno_video_async.local.rendering import RenderingProducer  # noqa: PLC0415  only real rendering needs it
        from suno_video_async.lyricvideo.making import Looks  # noqa: PLC0415  likewise

        looks = Looks(size=self._size, every_frame=self._constant_rate, fonts=self._fonts)
        return RenderingProducer(self._clock, library, folder, looks)


@frozen(kw_only=True, eq=False)
class _Parts:
    """The parts of a running server."""

    service: ApiService
    producer: Producer
    sender: CallbackSender
    listener: Listener
    folder: Path
    watch: LibraryWatch
    studio: Studio

    @property
    def owes_callbacks(self) -> bool:
        """Whether callbacks are still to be sent."""
        return self.service.owes_callbacks or self.sender.is_sending

    async def finish(self) -> None:
        """Accept nothing more, and return once requests and callbacks are done."""
        self.studio.stop_waiting()
        await self.listener.drain()
        while self.owes_callbacks:  # noqa: ASYNC110  it happens only once, and the service does not know the event loop
            await anyio.sleep(_LOOK)

    async def aclose(self) -> None:
        """Stop all parts in the order of their dependencies."""
        try:
            self.service.stop()
            self.studio.stop_waiting()
            await self.watch.aclose()
            await self.listener.aclose()
            # Requests that were answered in the meantime may have started more.
            self.service.stop()
            await self.sender.aclose()
            await self.producer.aclose()
        finally:
            await _remove(self.folder)


def _check_amounts(**amounts: float) -> None:
    for name, value in amounts.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be a number from 0, not {value!r}")


def _read_callback_form(form: CallbackForm) -> CallbackForm:
    if form not in get_args(CallbackForm):
        raise ValueError(f'callback_form must be "plain" or "enveloped", not {form!r}')
    return form


def _read_size(value: Size) -> tuple[int, int]:
    """Return width and height in pixels."""
    pair = size_of(value)
    if pair is None:
        raise ValueError(f"size must be {SIZES_IN_WORDS}, not {value!r}")
    return pair


def _read_render_seconds(value: RenderSeconds) -> tuple[float, float] | None:
    """Return median and sigma of the simulated times, or None for real rendering."""
    if value == "real":
        return None
    pair = value if isinstance(value, tuple) else (value, 0.0)
    if len(pair) != 2 or not all(0 <= number < math.inf for number in pair):
        raise ValueError(f'render_seconds must be "real", seconds, or a pair (median, sigma), not {value!r}')
    return float(pair[0]), float(pair[1])


def _load_renderer() -> None:
    try:
        import_module("suno_video_async.lyricvideo.render")
    except ImportError as error:
        raise MissingExtraError(
            f"rendering needs packages that are not installed ({error.name or error}):"
            ' pip install "suno-video-async[local]". Without them, simulate it: --render-seconds 60'
            " (render_seconds=60)"
        ) from error


def _open_library(library: Library | Path | None) -> Library:
    if library is None:
        return BuiltinLibrary()
    return FolderLibrary(library, lenient=True) if isinstance(library, Path) else library


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="suno-video-"))


def _new_name() -> str:
    return secrets.token_hex(16)


async def _remove(folder: Path) -> None:
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _reachable(host: str) -> str:
    """Return the host for URLs: a server that listens on all addresses is reached through loopback."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host or "127.0.0.1"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"
