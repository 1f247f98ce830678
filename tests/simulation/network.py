"""Carries requests between the real client and the real server's behaviour, each way taking its time."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import define, evolve, field

from suno_video_async.errors import APITimeoutError, MalformedResponseError, TransportError
from suno_video_async.local.exchange import Delivery, Reply, ServerRequest
from suno_video_async.local.service import ApiService
from suno_video_async.protocol.codec import Answer, Operation, Request
from tests.simulation.scenario import Scenario
from tests.simulation.world import Violation, World, stream

_MAX_BODY = 1024 * 1024

#: A track as this harness names it, by its own rules: music task, suno id, author and brand, "" where absent.
Key = tuple[str, str, str, str]


@define(eq=False)
class Flight:
    """One request, from its send to its end, as nobody inside the system can see it.

    Attributes:
        seen: what the client could know of it: `accepted`, `refused`, `not sent`, `failed`, `unknown`, or `cut`
            while it knows nothing.
        created: the id of the task that it made at the server.
        named: the id that the client was told.
        from_api: whether what came back looks like an answer of the API.
        api_key: whose request it is.
        closings: how often the audit's outage brake had closed when it was sent; -1 where that cannot be told.
        over: whether the server refused it because of its rate.

    """

    number: int
    life: int
    request: Request
    sent: float
    key: Key | None = None
    arrived: float | None = None
    ended: float | None = None
    seen: str = "cut"
    created: str | None = None
    named: str | None = None
    struck: str | None = None
    from_api: bool = False
    api_key: str = ""
    closings: int = 0
    over: bool = False

    def __str__(self) -> str:
        about = "/".join(self.key) if self.key else self.request.task_id or ""
        return f"#{self.number} {self.request.operation} {about}"


@define(eq=False)
class Network:
    """The way between them, and a record of all that went over it."""

    world: World
    scenario: Scenario
    service: ApiService
    on_send: Callable[[Flight], None]
    on_arrival: Callable[[Flight], None]
    on_end: Callable[[Flight], None]
    api_key: str
    quiet: bool = False
    flights: list[Flight] = field(factory=list[Flight])
    _rng: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = stream(self.scenario.seed, "network")

    def transport(self, life: int, api_key: str | None = None) -> LifeTransport:
        """Return what one life of the client sends over."""
        return LifeTransport(self, life, api_key or self.api_key)

    def travel(self) -> float:
        """Return the seconds of one way; some requests are many times slower than others."""
        return min(self.scenario.travel * self._rng.lognormvariate(0.0, 1.0), 5.0) if self.scenario.travel else 0.0

    def lose(self) -> bool:
        """Whether something goes wrong on the way."""
        return not self.quiet and self._rng.random() < self.scenario.lost

    def pick(self, *ways: str) -> str:
        """Return one of several ways to go wrong."""
        return self._rng.choice(ways)

    def _struck(self) -> Mapping[str, int]:
        """Return how often each kind of fault has struck."""
        return self.service._counts.total.faults

    def _is_full(self, flight: Flight) -> bool:
        """Whether the window of a request is full."""
        account = self.service._accounts.find(flight.api_key)
        assert account is not None
        window = account.window if flight.key is not None else account.reads or account.window
        return window.limit is not None and window.in_use(self.world.moment) >= window.limit

    def arrive(self, flight: Flight) -> Reply:
        """Let the server handle a request, now."""
        flight.arrived = self.world.moment
        full = self._is_full(flight)
        before = len(self.service._videos)
        struck = dict(self._struck())
        reply = self.service.handle(_as_seen_by_the_server(flight.request, flight.api_key))
        flight.struck = next(
            (kind for kind, count in self.service._counts.total.faults.items() if struck.get(kind, 0) != count),
            None,
        )
        flight.over = full and flight.struck is None
        if len(self.service._videos) > before:
            flight.created = next(reversed(self.service._videos))
        self.on_arrival(flight)
        return reply


def _as_seen_by_the_server(request: Request, api_key: str) -> ServerRequest:
    parts = urlsplit(request.target)
    return ServerRequest(
        method=request.method,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers={"X-Api-Key": api_key, "Host": "127.0.0.1:1"},
        body=request.body or b"",
    )


def key_in(body: bytes) -> Key:
    """Return the track that a CreateTask names."""
    given = json.loads(body)["input"]
    return given["task_id"], given["suno_id"], given.get("author") or "", given.get("brand") or ""


@define(eq=False)
class LifeTransport:
    """The client's transport for one life; it ends with it."""

    network: Network
    life: int
    api_key: str = field(repr=False)
    in_flight: int = 0
    over: bool = False
    _open: set[Flight] = field(factory=set[Flight])

    async def send(self, request: Request) -> Answer:
        """Carry one request there and its answer back."""
        if self.over:
            raise Violation(f"{request.operation} is sent by a client that is closed")
        network = self.network
        key = key_in(request.body or b"") if request.operation is Operation.CREATE_TASK else None
        flight = Flight(
            len(network.flights) + 1, self.life, request, network.world.moment, key, api_key=self.api_key
        )
        network.flights.append(flight)
        self._open.add(flight)
        self.in_flight += 1
        network.on_send(flight)
        try:
            answer = await self._travel(flight)
            flight.seen, flight.named = _meaning(answer)
            flight.from_api = b'"code"' in answer.body
        except TransportError as error:
            flight.seen = "unknown" if error.sent else "not sent"
            raise
        else:
            return answer
        finally:
            self.in_flight -= 1
            self.end(flight)

    def end(self, flight: Flight) -> None:
        """Note that the client knows, or will never know, how a request ended."""
        if flight in self._open:
            self._open.remove(flight)
            flight.ended = self.network.world.moment
            self.network.on_end(flight)

    def crash(self) -> None:
        """Note that nobody waits for answers any more."""
        self.over = True
        for flight in sorted(self._open, key=lambda flight: flight.number):
            self.end(flight)

    async def _travel(self, flight: Flight) -> Answer:
        """Wait for what comes back; what is on its way travels in the world, with or without this client."""
        network, world = self.network, self.network.world
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def tell(result: Answer | Exception) -> None:
            if self.over or waiting.done():
                return
            if isinstance(result, Exception):
                waiting.set_exception(result)
            else:
                waiting.set_result(result)

        def arrive() -> None:
            reply = network.arrive(flight)
            if network.lose():
                if network.pick("broken", "silent") == "broken":
                    world.call_later(network.travel(), lambda: tell(TransportError("the connection broke")))
                return
            if network.scenario.dateless:
                reply = evolve(
                    reply, headers={name: reply.headers[name] for name in reply.headers if name != "Date"}
                )
            world.call_later(reply.delay + network.travel(), lambda: tell(_delivered(reply)))

        timeout = world.call_later(network.scenario.timeout, lambda: tell(APITimeoutError("no answer in time")))
        if network.lose():
            self._lose(network.pick("refused", "no connection", "broken", "silent"), tell)
        else:
            world.call_later(network.travel(), arrive)
        try:
            return await waiting
        finally:
            timeout.cancel()

    def _lose(self, way: str, tell: Callable[[Exception], None]) -> None:
        """Let a request come to nothing before it reaches the server."""
        world, travel = self.network.world, self.network.travel()
        if way == "refused":
            world.call_later(travel, lambda: tell(TransportError("not sent: connection refused", sent=False)))
        elif way == "no connection":
            world.call_later(10.0, lambda: tell(APITimeoutError("no connection in time", sent=False)))
        elif way == "broken":
            world.call_later(travel, lambda: tell(TransportError("the connection broke")))


def _delivered(reply: Reply) -> Answer | Exception:
    """Return what the aiohttp adapter would make of it."""
    if reply.delivery is Delivery.DROP:
        return TransportError("the answer broke off: the server disconnected")
    if reply.delivery is Delivery.CUT:
        return TransportError("the answer broke off: ClientPayloadError")
    if reply.length > _MAX_BODY:
        return MalformedResponseError("the answer is over 1 MiB", http_status=reply.status)
    return Answer(reply.status, reply.headers, reply.body)


def _meaning(answer: Answer) -> tuple[str, str | None]:
    """Read an answer to a CreateTask by the words of the contract, without the client's own decoder."""
    named = b'"task_id": "' in answer.body or b'"task_id":"' in answer.body
    try:
        said: Any = json.loads(answer.body.decode())
        code, data = said["code"], said["data"]
    except (ValueError, TypeError, KeyError):
        return ("refused" if answer.status == 429 and not named else "unknown"), None
    good = 200 <= answer.status < 300
    if not isinstance(said["message"], str) or (named and not (good and code == 200)):
        return "unknown", None  # an id in any answer is evidence
    if good and code == 200:
        task_id = data.get("task_id") if isinstance(data, dict) else None
        return ("accepted", task_id) if isinstance(task_id, str) and task_id else ("unknown", None)
    if answer.status == 429:
        return "refused", None
    if not good and answer.status != code:
        return "unknown", None
    if code in {401, 402, 403, 404, 422, 429, 455, 505}:
        return "refused", None
    return ("failed" if code == 500 else "unknown"), None
