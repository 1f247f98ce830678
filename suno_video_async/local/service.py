"""The behaviour of the API: keys, rate window, faults, tasks and credits. Plain and synchronous."""

from __future__ import annotations

import random
import re
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from suno_video_async.clock import Clock
from suno_video_async.local import control, openapi
from suno_video_async.local.accounts import Account, Accounts, Counts
from suno_video_async.local.announcing import AHEAD, Announcer, CallbackDue, CallbackForm
from suno_video_async.local.changes import Changes
from suno_video_async.local.effects import REDIRECTED, dated, instead, spoiled, spoiled_delivery
from suno_video_async.local.exchange import (
    MODELS_PATH,
    Envelope,
    Refusal,
    Reply,
    ServerRequest,
    amount,
    call_of,
    encoded,
    json_reply,
)
from suno_video_async.local.faults import (
    BALANCE,
    CALLBACK,
    CREATE,
    CREDITS,
    ESTIMATE,
    INFO,
    MEDIA,
    MODELS,
    Fault,
    FaultPlan,
    check_names,
)
from suno_video_async.local.keys import ApiKey, named_keys
from suno_video_async.local.media import PREFIX, MediaFile, MediaStore
from suno_video_async.local.orders import MODEL, MODEL_DATA, Order, check_form, read_order
from suno_video_async.local.producers import Failure, Producer
from suno_video_async.local.tasks import FAILED, RUNNING, SUCCESS, MusicTasks, VideoTask
from suno_video_async.lyricvideo.library import Library, LibraryTrack
from suno_video_async.models import RateLimit

#: Finished tasks that are kept; the oldest are forgotten first.
KEPT_TASKS: Final = 100_000
#: Seconds for which a finished video can be fetched.
RETENTION: Final = 14 * 86_400.0

_HOST: Final = re.compile(r"[A-Za-z0-9.\-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")


def _random_id() -> str:
    return str(uuid.uuid4())


class ApiService:
    """The behaviour of the API without a network.

    Everything happens in `handle` and in timers of the clock; nothing here waits.

    Args:
        clock: the time on this server.
        producer: makes the videos.
        library: the songs.
        keys: the accounts' keys; what a key sets itself overrides `credits`, `rate`, `read_rate` and
            `max_running`.
        credits: what each account begins with.
        rate: requests of one key, all calls together; None for any number.
        read_rate: a window of its own for all calls but CreateTask; `rate` is then for CreateTask alone.
        max_running: unfinished tasks of one key.
        cost: of one video, in credits.
        retention: seconds for which a finished video can be fetched.
        faults: what goes wrong on purpose.
        seed: makes the faults repeatable.
        http_refusals: give a refusal its code as HTTP status, in place of 200.
        callback_form: `"plain"` sends the data of TaskInfo, `"enveloped"` as TaskInfo answers it.
        make_id: returns an id that was never used; random by default, so that a restarted server repeats none.
        send_callback: takes each callback to be sent.
        drop_callbacks: discards callbacks that are not sent yet.

    Raises:
        FaultError: a fault names a key that does not exist.
        KeysError: a key or a name occurs twice.

    """

    def __init__(
        self,
        *,
        clock: Clock,
        producer: Producer,
        library: Library,
        keys: Sequence[str | ApiKey],
        credits: float = 1000.0,  # noqa: A002  the word of the contract
        cost: float = 2.0,
        rate: RateLimit | None = None,
        read_rate: RateLimit | None = None,
        max_running: int = 100,
        retention: float = RETENTION,
        faults: Sequence[Fault] = (),
        seed: int = 0,
        http_refusals: bool = False,
        callback_form: CallbackForm = "plain",
        make_id: Callable[[], str] = _random_id,
        send_callback: Callable[[CallbackDue], object] = lambda _: None,
        drop_callbacks: Callable[[], object] = lambda: None,
        folder: Path | None = None,
    ) -> None:
        self.base_url = "http://127.0.0.1"
        self._clock = clock
        self._producer = producer
        self._library = library
        self._accounts = Accounts(named_keys(keys), credits, rate, max_running, read_rate)
        self._cost = cost
        self._retention = retention
        self.set_faults(faults, seed=seed)
        self._http_refusals = http_refusals
        self._callback_form: CallbackForm = callback_form
        self._make_id = make_id
        self._send_callback = send_callback
        self._drop_callbacks = drop_callbacks
        self._forger = f"{seed}/forger"
        self._chance = random.Random(self._forger)
        self._folder = folder
        self._media = MediaStore(lambda: make_id().replace("-", ""))
        self._music = MusicTasks(library, self._shelve, clock.time())
        self._videos: dict[str, VideoTask] = {}
        self._ended: deque[VideoTask] = deque()
        self._by_media: dict[str, VideoTask] = {}
        self._counts = Counts()
        self._changes = Changes()
        self._calls: Mapping[str, Callable[[Account, ServerRequest, Fault | None], Any]] = {
            CREATE: self._create,
            INFO: self._info,
            ESTIMATE: self._estimate,
            CREDITS: self._credits,
            MODELS: self._models,
            BALANCE: self._balance,
        }

    def __repr__(self) -> str:
        return f"ApiService({len(self._videos)} tasks, {self._counts.total.requests.total()} requests)"

    def handle(self, request: ServerRequest) -> Reply:
        """Return the answer to a request."""
        if request.path.startswith(PREFIX):
            return self._handle_media(request)
        if request.path.startswith(control.PREFIX):
            return self._handle_control(request)
        if (request.method, request.path) == ("GET", "/openapi.json"):
            return openapi.reply()
        try:
            call = call_of(request.method, request.path)
        except Refusal as refusal:
            return self._refused(refusal)
        return dated(self._handle_call(call, request), self._clock.time())

    def stats(self) -> dict[str, Any]:
        """Return what happened since the start or the last reset."""
        counts, reads = self._counts, self._accounts.max_reads_in_any_window
        return {
            **counts.total.data(),
            "max_in_any_window": self._accounts.max_in_any_window,
            **({} if reads is None else {"max_reads_in_any_window": reads}),
            "callbacks": {name: counts.callbacks[name] for name in ("sent", "failed", "forged")},
            "first_request_at": counts.first_request_at,
            "last_request_at": counts.last_request_at,
            "keys": self._accounts.data(),
        }

    def tasks(self) -> dict[str, Any]:
        """Return all tasks: the library's music tasks, and the TaskInfo data of each video task."""
        videos = [task.data(self.base_url) for task in self._videos.values()]
        return {"music": self._music.listing(), "video": videos}

    def reset(self) -> None:
        """Forget all tasks, charges and counts, restart the faults, and stop what is running."""
        self.stop()
        self._drop_callbacks()
        for path in self._by_media:
            self._media.discard(path)
        self._by_media.clear()
        self._media.forget_expired()
        self._videos.clear()
        self._changes.clear()
        self._ended.clear()
        self._accounts.reset()
        self._faults.reset()
        self._began = self._clock.now()
        self._chance.seed(self._forger)
        self._producer.reset()
        self._counts = Counts()

    def set_faults(self, faults: Sequence[Fault], *, seed: int = 0) -> None:
        """Replace the faults; their calls are counted from 1. The statistics are kept.

        Raises:
            FaultError: a fault names a key that does not exist.

        """
        check_names(faults, self._accounts.names)
        self._faults = FaultPlan(faults, seed)
        self._began = self._clock.now()

    @property
    def changes(self) -> Changes:
        """The order in which the video tasks have changed."""
        return self._changes

    @property
    def videos(self) -> Mapping[str, VideoTask]:
        """The video tasks by their ids, in the order in which they were created."""
        return self._videos

    def newest(self, count: int) -> list[VideoTask]:
        """Return the newest video tasks, the newest first."""
        return list(islice(reversed(self._videos.values()), count))

    @property
    def accounts(self) -> Accounts:
        """The accounts."""
        return self._accounts

    @property
    def counts(self) -> Counts:
        """What happened since the start or the last reset."""
        return self._counts

    @property
    def cost(self) -> float:
        """Credits that a video costs."""
        return self._cost

    def video_file(self, task: VideoTask, request: ServerRequest) -> Reply | None:
        """Return a task's video as the answer to a GET or HEAD, without faults; None if there is none."""
        self._forget_outdated_media()
        return None if task.media is None else self._media.reply(evolve(request, path=task.media))

    @property
    def owes_callbacks(self) -> bool:
        """Whether an unfinished task has a callback URL."""
        return any(not task.ended and task.order.callback_url is not None for task in self._videos.values())

    def stop(self) -> None:
        """Stop all running tasks; their status stays as it is."""
        for task in self._videos.values():
            if not task.ended and task.work is not None:
                task.work.cancel()

    @property
    def _announcer(self) -> Announcer:
        return Announcer(self._send_callback, self._counts.callbacks, self._chance, self._callback_form)

    # The API's calls

    def _handle_call(self, call: str, request: ServerRequest) -> Reply:
        now = self._clock.now()
        self._counts.arrived(call, now)
        account = self._accounts.find(request.header("x-api-key"))
        if account is None:
            return self._refused(Refusal(401))
        account.tally.requests[call] += 1
        try:
            account.admit(now, creates=call == CREATE)
        except Refusal as refusal:
            return self._refused(refusal, account)
        fault = self._next_fault(call, account)
        if fault is not None and fault.before:
            if fault.name == "code":
                self._count_refusal(int(fault.number), account)
            return instead(fault, request, self._clock.time())
        try:
            envelope = Envelope(data=self._calls[call](account, request, fault))
        except Refusal as refusal:
            reply = self._refused(refusal, account)
            return reply if fault is None else spoiled_delivery(fault, reply)
        reply = encoded(envelope) if fault is None else spoiled(fault, envelope, self._clock.time())
        overtaken = call == CREATE and self._is_early(envelope.data["task_id"])
        return evolve(reply, delay=max(reply.delay, AHEAD)) if overtaken else reply

    def _next_fault(self, on: str, account: Account | None) -> Fault | None:
        """Count one call of an operation; return the fault that applies to it."""
        fault = self._faults.next(on, None if account is None else account.name, self._clock.now() - self._began)
        if fault is not None:
            for tally in (self._counts.total, *(() if account is None else (account.tally,))):
                tally.faults[fault.kind] += 1
        return fault

    def _is_early(self, task_id: str) -> bool:
        """Whether a callback overtakes the answer of its CreateTask."""
        fault = self._videos[task_id].callback_fault
        return fault is not None and fault.name == "early"

    def _refused(self, refusal: Refusal, account: Account | None = None) -> Reply:
        envelope = refusal.envelope
        self._count_refusal(envelope.code, account)
        return encoded(evolve(envelope, status=envelope.code) if self._http_refusals else envelope)

    def _count_refusal(self, code: int, account: Account | None) -> None:
        self._counts.total.refused[str(code)] += 1
        if account is not None:
            account.tally.refused[str(code)] += 1

    def _create(self, account: Account, request: ServerRequest, fault: Fault | None) -> dict[str, Any]:
        order = self._order(account, request)
        cost = self._price(fault)
        account.begin(cost)
        task = VideoTask(self._make_id(), account, order, self._clock.time(), cost)
        self._videos[task.id] = task
        for tally in (self._counts.total, account.tally):
            tally.charge(order.track)
        if order.callback_url is not None:
            task.callback_fault = self._next_fault(CALLBACK, account)
        task.work = self._producer.start(
            order,
            fails=fault is not None and fault.name == "fail",
            on_running=partial(self._begin, task),
            on_end=partial(self._end, task, self._origin(request)),
        )
        self._changes.note(task.id)
        if order.callback_url is not None and self._is_early(task.id):
            self._announcer.announce_early(order.callback_url, task.data(self._origin(request)))
        return {"task_id": task.id}

    def _order(self, account: Account, request: ServerRequest) -> Order:
        account.check_feature()
        check_form(request)
        order = read_order(request.body)
        if request.size is not None:
            order = evolve(order, size=request.size)
        problem = self._music.why_unknown(order) if self._producer.needs_known_tracks else None
        if problem is not None:
            raise Refusal(422, errors=(problem,))
        return order

    def _info(self, account: Account, request: ServerRequest, _: Fault | None) -> dict[str, Any]:
        task_id = request.query.get("task_id", "")
        if not task_id:
            raise Refusal(422, errors=("task_id: field required",))
        task = self._videos.get(task_id)
        if task is not None and task.owner is account:
            return task.data(self._origin(request))
        music = self._music.data(task_id, self._origin(request))
        if music is None:
            raise Refusal(404, "Not Found - no such task")
        return music

    def _estimate(self, account: Account, request: ServerRequest, fault: Fault | None) -> dict[str, Any]:
        self._order(account, request)
        cost = self._price(fault)
        return {
            "estimated_credits": amount(cost),
            "balance": amount(account.balance),
            "affordable": account.affords(cost),
        }

    def _credits(self, account: Account, request: ServerRequest, fault: Fault | None) -> dict[str, Any]:
        self._order(account, request)
        return {"credits": amount(self._price(fault)), "estimated": False}

    def _price(self, fault: Fault | None) -> float:
        return fault.number if fault is not None and fault.name == "price" else self._cost

    def _balance(self, account: Account, _: ServerRequest, __: Fault | None) -> dict[str, Any]:
        return {"balance": amount(account.balance)}

    def _models(self, _: Account, request: ServerRequest, __: Fault | None) -> dict[str, Any]:
        name = request.path.removeprefix(MODELS_PATH).removeprefix("/")
        if not name:
            return {"total": 1, "models": [dict(MODEL_DATA)]}
        if name.removesuffix("/") != MODEL:
            raise Refusal(404, "Not Found - no such model")
        return dict(MODEL_DATA)

    # The lifecycle of a task

    def _begin(self, task: VideoTask) -> None:
        if task is self._videos.get(task.id):
            task.move(RUNNING)
            task.began = self._clock.time()
            self._changes.note(task.id)

    def _end(self, task: VideoTask, origin: str, outcome: MediaFile | Failure) -> None:
        if task is not self._videos.get(task.id):
            return
        task.completed = self._clock.time()
        task.owner.running -= 1
        if isinstance(outcome, Failure):
            task.move(FAILED)
            task.problem = outcome.message
            self._refund(task)
        else:
            task.move(SUCCESS)
            task.media, task.notes = self._media.add(outcome, ".mp4"), outcome.notes
            self._by_media[task.media] = task
        task.work = None
        self._changes.note(task.id)
        self._ended.append(task)
        self._forget_old()
        if task.order.callback_url is not None:
            self._announcer.announce(task.order.callback_url, task.data(origin), task.callback_fault)

    def _refund(self, task: VideoTask) -> None:
        task.owner.balance += task.credits
        task.credits = 0.0
        for tally in (self._counts.total, task.owner.tally):
            tally.refunded += 1

    def _forget_old(self) -> None:
        while len(self._ended) > KEPT_TASKS:
            task = self._ended.popleft()
            del self._videos[task.id]
            self._changes.forget(task.id)
            self._forget_media(task)

    def _forget_outdated_media(self) -> None:
        """Forget videos that are past their retention; their tasks stay."""
        while self._by_media:
            task = next(iter(self._by_media.values()))
            if (task.completed or 0.0) + self._retention > self._clock.time():
                break
            self._forget_media(task)

    def _forget_media(self, task: VideoTask) -> None:
        if task.media is not None:
            self._media.discard(task.media)
            self._by_media.pop(task.media, None)

    def _origin(self, request: ServerRequest) -> str:
        """Return the address by which the client reaches this server, for media URLs."""
        host = request.header("Host") or ""
        return f"http://{host}" if _HOST.fullmatch(host) else self.base_url

    # Media

    def refresh_library(self) -> None:
        """Take over the library's current songs."""
        self._music.refresh()

    def _shelve(self, track: LibraryTrack, what: str) -> str:
        return self._media.add(partial(self._library_file, track, what))

    def _library_file(self, track: LibraryTrack, what: str) -> MediaFile:
        """Return a track's audio or cover. Blocks."""
        if self._folder is None:
            raise FileNotFoundError("the service was given no folder for the library's files")
        make = self._library.audio if what == "audio" else self._library.cover
        return MediaFile.of_path(make(track, self._folder))

    def _handle_media(self, request: ServerRequest) -> Reply:
        self._forget_outdated_media()
        found = self._media.reply(request) if request.method in ("GET", "HEAD") else None
        if found is not None and found.prepare is not None:
            return found
        task = self._by_media.get(request.path)
        fault = self._next_fault(MEDIA, None if task is None else task.owner)
        if fault is not None and fault.name == "redirect" and REDIRECTED in request.query:
            fault = None
        if fault is not None and fault.name == "late-file":
            ended = None if task is None else task.completed
            found = None if ended is not None and self._clock.time() < ended + fault.number else found
            fault = None
        if fault is not None and fault.name == "expire-url":
            if task is not None:
                self._expire(task, request.path, int(fault.number))
            found = self._media.reply(request)
        elif fault is not None and fault.before:
            return instead(fault, request, self._clock.time())
        if found is None:
            return Reply(status=404, headers={"Content-Type": "text/plain"}, body=b"not found\n")
        return found if fault is None else spoiled_delivery(fault, found)

    def _expire(self, task: VideoTask, path: str, status: int) -> None:
        """Let a video's URL expire; from now on TaskInfo has a fresh one."""
        task.media = self._media.renew(path, status)
        # In its old position: the videos are ordered by when they were finished.
        self._by_media = {task.media if old == path else old: owner for old, owner in self._by_media.items()}

    # The machine's own calls

    def _handle_control(self, request: ServerRequest) -> Reply:
        problem = control.why_refused(request)
        if problem is not None:
            return json_reply({"error": problem}, status=403)
        call = (request.method, request.path.removeprefix(control.PREFIX))
        if call == ("GET", "stats"):
            return json_reply(self.stats())
        if call == ("GET", "tasks"):
            return json_reply(self.tasks())
        if call == ("POST", "reset"):
            self.reset()
            return json_reply({"reset": True})
        return json_reply({"error": "unknown call; use GET stats, GET tasks or POST reset"}, status=404)
