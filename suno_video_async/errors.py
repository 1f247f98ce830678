"""Everything this library raises. The branches are what a caller does next; the facts are attributes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from suno_video_async.models import TaskSnapshot, TaskUpdate, Track, VideoTaskId

#: The last second of the year 9999.
LAST_SECOND = 253_402_300_799.0


class SunoVideoError(Exception):
    """The root of this library's exceptions.

    Attributes:
        fix: what to do about it, if this library knows; the message ends with it.

    """

    def __init__(self, problem: str = "", *, fix: str | None = None) -> None:
        super().__init__(problem)
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}: {self.fix}" if self.fix else self.problem

    @property
    def problem(self) -> str:
        """What is wrong: the message without the fix."""
        return str(self.args[0])


class ConfigurationError(SunoVideoError, ValueError):
    """The client cannot start with these settings; the message names the setting and the fix."""


class MissingKeyError(ConfigurationError):
    """There is no API key: neither as an argument, nor in the environment, nor in the key file."""

    def __init__(self) -> None:
        super().__init__(
            "no API key",
            fix="set CRUN_API_KEY, or write CRUN_API_KEY=… into ~/.crun/.env, or pass api_key=",
        )


class MissingExtraError(SunoVideoError, ImportError):
    """A feature needs packages of an extra that is not installed; the message has the pip line."""


class ClientClosedError(SunoVideoError):
    """The client was closed, or not opened yet, when something was asked of it."""


class CatalogError(SunoVideoError):
    """A catalog, or one row of it, cannot be read.

    Attributes:
        message: what is wrong, without the place.
        location: the file and line, as far as known.
        fields: what the row holds, by column, if its cells can be told apart; empty if not.
        text: otherwise the row as it is in the file, as far as there is one.

    """

    def __init__(
        self,
        message: str,
        *,
        location: str | None = None,
        fix: str | None = None,
        fields: Mapping[str, str] | None = None,
        text: str | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.message = message
        self.location = location
        self.fields: Mapping[str, str] = fields or {}
        self.text = text

    @property
    def problem(self) -> str:
        """What is wrong, and where."""
        return f"{self.location}: {self.message}" if self.location else self.message


class APIError(SunoVideoError):
    """The API refused a call, in its own words.

    Attributes:
        code: the envelope's code, which is the HTTP status when the body was no envelope.
        http_status: the HTTP status.
        message: the server's message.
        errors: details of a refused request, such as `"input.suno_id: field required"`.
        retry_after: seconds the server asks to wait, or None.
        closed_until: Unix seconds until which the server is closed, where that is longer than the `RetryPolicy`
            waits for; otherwise None.
        operation: the call, such as `"CreateTask"`.
        task_id: the task asked about, when the call names one.

    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        http_status: int,
        operation: str,
        errors: Sequence[str] = (),
        retry_after: float | None = None,
        task_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.http_status = http_status
        self.operation = operation
        self.errors: tuple[str, ...] = tuple(errors)
        self.retry_after = retry_after
        self.closed_until: float | None = None
        self.task_id = task_id

    @property
    def problem(self) -> str:
        """The call, and what the server said of it."""
        about = f" {self.task_id}" if self.task_id else ""
        details = f" ({'; '.join(self.errors)})" if self.errors else ""
        closed = "" if self.closed_until is None else f"; closed until {_as_utc(self.closed_until)}"
        return f"{self.operation}{about}: {self.code} {self.message}{details}{closed}"


def _as_utc(seconds: float) -> str:
    """Return a time as text; one that no calendar has is as good as the last that it has."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(seconds, LAST_SECOND)))


class AuthenticationError(APIError):
    """401 or 403: the key is missing, wrong or disabled. Never retried."""


class InsufficientCreditsError(APIError):
    """402: not enough credits. Submissions stop; what is paid for is still followed."""


class NotFoundError(APIError):
    """404: no such task, or it belongs to another account."""


class InvalidRequestError(APIError):
    """422: the parameters are refused; `errors` says which."""


class RateLimitError(APIError):
    """429: over the rate limit; nothing was done."""


class MaintenanceError(APIError):
    """455: the API is under maintenance; nothing was done."""


class ServerError(APIError):
    """500: the server failed while it processed the request."""


class FeatureDisabledError(APIError):
    """505: the feature is switched off. Never retried."""


class TransportError(SunoVideoError):
    """No answer that could be read.

    Attributes:
        sent: False only where it is certain that no byte of the request left this machine.
        permanent: whether asking again is pointless: a wrong name, a bad certificate, a proxy that refuses.

    """

    def __init__(self, message: str, *, sent: bool = True, permanent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent
        self.permanent = permanent


class ServiceUnreachable(TransportError):  # noqa: N818  it says what is the case
    """The API is out of reach, so submissions are held; this one was not sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class APITimeoutError(TransportError, TimeoutError):
    """The network took longer than `Timeout` allows."""


class MalformedResponseError(TransportError):
    """An answer came that is not of the API's form: a gateway's page, cut JSON, a missing id.

    Attributes:
        http_status: the HTTP status it came with.
        task_id: an id in the broken answer to a CreateTask: evidence of a task that may be paid for.
        from_api: whether the API itself has answered: in its envelope, or with a task's id.

    """

    def __init__(
        self, message: str, *, http_status: int, task_id: str | None = None, from_api: bool = False
    ) -> None:
        super().__init__(message, sent=True)
        self.http_status = http_status
        self.task_id = task_id
        self.from_api = from_api


class SubmissionUnknown(SunoVideoError):  # noqa: N818  a fixed public name: it says what is the case
    """A CreateTask was sent and its outcome cannot be known; sending it again could pay twice.

    Attributes:
        track: the track that was submitted.
        since: Unix seconds of the send.
        task_id: an id that stood in a broken answer, if any.

    """

    def __init__(self, track: Track, since: float, reason: str, *, task_id: str | None = None) -> None:
        super().__init__(
            f"whether the submission of {track.suno_id} was accepted is unknown ({reason}); "
            "it may be paid for, so it is not sent again"
        )
        self.track = track
        self.since = since
        self.reason = reason
        self.task_id = task_id


class AlreadyBoughtError(SunoVideoError):
    """The same song is in the ledger under another author or brand; a second video of it is a second charge.

    Attributes:
        key: the `Track.key` of the one that is bought, or about to be.

    """

    def __init__(self, track: Track, key: str) -> None:
        super().__init__(
            f"{track.suno_id} is in the ledger under another author or brand ({key})",
            fix="convert it with rebuy_changed to pay for a second video",
        )
        self.key = key


class BoughtElsewhereError(SunoVideoError):
    """Another ledger in the folder holds the track as bought, or as unknown: a catalog was renamed or copied.

    Attributes:
        ledger: the file of that ledger.
        state: the track's state in it.

    """

    def __init__(self, track: Track, ledger: Path, state: str) -> None:
        super().__init__(
            f"{track.suno_id} is not bought, since the ledger {ledger.name} beside this one has it as {state}",
            fix=f"pass ledger={str(ledger)!r} to continue with that one, or ignore_other_ledgers=True to buy it",
        )
        self.ledger = ledger
        self.state = state


class TaskFailed(SunoVideoError):  # noqa: N818  a fixed public name
    """The task has ended without a video; trying again is a new, paid task.

    Attributes:
        snapshot: the last word of the server, with `result_code` and `result_message`.
        reason: why it failed, without the task's id.

    """

    def __init__(self, snapshot: TaskSnapshot, message: str | None = None) -> None:
        code = f"{snapshot.result_code} " if snapshot.result_code is not None else ""
        reason = f"{code}{snapshot.result_message or 'no reason given'}"
        super().__init__(message or f"task {snapshot.task_id} failed: {reason}")
        self.reason: str = message or reason
        self.snapshot = snapshot


class VideoNotReady(SunoVideoError):  # noqa: N818  it says what is the case, as `TaskFailed` does
    """The task has no video yet; it is paid for and has not failed: ask again later.

    Attributes:
        snapshot: the last word of the server.

    """

    def __init__(self, snapshot: TaskSnapshot) -> None:
        super().__init__(f"task {snapshot.task_id} ({snapshot.raw_status}) has no video URL yet")
        self.snapshot = snapshot


class TaskEndUnknown(SunoVideoError):  # noqa: N818  likewise
    """The task has ended without a video, and not as `failed`: whether it was paid for is not known.

    Attributes:
        snapshot: the last word of the server.

    """

    def __init__(self, snapshot: TaskSnapshot) -> None:
        super().__init__(
            f"task {snapshot.task_id} has ended as {snapshot.raw_status[:80]!r} without a video URL;"
            " it may be paid for, so it does not count as failed"
        )
        self.snapshot = snapshot


class WaitTimeout(SunoVideoError, TimeoutError):  # noqa: N818  a fixed public name
    """The wait was over before the task was; the task goes on and can be attached to.

    Attributes:
        task_id: the video task's id.
        last: the newest update seen, or None.

    """

    def __init__(self, task_id: VideoTaskId, last: TaskUpdate | None, seconds: float) -> None:
        status = f"last seen as {last.snapshot.raw_status!r}" if last else "not seen yet"
        super().__init__(
            f"task {task_id} did not end within {seconds:g} s ({status}); it can still be followed by id"
        )
        self.task_id = task_id
        self.last = last


class DownloadError(SunoVideoError):
    """A finished video could not be brought to disk.

    Attributes:
        url: where it was to come from.
        status: the HTTP status, if there was an answer.
        temporary: whether trying again may help.
        stale_url: whether the file is not at this URL, or not yet: TaskInfo may name another one.
        retry_after: seconds that the media server asked to wait, or None.

    """

    def __init__(
        self,
        message: str,
        *,
        url: str,
        status: int | None = None,
        temporary: bool = False,
        stale_url: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.temporary: bool = temporary or stale_url
        self.stale_url = stale_url
        self.retry_after = retry_after


class LedgerError(SunoVideoError):
    """The ledger cannot be used or written; it is left as it was.

    Attributes:
        sent: whether a submission had been sent when the ledger failed; the message then says what came of it.
        task_id: the task that the submission became, where it was accepted.
        temporary: whether the same may succeed later: another program has it locked, or the disk is full.

    """

    def __init__(
        self,
        problem: str,
        *,
        fix: str | None = None,
        sent: bool = False,
        task_id: VideoTaskId | None = None,
        temporary: bool = False,
    ) -> None:
        super().__init__(problem, fix=fix)
        self.sent = sent
        self.task_id = task_id
        self.temporary = temporary


class LedgerLost(LedgerError):  # noqa: N818  a fixed public name
    """The ledger was lost while it was written: nothing more is bought.

    Its file was deleted, replaced or taken over; or the session with the database that holds it has ended. Then
    another process may work with the same key by now, so that nothing more is sent at all.
    """


class LedgerInUse(LedgerError):  # noqa: N818  as `LedgerLost`
    """Another process writes the ledger, or works with its key: wait for it to end, or let it do the work."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, fix="wait for it to end", temporary=True)


class DoubtfulLedgerError(LedgerError):
    """The ledger's file may lack what was bought, or be written through another name; nothing was changed.

    Attributes:
        check: what a person has to check before it is taken as it is.

    """

    def __init__(self, problem: str, check: str) -> None:
        super().__init__(problem, fix=f"{check}; SqliteLedger(path, accept=True) then takes it as it is")
        self.check = check


class AnotherKeyError(LedgerError):
    """The ledger belongs to another key of the same service, which may be an earlier one of the same account."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            problem,
            fix="use its key, or another ledger for this account; if the key of its account was changed,"
            " a ledger made with same_account=True asks for one of its tasks and goes on with it",
        )


class CallbackRejected(SunoVideoError):  # noqa: N818  a fixed public name
    """A callback is not one for this receiver, or cannot be taken now.

    Attributes:
        status: the HTTP status to answer it with.

    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the callback was rejected with {status}: {reason}")
        self.status: int = status


class BudgetExceeded(SunoVideoError):  # noqa: N818  a fixed public name
    """A submission would go over the budget; nothing was sent."""
