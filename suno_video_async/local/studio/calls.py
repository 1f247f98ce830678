"""The page and the calls that it makes; everything else goes to the API behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from attrs import evolve, frozen

from suno_video_async.clock import Clock
from suno_video_async.local.accounts import Account, RateWindow
from suno_video_async.local.exchange import Refusal, Reply, ServerRequest, amount, encoded, json_reply
from suno_video_async.local.orders import MODEL, json_object
from suno_video_async.local.service import ApiService
from suno_video_async.local.studio.access import why_refused
from suno_video_async.local.studio.assets import GUARDS, asset
from suno_video_async.local.studio.shelf import Shelf
from suno_video_async.local.tasks import VideoTask
from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, size_of

PREFIX: Final = "/studio/"
_CREATE: Final = "/api/v1/client/job/CreateTask"
#: The newest tasks, which the page shows.
MOST_TASKS: Final = 500
#: Pages that wait for news at once; one more is asked to come again.
MOST_WAITING: Final = 32
#: Real seconds that an answer waits for news, and while a video is being made or the books are looked at.
_WAIT: Final = 10.0
_WAIT_BUSY: Final = 1.0
_FRESH: Final = {"Cache-Control": "no-store"}


@frozen(kw_only=True)
class Keys:
    """The keys that orders of the page are placed with.

    Attributes:
        by_name: in their order.
        made_up: whether the server made the first one up, so that it may be given out.

    """

    by_name: Mapping[str, str]
    made_up: bool

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.by_name)})"


class Studio:
    """Answers a browser on this machine, and passes all other requests on to the API.

    Args:
        service: the API.
        shelf: the library.
        keys: what orders are placed with.
        clock: the server's.
        renders: whether videos are rendered, and not only simulated.

    """

    def __init__(self, service: ApiService, shelf: Shelf, keys: Keys, clock: Clock, *, renders: bool) -> None:
        self._service = service
        self._shelf = shelf
        self._keys = keys
        self._clock = clock
        self._renders = renders
        self._library_state = 1
        self._waiting = 0
        self._stopping = asyncio.Event()
        self._calls: Mapping[str, tuple[str, Callable[[ServerRequest], Reply]]] = {
            "library": ("GET", self._library),
            "lyrics": ("GET", self._lyrics),
            "cover": ("GET", partial(self._media, "cover")),
            "audio": ("GET", partial(self._media, "audio")),
            "video": ("GET", self._video),
            "tasks": ("GET", self._tasks),
            "catalog.csv": ("GET", self._catalog),
            "order": ("POST", self._order),
            "key": ("POST", self._key),
        }

    def handle(self, request: ServerRequest) -> Reply:
        """Return the answer to a request."""
        is_page = request.path == "/" and request.method in ("GET", "HEAD") and _accepts_html(request)
        if not (is_page or request.path.startswith(PREFIX)):
            return self._service.handle(request)
        reply = self._answer(request)
        return evolve(reply, headers={**GUARDS, **reply.headers})

    def refresh_library(self) -> None:
        """Take over the library's current songs."""
        self._shelf.refresh()
        self._library_state += 1
        self._service.changes.touch()

    def stop_waiting(self) -> None:
        """Answer everything that waits for news: the server stops."""
        self._stopping.set()

    def _answer(self, request: ServerRequest) -> Reply:
        problem = why_refused(request)
        if problem is not None:
            return _refused(request, problem)
        if request.method in ("GET", "HEAD") and (found := asset(request.path)) is not None:
            return found
        method, call = self._calls.get(request.path.removeprefix(PREFIX), ("", None))
        if call is None:
            return json_reply({"error": "the studio has no such page or call"}, status=404)
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            return json_reply({"error": f"use {method}"}, status=405, headers={"Allow": method})
        return call(request)

    # The library

    def _library(self, _: ServerRequest) -> Reply:
        service = self._service
        content = {
            **self._shelf.listing(),
            "state": self._library_state,
            "renders": self._renders,
            "cost": amount(service.cost),
            "accounts": list(service.accounts.names),
            "url": service.base_url,
        }
        return json_reply(content, headers=_FRESH)

    def _catalog(self, _: ServerRequest) -> Reply:
        headers = {"Content-Type": "text/csv; charset=utf-8", **_FRESH}
        return Reply(headers=headers, body=self._shelf.catalog().encode(errors="replace"))

    def _lyrics(self, request: ServerRequest) -> Reply:
        found = self._shelf.lyrics(request)
        if found is None:
            return _no_song()
        return Reply(prepare=found) if callable(found) else json_reply(found, headers=_FRESH)

    def _media(self, what: str, request: ServerRequest) -> Reply:
        found = self._shelf.media(what, request)
        return _no_song() if found is None else found

    # Videos

    def _video(self, request: ServerRequest) -> Reply:
        task = self._service.videos.get(request.query.get("task", ""))
        found = None if task is None else self._service.video_file(task, request)
        return json_reply({"error": "there is no such video"}, status=404) if found is None else found

    def _tasks(self, request: ServerRequest) -> Reply:
        changes, state = self._service.changes, request.query.get("since", "")
        changed = changes.since(state)
        if changed == [] and state == changes.now and not request.waited and not self._stopping.is_set():
            if self._waiting >= MOST_WAITING:
                problem = "too many pages wait for news; close some"
                return json_reply({"error": problem}, status=503, headers={"Retry-After": "2"})
            return Reply(wait=partial(self._news, _WAIT_BUSY if self._busy(request) else _WAIT))
        videos = self._service.videos
        tasks = self._service.newest(MOST_TASKS) if changed is None else [videos[task_id] for task_id in changed]
        content = {
            "state": changes.now,
            "all": changed is None,
            "total": len(videos),
            "now": self._clock.time(),
            "tasks": [self._task(task) for task in tasks],
            "live": {task.id: _progress(task) for task in self._live()},
            "library": self._library_state,
            "books": self._books(),
        }
        return json_reply(content, headers=_FRESH)

    async def _news(self, seconds: float) -> None:
        """Return at the next change, after some real seconds, or when the server stops."""
        changed = asyncio.Event()
        leave = self._service.changes.subscribe(changed.set)
        waits = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(self._stopping.wait())]
        self._waiting += 1
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting -= 1
            leave()
            for one in waits:
                one.cancel()

    def _busy(self, request: ServerRequest) -> bool:
        return request.query.get("books") == "1" or bool(self._live())

    def _live(self) -> list[VideoTask]:
        return [task for task in self._service.newest(MOST_TASKS) if not task.ended]

    def _task(self, task: VideoTask) -> dict[str, Any]:
        order = task.order
        return {
            "id": task.id,
            "task_id": order.task_id,
            "suno_id": order.suno_id,
            "title": self._shelf.title(order.task_id, order.suno_id),
            "author": order.author,
            "brand": order.brand,
            "size": None if order.size is None else "x".join(map(str, order.size)),
            "status": task.status,
            "created": task.created,
            "began": task.began,
            "completed": task.completed,
            "problem": task.problem,
            "notes": list(task.notes),
            "credits": amount(task.credits),
            "account": task.owner.name,
            "video": task.media is not None,
        }

    def _books(self) -> dict[str, Any]:
        now, counts = self._clock.now(), self._service.counts
        return {
            "accounts": [_account(account, now) for account in self._service.accounts.opened],
            "refused": dict(counts.total.refused),
            "callbacks": dict(counts.callbacks),
        }

    # Orders

    def _order(self, request: ServerRequest) -> Reply:
        """Place an order by the API's own CreateTask: window, credits and faults are those of every client."""
        try:
            asked = _read_order(request.body)
            key = self._key_of(asked.account)
        except Refusal as refusal:
            return encoded(refusal.envelope)
        create = ServerRequest(
            method="POST",
            path=_CREATE,
            headers={"x-api-key": key, "Host": request.header("Host") or ""},
            body=json.dumps({"model": MODEL, "input": asked.given}).encode(),
            remote=request.remote,
            size=asked.size if self._renders else None,
        )
        return self._service.handle(create)

    def _key_of(self, account: str | None) -> str:
        names = tuple(self._keys.by_name)
        if account is not None and account not in names:
            raise Refusal(422, errors=("account: there is no such account",))
        return self._keys.by_name[account or names[0]]

    def _key(self, _: ServerRequest) -> Reply:
        """Give out what a client on this machine needs; a key only if this server made it up."""
        key = next(iter(self._keys.by_name.values())) if self._keys.made_up else None
        return json_reply({"url": self._service.base_url, "key": key}, headers=_FRESH)


@frozen
class _Asked:
    given: Mapping[str, str]
    account: str | None
    size: tuple[int, int] | None


def _read_order(body: bytes) -> _Asked:
    """Return what the page asks for; the fields of the API are checked by the API.

    Raises:
        Refusal: 422, or 413.

    """
    fields = json_object(body)
    wrong = [name for name, value in fields.items() if not isinstance(value, str)]
    if wrong:
        raise Refusal(422, errors=tuple(f"{name[:40]}: must be a string" for name in wrong[:10]))
    texts = cast("Mapping[str, str]", fields)
    size = size_of(texts["size"]) if texts.get("size") else None
    if texts.get("size") and size is None:
        raise Refusal(422, errors=(f"size: must be {SIZES_IN_WORDS}",))
    given = {
        name: texts[name] for name in ("task_id", "suno_id", "author", "brand") if texts.get(name, "").strip()
    }
    return _Asked(given, texts.get("account") or None, size)


def _accepts_html(request: ServerRequest) -> bool:
    return "text/html" in (request.header("Accept") or "")


def _refused(request: ServerRequest, problem: str) -> Reply:
    if request.path == "/":
        body = f"The studio is {problem}. Open it by its address, http://127.0.0.1 and the server's port.\n"
        return Reply(status=403, headers={"Content-Type": "text/plain; charset=utf-8"}, body=body.encode())
    return json_reply({"error": problem}, status=403)


def _no_song() -> Reply:
    return json_reply({"error": "the library has no such song, or it cannot be read"}, status=404)


def _progress(task: VideoTask) -> float:
    return 0.0 if task.work is None else round(task.work.progress, 4)


def _account(account: Account, now: float) -> dict[str, Any]:
    tally = account.tally
    return {
        "name": account.name,
        "balance": amount(account.balance),
        "running": account.running,
        "max_running": account.max_running,
        "window": _window(account.window, now),
        "reads": None if account.reads is None else _window(account.reads, now),
        "requests": dict(tally.requests),
        "refused": dict(tally.refused),
        "faults": dict(tally.faults),
        "charged": tally.charged_by_track.total(),
        "refunded": tally.refunded,
    }


def _window(window: RateWindow, now: float) -> dict[str, Any]:
    return {"used": window.in_use(now), "limit": window.limit, "per": window.per}
