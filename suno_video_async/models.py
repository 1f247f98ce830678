"""The values that users pass in and get back. All are immutable; ids of different things have different types."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NewType, TypeAlias, cast

from attrs import Attribute, field, frozen
from attrs.validators import instance_of

from suno_video_async._util.cached import cached_property
from suno_video_async._util.media import first_video
from suno_video_async.notebook import card

#: The id of a finished Suno task: what a video is made from.
MusicTaskId = NewType("MusicTaskId", str)
#: The id of one track inside a music task.
SunoId = NewType("SunoId", str)
#: The id of a video task: what CreateTask answers with. Never the same thing as a `MusicTaskId`.
VideoTaskId = NewType("VideoTaskId", str)

#: The state of a task. `other` is any word that this version does not know, such as `queued`: the task is not
#: finished before it has a `complete_at`, and `TaskSnapshot.raw_status` has the word.
TaskStatus: TypeAlias = Literal["pending", "running", "success", "failed", "other"]
#: The final state of a row of a catalog, in one run.
OutcomeState: TypeAlias = Literal[
    "downloaded", "succeeded", "failed", "refused", "unknown", "submitted", "planned", "skipped"
]

#: The longest `author` and `brand`, in characters (an assumption of ours about the API).
MAX_CREDIT_LENGTH = 50
#: The least seconds, from its send on, that a submission in doubt waits for its callback, where one can come.
UNKNOWN_GRACE = 120.0
#: Six hours, in seconds: no video takes that long, and a run always ends.
DEFAULT_TASK_TIMEOUT = 6 * 3600.0
#: No task takes longer, in seconds: a longer duration is a mistake of the server's, such as milliseconds.
LONGEST_TASK = 6 * 3600.0
#: Seconds for which limits that were found are used by later runs: plans and limits change.
KEPT = 86_400.0
#: Text as JSON; an encoder takes three times as many calls.
_quoted = json.encoder.encode_basestring

_STATUSES: Mapping[str, TaskStatus] = {
    "pending": "pending",
    "running": "running",
    "success": "success",
    "failed": "failed",
}


def normalised(text: str) -> str:
    """Return `text` stripped and in Unicode's NFC, so that one name has one spelling."""
    return unicodedata.normalize("NFC", text.strip())


def _required(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    text = normalised(value)
    if not text:
        raise ValueError(f"{name} is empty: a track needs both its music task's id and its suno id")
    if not text.isprintable():
        raise ValueError(f"{name} contains characters that cannot be printed: {text!r}")
    return text


def music_task_id(value: str) -> MusicTaskId:
    """Return `value` as a music task's id: stripped, and in Unicode's NFC.

    Raises:
        ValueError: it is empty, or has characters that cannot be printed.
        TypeError: it is not a string.

    """
    return MusicTaskId(_required("task_id", value))


def _suno_id(value: str) -> SunoId:
    return SunoId(_required("suno_id", value))


def _credit(value: str | None) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
        raise TypeError(f"author and brand must be strings, not {type(value).__name__}")
    return normalised(value) or None


def _short_enough(_: object, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None and len(value) > MAX_CREDIT_LENGTH:
        raise ValueError(
            f"{attribute.name} has {len(value)} characters; at most {MAX_CREDIT_LENGTH} are allowed: {value!r}"
        )
    if value is not None and not value.isprintable():
        raise ValueError(f"{attribute.name} contains characters that cannot be printed: {value!r}")


def video_task_id(value: object) -> VideoTaskId:
    """Return `value` as a video task's id.

    Raises:
        ValueError: it is not a string of 1 to 256 printable ASCII characters, or has blanks around it.

    """
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= 256
        or not value.isascii()
        or not value.isprintable()
        or value.strip() != value
    ):
        raise ValueError(f"a video task id is 1 to 256 printable ASCII characters, not {value!r:.80}")
    return VideoTaskId(value)


def _extra(value: Mapping[str, str]) -> Mapping[str, str]:
    return dict(value)


@frozen(kw_only=True)
class Track:
    """One track of a finished music task, and how its video is to be signed.

    Args:
        task_id: the **music** task's id.
        suno_id: the track's id inside that task.
        author: shown as the artist; at most 50 characters.
        brand: shown as a watermark; at most 50 characters.
        extra: columns of the user's own, carried through to the outcome and never sent.

    Raises:
        ValueError: an id is empty, or a credit is too long.

    """

    task_id: MusicTaskId = field(converter=music_task_id)
    suno_id: SunoId = field(converter=_suno_id)
    author: str | None = field(default=None, converter=_credit, validator=_short_enough)
    brand: str | None = field(default=None, converter=_credit, validator=_short_enough)
    extra: Mapping[str, str] = field(factory=dict[str, str], converter=_extra, eq=False, repr=False)

    @property
    def key(self) -> str:
        """The track's identity: a compact JSON array of its four fields, `""` where one is absent."""
        parts = (self.task_id, self.suno_id, self.author or "", self.brand or "")
        return f"[{','.join(map(_quoted, parts))}]"


def track_as_kept(task_id: str, suno_id: str, author: str, brand: str, extra: Mapping[str, str]) -> Track:
    """Return a track from what a ledger keeps of it: values of a `Track`, which are not examined once more."""
    track = Track.__new__(Track)
    object.__setattr__(track, "task_id", task_id)
    object.__setattr__(track, "suno_id", suno_id)
    object.__setattr__(track, "author", author or None)
    object.__setattr__(track, "brand", brand or None)
    object.__setattr__(track, "extra", extra)
    return track


def _http_url(_: object, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError(f"{attribute.name} must be an http(s) URL, not {value!r}")


@frozen(kw_only=True)
class VideoRequest:
    """What one CreateTask asks for.

    Args:
        track: the track to make a video of.
        callback_url: an http(s) URL of the user's own that the API calls when the task ends.

    """

    track: Track
    callback_url: str | None = field(default=None, validator=_http_url)


@frozen(kw_only=True, slots=False)  # with slots, it takes three times as long to make, and to read what is cached
class TaskSnapshot:
    """What TaskInfo said about a task at one moment.

    Attributes:
        task_id: the task asked for.
        raw_status: the server's word, as it came (the argument `status`). `status` is what it means.
        create_at, complete_at: Unix seconds; `complete_at` is None until the end.
        duration_s: seconds the task took, None until the end.
        credits: what it cost, and until the end what is reserved for it; may be fractional, or None.
        result_code, result_message: the end's details, for people; `status` alone decides.
        media_urls: usable http(s) URLs of the finished media, in the server's order.
        raw: the whole object as the server sent it, fields unknown to this version included.
        answered_at: Unix seconds of the server's clock when it said this (the answer's `Date`), if known.

    """

    task_id: VideoTaskId
    raw_status: str = field(alias="status")
    provider: str | None = None
    model_version: str | None = None
    create_at: float | None = None
    complete_at: float | None = None
    duration_s: float | None = None
    credits: float | None = None
    result_code: int | None = None
    result_message: str | None = None
    media_urls: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(factory=dict[str, Any], repr=False, eq=False)
    answered_at: float | None = field(default=None, repr=False, eq=False)

    @cached_property  # read six times for each track
    def took(self) -> float | None:
        """The seconds that the task took, by the server's word; None if it says nothing possible."""
        span = None
        if self.create_at is not None and self.complete_at is not None:
            span = self.complete_at - self.create_at
        possible = [time for time in (self.duration_s, span) if time is not None and 0 <= time <= LONGEST_TASK]
        # Durations in other units are longer than the time between the task's two dates.
        return min((time for time in possible if time > 0), default=possible[0] if possible else None)

    @cached_property  # read ten times for each answer, as are the next
    def status(self) -> TaskStatus:
        """The state of the task; `other` is a word that this version does not know."""
        return _STATUSES.get(self.raw_status.strip().lower(), "other")

    @property
    def is_success(self) -> bool:
        """Whether the server says that the task has ended well; its video can come later, see `awaits_video`."""
        return self.status == "success"

    @property
    def is_failed(self) -> bool:
        """Whether the task has ended badly."""
        return self.status == "failed"

    @cached_property
    def is_final(self) -> bool:
        """Whether the task has ended: failed, with a video, or by an unknown word together with `complete_at`."""
        if self.is_success:
            return not self.awaits_video
        return self.is_failed or (self.status == "other" and self.complete_at is not None)

    @cached_property
    def video_url(self) -> str | None:
        """The first of `media_urls` that is a video, by its ending; None where none is."""
        return first_video(self.media_urls)

    @property
    def awaits_video(self) -> bool:
        """Whether the task has ended well and its video is not there yet: it is asked about again."""
        return self.is_success and self.video_url is None and not self._has_tracks

    @property
    def _has_tracks(self) -> bool:
        """Whether this is a finished music task: it has tracks and never a video."""
        result: object = self.raw.get("result")
        return isinstance(result, Mapping) and bool(cast("Mapping[str, object]", result).get("suno_data"))

    @cached_property
    def input(self) -> Mapping[str, Any]:
        """What was submitted, as the server repeats it (`param.input`); empty when it does not."""
        submitted = self._param("input")
        return cast("Mapping[str, Any]", submitted) if isinstance(submitted, Mapping) else {}

    @property
    def callback_url(self) -> str | None:
        """The URL that is called when the task ends, as the server repeats it (`param.callback_url`)."""
        url = self._param("callback_url")
        return url if isinstance(url, str) else None

    def _repr_html_(self) -> str:
        facts = {
            "seconds": self.duration_s,
            "credits": self.credits,
            "code": self.result_code,
            "message": self.result_message,
            "video": self.video_url,
        }
        return card(f"task {self.task_id}", self.raw_status, facts)

    def _param(self, name: str) -> object:
        param: object = self.raw.get("param")
        return cast("Mapping[str, object]", param).get(name) if isinstance(param, Mapping) else None


@frozen(kw_only=True)
class TaskUpdate:
    """One step of a task's life, as `async for update in task` yields it.

    Attributes:
        snapshot: what the server said.
        elapsed: seconds since the submission, by the server's times once the task has ended.
        progress: estimated share of the task's time that has passed, 0 to 1; it never falls back. None as long as
            too little is known of how long tasks take.
        eta: the seconds until the end, as a median; None likewise.

    """

    snapshot: TaskSnapshot
    elapsed: float
    progress: float | None = None
    eta: float | None = None

    @property
    def task_id(self) -> VideoTaskId:
        """The video task's id."""
        return self.snapshot.task_id

    @property
    def status(self) -> TaskStatus:
        """The state of the task; `snapshot.raw_status` is the server's word for it."""
        return self.snapshot.status

    @property
    def is_final(self) -> bool:
        """Whether this is the last update of its task."""
        return self.snapshot.is_final

    def _repr_html_(self) -> str:
        facts = {
            "elapsed, s": self.elapsed,
            "progress": self.progress,
            "to go, s": self.eta,
            "credits": self.snapshot.credits,
            "message": self.snapshot.result_message,
        }
        return card(f"task {self.task_id}", self.snapshot.raw_status, facts)


@frozen(kw_only=True)
class Video:
    """A finished music video.

    Attributes:
        task_id: the video task that made it.
        url: where it can be fetched, for about 14 days (an assumption) or less: download it soon.
        suno_id: the track it was made from, when known; names the file.
        credits: what it cost, when the server said so.
        took: seconds that its task took, when the server said so; not the length of the video.
        path: the file on disk, where it was downloaded in one go.
        uri: the same as text, or the place in an object store.

    """

    task_id: VideoTaskId
    url: str
    suno_id: str | None = None
    credits: float | None = None
    took: float | None = None
    path: Path | None = None
    uri: str | None = None
    snapshot: TaskSnapshot = field(repr=False)

    def _repr_html_(self) -> str:
        facts = {
            "track": self.suno_id,
            "took, s": self.took,
            "credits": self.credits,
            "url": self.url,
            "file": self.path or self.uri,
        }
        return card(f"video of task {self.task_id}", None, facts, path=self.path)


@frozen(kw_only=True)
class SunoTrack:
    """One track of a finished music task, as `client.tracks()` lists it.

    Attributes:
        duration: the song's length in seconds.
        raw: the whole object as the server sent it.

    """

    task_id: MusicTaskId
    suno_id: SunoId
    title: str | None = None
    audio_url: str | None = None
    image_url: str | None = None
    image_large_url: str | None = None
    duration: float | None = None
    raw: Mapping[str, Any] = field(factory=dict[str, Any], repr=False, eq=False)


@frozen(kw_only=True)
class Estimate:
    """What a submission would cost, and whether the account can pay it; all in credits."""

    estimated_credits: float
    balance: float
    affordable: bool


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if isinstance(value, bool) or not value > 0 or not math.isfinite(value):
        raise ValueError(f"{attribute.name} must be a number above 0, not {value!r}")


@frozen
class RateLimit:
    """How many requests one key may send: `RateLimit(20, per=10)` is 20 in any 10 seconds."""

    requests: int = field(validator=(_positive, instance_of(int)))
    per: float = field(default=10.0, validator=_positive)

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """Read `"20/10"`: 20 requests in any 10 seconds.

        Raises:
            ValueError: the text has another form.

        """
        requests, slash, per = text.partition("/")
        try:
            return cls(int(requests), float(per) if slash else 10.0)
        except ValueError:
            raise ValueError(f"a rate is REQUESTS/SECONDS, such as 20/10, not {text!r}") from None


#: What the API allows one key (seen by several clients; an assumption of ours).
DEFAULT_RATE = RateLimit(20, 10.0)


@frozen(kw_only=True)
class LimitsFound:
    """The limits of a key, as far as they were found by being refused; None for one that was not.

    Attributes:
        rate: requests in a period, or submissions if reads have a window of their own.
        read_rate: reads in a period, if they have.
        running: the cap on running tasks.
        climbing: whether more than that is being tried at this moment.

    """

    rate: RateLimit | None = None
    read_rate: RateLimit | None = None
    running: int | None = None
    climbing: bool = field(default=False, eq=False)

    def __str__(self) -> str:
        named = ((self.rate, "requests" if self.read_rate is None else "submissions"), (self.read_rate, "reads"))
        parts = [f"{rate.requests} {what} in {rate.per:g} s" for rate, what in named if rate is not None]
        return ", ".join([*parts, *([f"{self.running} videos at once"] if self.running is not None else [])])

    def dump(self, at: float) -> str:
        """Return it as text, with the time, to be kept for later runs."""
        rates = {"rate": self.rate, "read_rate": self.read_rate}
        numbers = {name: rate.requests for name, rate in rates.items() if rate is not None}
        return json.dumps({"at": at, "running": self.running} | numbers)

    @classmethod
    def load(cls, text: str | None, now: float) -> LimitsFound:
        """Return what an earlier run kept; nothing if it is older than a day, from the future, or unreadable."""
        try:
            kept = cast("dict[str, Any]", json.loads(text or "{}"))
            if not 0 <= now - float(kept["at"]) <= KEPT:
                return cls()
            rates: dict[str, Any] = {name: RateLimit(kept[name]) for name in ("rate", "read_rate") if name in kept}
            running = kept["running"]
            return cls(**rates, running=None if running is None else max(1, int(running)))
        except (AttributeError, KeyError, TypeError, ValueError):
            return cls()


@frozen(kw_only=True)
class Timeout:
    """How long the network may take, in real seconds.

    Args:
        connect: until a connection is up, name lookup and TLS included.
        total: until the whole answer is read. It must be longer than `connect`: only then is a request that
            runs into it known to have had a connection.

    """

    connect: float = field(default=10.0, validator=_positive)
    total: float = field(default=60.0, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if self.total <= self.connect:
            raise ValueError(f"timeout.total ({self.total:g} s) must be longer than connect ({self.connect:g} s)")


@frozen(kw_only=True)
class RetryPolicy:
    """How refused and broken calls are tried again.

    Args:
        attempts: sends of one call, the first one included; maintenance (455) does not use them up.
        horizon: seconds after the first failure in which a call is tried again.
        maintenance_horizon: the same during maintenance.
        backoff: upper end of the first wait, in seconds; it doubles with each failure (full jitter).
        max_backoff: the longest such wait.
        maintenance_backoff: the longest such wait during maintenance.
        max_retry_after: the longest wait that a `Retry-After` can ask for, but during maintenance, when
            `maintenance_horizon` is. A shorter one is waited out in full. A longer one ends the buying at once.
        strict: treat a 500 on CreateTask as unknown instead of sending it again.

    """

    attempts: int = field(default=8, validator=_positive)
    horizon: float = field(default=300.0, validator=_positive)
    maintenance_horizon: float = field(default=3600.0, validator=_positive)
    backoff: float = field(default=1.0, validator=_positive)
    max_backoff: float = field(default=60.0, validator=_positive)
    maintenance_backoff: float = field(default=240.0, validator=_positive)
    max_retry_after: float = field(default=900.0, validator=_positive)
    strict: bool = False
