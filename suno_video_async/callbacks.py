"""`CallbackReceiver`: receives the service's callbacks, and treats them as hints, never as the truth.

A callback carries no signature. Its only credential is its URL: each attempt has its own, which contains a random
nonce. Knowing the nonce permits a caller to say "poll this attempt again", and nothing more. The port is open to
strangers, so what a request costs grows with what it proves: no body is read before its nonce is found in a
ledger, nothing is decompressed, and connections are bounded in number, size and time (`_util/connections.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from attrs import frozen

from suno_video_async._util.aio import OwnLoop, run_to_completion
from suno_video_async.clock import Clock
from suno_video_async.errors import (
    CallbackRejected,
    LedgerError,
    MalformedResponseError,
    MissingExtraError,
    SunoVideoError,
)
from suno_video_async.ledger.aio import AsyncLedger
from suno_video_async.ledger.model import Attempt, LedgerRow, Transition
from suno_video_async.ledger.origin import origin_problem
from suno_video_async.ledger.states import Cause, State
from suno_video_async.models import TaskSnapshot, VideoTaskId
from suno_video_async.observability.log import fields, logger
from suno_video_async.polling.schedule import HINTED_AGAIN
from suno_video_async.protocol import codec

if TYPE_CHECKING:  # a part of aiohttp that only listeners need
    from aiohttp import web
    from starlette.applications import Starlette
    from starlette.requests import Request

#: Maximum bytes of one callback.
MAX_BODY = 256 * 1024
#: Maximum concurrent callbacks with a known nonce, and of one nonce; further ones are answered with 503.
AT_ONCE, AT_ONCE_EACH = 32, 2
#: Maximum connections of the port; when there are more, the one that has waited longest is closed.
CONNECTIONS = 128
#: Maximum real seconds for the head of a callback to arrive, and for its body.
HEAD_READING = 5.0
READING = 10.0
#: A wait that ends this many seconds late has not listened all the time.
STOOD_STILL = 5.0
#: Real seconds that callbacks in flight have when the receiver stops listening.
LEAVING = 1.0
#: Maximum different tasks that callbacks may name for one submission between two checks.
CANDIDATES = 8
_NONCE = re.compile(r"[0-9a-f]{32}")
#: How much of a nonce the log may show.
_SHOWN = 6


class HintedClient(Protocol):
    """What a receiver needs from a client."""

    @property
    def clock(self) -> Clock:
        """The client's time."""
        ...

    def hint(self, task_id: VideoTaskId) -> None:
        """Poll a followed task soon."""
        ...

    async def status(self, task_id: VideoTaskId) -> TaskSnapshot:
        """Query a task once."""
        ...


@frozen(kw_only=True)
class CallbackStatistics:
    """What a receiver has seen so far.

    Attributes:
        accepted: callbacks that were answered with 200, including repeated ones.
        refused: those answered with another status.
        adopted: submissions whose answer was lost, and whose task was found through a callback.
        double_charges: attempts that counted as not bought, but for which a callback named a task.

    """

    accepted: int = 0
    refused: int = 0
    adopted: int = 0
    double_charges: int = 0


def checked_public_url(url: str) -> str:
    """Return a URL that the nonce of an attempt can be added to.

    Raises:
        ValueError: it is not such a URL.

    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            f"must be an http(s) URL without query, such as https://me.example/callbacks, not {url!r}"
        )
    return url.rstrip("/")


class CallbackReceiver:
    """Receives the callbacks of a client's conversions.

    Give it to `client.convert(…, callbacks=receiver)`, and let the service reach it: by `receiver.listen()` behind
    a tunnel or a proxy, or by `receiver.app()` as a sub-application of an aiohttp application of your own.

    Args:
        client: whose tasks they are about.
        public_url: the http(s) URL under which the service reaches the receiver; each attempt's nonce is added to
            its path.
        trust_callbacks: take the end of a task as its callback tells it, without a TaskInfo, when its video is on
            a host that TaskInfo has named before. It saves half of the requests; but who learns a nonce, as from a
            log of your proxy, can say that a task failed, what it cost, or name another file of that host.

    Raises:
        ValueError: it is not such a URL.

    """

    def __init__(self, client: HintedClient, *, public_url: str, trust_callbacks: bool = False) -> None:
        self._client = client
        self._public = checked_public_url(public_url)
        self._trusting = trust_callbacks
        self._own_loop = OwnLoop("CallbackReceiver")
        self._inboxes = list[Inbox]()
        self._reading = Counter[str]()
        self._accepted = self._refused = self._adopted = self._double = 0

    def __repr__(self) -> str:
        return f"<CallbackReceiver {self._public} {self._accepted} accepted, {self._refused} refused>"

    def statistics(self) -> CallbackStatistics:
        """Return the counts so far."""
        return CallbackStatistics(
            accepted=self._accepted,
            refused=self._refused,
            adopted=self._adopted,
            double_charges=self._double,
        )

    def url(self, nonce: str) -> str:
        """Return the URL of one attempt."""
        return f"{self._public}/{nonce}"

    # From the network

    def app(self) -> web.Application:
        """Return an aiohttp application that takes callbacks as POST to `/{nonce}`.

        Run the application that it is added to with `auto_decompress=False`, an argument of `web.AppRunner`:
        otherwise aiohttp decompresses bodies before any handler can refuse them.
        """
        from aiohttp import web  # noqa: PLC0415  a part of aiohttp that only listeners need

        async def handle(request: web.Request) -> web.Response:
            return await self._answer(request, request.match_info["nonce"])

        # One byte more, so that a body of the very limit still passes.
        app = web.Application(client_max_size=MAX_BODY + 1)
        app.router.add_post("/{nonce}", handle)
        return app

    def asgi(self) -> Starlette:
        """Return the same for ASGI, to be mounted in FastAPI or Starlette; needs the extra `asgi`.

        Raises:
            MissingExtraError: Starlette is not installed.

        """
        try:  # only needed to mount it
            from starlette.applications import Starlette  # noqa: PLC0415  of the `asgi` extra
            from starlette.responses import Response  # noqa: PLC0415  of the `asgi` extra
            from starlette.routing import Route  # noqa: PLC0415  of the `asgi` extra
        except ImportError as error:
            raise MissingExtraError("Starlette is not installed: pip install 'suno-video-async[asgi]'") from error

        async def handle(request: Request) -> Response:
            status = await self.handle(
                request.path_params["nonce"],
                lambda: _bounded(request.stream()),
                encoding=request.headers.get("Content-Encoding", ""),
            )
            return Response(status_code=status)

        return Starlette(routes=[Route("/{nonce}", handle, methods=["POST"])])

    @contextlib.asynccontextmanager
    async def listen(self, host: str = "127.0.0.1", port: int = 8765) -> AsyncGenerator[int, None]:
        """Listen for callbacks while the block runs, below the path of `public_url`; yields the port.

        Args:
            host: the address to listen on.
            port: the port; 0 picks a free one.

        Raises:
            OSError: the address is taken, or not this machine's.
            RuntimeError: this is another event loop than the client's.

        """
        self._own_loop.check()
        from aiohttp import web  # noqa: PLC0415  as above

        from suno_video_async._util.connections import Limits, Listener  # noqa: PLC0415  it needs that part, too

        path = unquote(urlsplit(self._public).path)

        async def handle(request: web.BaseRequest) -> web.Response:
            before, _, nonce = request.path.rpartition("/")
            if before != path:
                response = web.Response(status=404)
            elif request.method != "POST":
                response = web.Response(status=405, headers={"Allow": "POST"})
            else:
                response = await self._answer(request, nonce)
            response.force_close()  # so every connection is bounded in time
            return response

        limits = Limits(connections=CONNECTIONS, head_seconds=HEAD_READING, body_seconds=READING)
        listener = Listener(handle, limits, logger=logger, evicts=True)
        try:
            yield await listener.start(host, port)
        finally:
            await run_to_completion(listener.aclose(LEAVING))

    async def _answer(self, request: web.BaseRequest, nonce: str) -> web.Response:
        from aiohttp import web  # noqa: PLC0415  as above

        async def read() -> bytes:
            try:
                return await _bounded(request.content.iter_any())
            except web.RequestPayloadError:
                raise CallbackRejected(400, "its body is not what its headers say") from None

        encoding = request.headers.get("Content-Encoding", "")
        return web.Response(status=await self.handle(nonce, read, encoding=encoding))

    async def handle(self, nonce: str, read: Callable[[], Awaitable[bytes]], *, encoding: str = "") -> int:
        """Handle one callback and return the HTTP status to answer with.

        Args:
            nonce: the last segment of its path.
            read: reads its body, whole; called only if the nonce is an attempt's.
            encoding: its `Content-Encoding`; a compressed body is refused unread.

        Raises:
            RuntimeError: this is another event loop than the client's.

        """
        self._own_loop.check()
        try:
            await self._take(nonce, read, encoding)
        except CallbackRejected as error:
            self._refused += 1
            extra = fields("callback_rejected", error=error, http_status=error.status)
            logger.debug("for %s…: %s", nonce[:_SHOWN], error, extra=extra)
            return error.status
        self._accepted += 1
        return 200

    async def _take(self, nonce: str, read: Callable[[], Awaitable[bytes]], encoding: str) -> None:
        if not _NONCE.fullmatch(nonce):
            raise CallbackRejected(404, "its path has no nonce")
        try:
            await self._known(nonce)
            if encoding.strip().lower() not in {"", "identity"}:
                raise CallbackRejected(415, "its body is compressed")
            said = await self._read(nonce, read)
            # Looked up again: while the body arrived, the submission may have been answered.
            note = await self._known(nonce)
            await note(said)
        except MalformedResponseError as error:
            raise CallbackRejected(400, str(error)) from None
        except LedgerError as error:
            extra = fields("ledger_failed", error=error)
            logger.exception("the ledger cannot take the callback for %s…", nonce[:_SHOWN], extra=extra)
            raise CallbackRejected(503, "the ledger cannot take it") from error  # it is sent again

    async def _read(self, nonce: str, read: Callable[[], Awaitable[bytes]]) -> TaskSnapshot:
        """Read a body, of which there is room for a few at once."""
        if self._reading.total() >= AT_ONCE or self._reading[nonce] >= AT_ONCE_EACH:
            raise CallbackRejected(503, "too many at once")
        self._reading[nonce] += 1
        try:
            async with asyncio.timeout(READING):
                body = await read()
        except TimeoutError:
            raise CallbackRejected(408, f"it did not arrive whole in {READING:g} seconds") from None
        finally:
            self._reading.subtract([nonce])
            if not self._reading[nonce]:
                del self._reading[nonce]
        if len(body) > MAX_BODY:
            raise CallbackRejected(413, f"it is longer than {MAX_BODY} bytes")
        return codec.read_callback(body)

    async def _known(self, nonce: str) -> Callable[[TaskSnapshot], Awaitable[None]]:
        """Return what takes the callback of an attempt.

        Raises:
            CallbackRejected: no attempt has this nonce.

        """
        for inbox in self._inboxes:
            if (attempt := await inbox.ledger.call(inbox.ledger.sync.attempt, nonce)) is not None:
                return partial(self._note, inbox, attempt, nonce)
        raise CallbackRejected(404, "no attempt has this nonce")

    async def _note(self, inbox: Inbox, attempt: Attempt, nonce: str, said: TaskSnapshot) -> None:
        """Commit what a callback says about an attempt before answering it, and have the task polled."""
        row, task_id = attempt.row, said.task_id
        in_doubt = attempt.newest and row.state in {State.SUBMITTING, State.UNKNOWN}
        if attempt.video_task_id is not None and not in_doubt:
            if attempt.video_task_id != task_id:
                raise CallbackRejected(409, "its attempt bought another task")
            inbox.note_arrival()
            if not (self._trusting and inbox.believe(said)):
                self._client.hint(task_id)
            return
        if await inbox.ledger.call(inbox.ledger.sync.bought_by, task_id) is not None:
            raise CallbackRejected(409, "its task is what another attempt bought")
        if attempt.candidate != task_id:
            await inbox.ledger.call(inbox.ledger.sync.note_candidate, nonce, task_id)
            if not in_doubt:
                self._double += attempt.candidate is None
                logger.warning(
                    "row %d (%s) may have been charged twice: a callback names task %s for an attempt that counted"
                    " as not bought",
                    *(row.id, row.track.suno_id, task_id),
                    extra=fields("double_charge", track=row.track, row=row.location, task_id=task_id),
                )
        for other in self._inboxes:
            if other.ledger is inbox.ledger:
                other.put(row.id, nonce, task_id)


class Inbox:
    """The callbacks of one conversion: they are accepted while it is open.

    Args:
        receiver: takes them from the network.
        ledger: the conversion's; it has the nonces of the attempts.
        client: asks about the tasks that callbacks name.
        believe: takes the end of a task as a callback tells it; False where it has to be asked about.

    """

    def __init__(
        self,
        receiver: CallbackReceiver,
        ledger: AsyncLedger,
        client: HintedClient,
        believe: Callable[[TaskSnapshot], bool],
    ) -> None:
        self.ledger = ledger
        self.believe = believe
        self._receiver = receiver
        self._client = client
        self._waiting = dict[int, asyncio.Queue[tuple[str, VideoTaskId]]]()
        self._arrived = -math.inf

    def check_loop(self) -> None:
        """Return if callbacks are received on this event loop, which is the client's.

        Raises:
            RuntimeError: they are received on another one.

        """
        self._receiver._own_loop.check()  # pyright: ignore[reportPrivateUsage]  one part in two classes

    def open(self) -> None:
        """Accept callbacks for the attempts of the ledger."""
        self._receiver._inboxes.append(self)  # pyright: ignore[reportPrivateUsage]  one part in two classes

    def note_arrival(self) -> None:
        """Note that a callback named the task that its attempt has bought: callbacks get through."""
        self._arrived = self._client.clock.now()

    def callbacks_came(self, sent: float, usual: float) -> bool:
        """Whether callbacks got through when the one of an attempt was due, so that its silence is evidence.

        Strangers, a tunnel that is down or a wrong URL can keep all callbacks away, which says nothing about one.

        Args:
            sent: when the attempt was sent, by the clock's `now`.
            usual: seconds after which its callback was due.

        """
        return self._arrived >= sent + usual

    def close(self) -> None:
        """Stop accepting them."""
        self._receiver._inboxes.remove(self)  # pyright: ignore[reportPrivateUsage]  one part in two classes

    def url(self, nonce: str) -> str:
        """Return the URL of one attempt."""
        return self._receiver.url(nonce)

    def put(self, row_id: int, nonce: str, task_id: VideoTaskId) -> None:
        """Pass a callback to the code that waits for it."""
        if (waiting := self._waiting.get(row_id)) is not None:
            with contextlib.suppress(asyncio.QueueFull):
                waiting.put_nowait((nonce, task_id))

    async def catch_up(self, row: LedgerRow) -> None:
        """Take up a callback that arrived before the answer of its submission."""
        found = await self.ledger.call(self.ledger.sync.candidate, row.id)
        if found is not None and found[1] == row.video_task_id:
            self.note_arrival()
            self._client.hint(found[1])

    async def adopt(self, row: LedgerRow, seconds: float) -> LedgerRow | None:
        """Wait for the callback of an unknown row and return the row as submitted, or None if none came.

        Args:
            row: the row, unknown.
            seconds: how long to wait for one that has not come yet; at 0 or less only what has come counts.

        """
        key, deadline = row.id, self._client.clock.now() + seconds
        heard = self._waiting[key] = asyncio.Queue[tuple[str, VideoTaskId]](CANDIDATES)
        seen = set[tuple[str, VideoTaskId]]()
        try:
            if (found := await self.ledger.call(self.ledger.sync.candidate, row.id)) is not None:
                with contextlib.suppress(asyncio.QueueFull):
                    heard.put_nowait(found)
            while True:
                if (found := await self._next(heard, deadline)) is None:
                    late = self._client.clock.now() - deadline
                    if late < STOOD_STILL:
                        return None
                    # The process stood still: what came meanwhile is being read.
                    deadline = self._client.clock.now() + min(late, READING)
                    continue
                if found in seen:
                    continue
                if seen:  # strangers may name any number of tasks
                    await self._client.clock.sleep(HINTED_AGAIN)
                seen.add(found)
                if (adopted := await self._confirmed(row, *found)) is not None:
                    self.note_arrival()
                    self._receiver._adopted += 1  # pyright: ignore[reportPrivateUsage]  one part in two classes
                    return adopted
        finally:
            del self._waiting[key]

    async def _next(
        self, heard: asyncio.Queue[tuple[str, VideoTaskId]], deadline: float
    ) -> tuple[str, VideoTaskId] | None:
        clock = self._client.clock
        if not heard.empty() or deadline <= clock.now():
            return None if heard.empty() else heard.get_nowait()
        getter = asyncio.ensure_future(heard.get())
        timer = clock.call_later(deadline - clock.now(), getter.cancel)
        try:
            await asyncio.wait([getter])
        finally:
            timer.cancel()
            getter.cancel()
        return None if getter.cancelled() else getter.result()

    async def _confirmed(self, row: LedgerRow, nonce: str, task_id: VideoTaskId) -> LedgerRow | None:
        """Ask the service whether an attempt bought a task, and if so commit it."""
        try:
            snapshot = await self._client.status(task_id)
            problem = origin_problem(snapshot, row)
            if problem is None and not (snapshot.callback_url or "").endswith(f"/{nonce}"):
                problem = f"task {task_id} has not the callback URL of row {row.id}"
            if problem is None:
                transition = Transition(state=State.SUBMITTED, video_task_id=task_id)
                return await self.ledger.move(row, transition, cause=Cause.CALLBACK)
        except SunoVideoError as error:
            problem = str(error)
        logger.warning(
            "a callback for row %d (%s) was not believed: %s",
            *(row.id, row.track.suno_id, problem),
            extra=fields("callback_disbelieved", track=row.track, row=row.location, task_id=task_id),
        )
        return None


async def _bounded(chunks: AsyncIterator[bytes]) -> bytes:
    """Read a body, at most just past the limit."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body)
