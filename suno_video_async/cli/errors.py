"""What went wrong, in one line that says what to do; and the exit codes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.errors import (
    AlreadyBoughtError,
    AnotherKeyError,
    APIError,
    AuthenticationError,
    BoughtElsewhereError,
    BudgetExceeded,
    CatalogError,
    ConfigurationError,
    DoubtfulLedgerError,
    DownloadError,
    FeatureDisabledError,
    InsufficientCreditsError,
    InvalidRequestError,
    LedgerError,
    MaintenanceError,
    MissingExtraError,
    MissingKeyError,
    NotFoundError,
    RateLimitError,
    ServerError,
    ServiceUnreachable,
    SubmissionUnknown,
    SunoVideoError,
    TaskEndUnknown,
    TaskFailed,
    TransportError,
    VideoNotReady,
    WaitTimeout,
)
from suno_video_async.hooks import RetryEvent

_CODES: tuple[tuple[type[Exception], Exit], ...] = (
    (UsageProblem, Exit.USAGE),
    (ConfigurationError, Exit.USAGE),
    (MissingExtraError, Exit.USAGE),
    (CatalogError, Exit.USAGE),
    (LedgerError, Exit.USAGE),
    (AuthenticationError, Exit.USAGE),
    (BudgetExceeded, Exit.CREDITS),
    (InsufficientCreditsError, Exit.CREDITS),
    (SubmissionUnknown, Exit.LEFT),
    (WaitTimeout, Exit.LEFT),
    (VideoNotReady, Exit.LEFT),
    (TaskEndUnknown, Exit.LEFT),
    (RateLimitError, Exit.LEFT),
    (MaintenanceError, Exit.LEFT),
    (ServerError, Exit.LEFT),
    (TransportError, Exit.LEFT),
)

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "check CRUN_API_KEY, or the key in ~/.crun/.env"),
    (BudgetExceeded, "a higher --max-credits goes on; what is submitted already is paid for"),
    (InsufficientCreditsError, "top up the account; what is submitted already is paid for"),
    (InvalidRequestError, "check the music task's id and the suno id: suno-video tracks MUSIC_TASK_ID lists them"),
    (NotFoundError, "check the id, and that it belongs to this account"),
    (RateLimitError, "other programs may use the same key: wait a minute, or use a lower --rate"),
    (MaintenanceError, "the service is down for maintenance: try again later"),
    (ServerError, "the service had a problem: try again later"),
    (FeatureDisabledError, "the service has switched music videos off: ask the provider"),
    (SubmissionUnknown, "see in your account whether a task was made and charged before you submit it again"),
    (VideoNotReady, "it is paid for: ask again later with suno-video status, then ask the provider"),
    (TaskEndUnknown, "see in your account what became of it before you submit it again"),
    (TaskFailed, "submitting it again is a new, paid task"),
    (WaitTimeout, "it goes on: follow it with suno-video wait"),
    (DownloadError, "the video is made and paid for: fetch it with suno-video download"),
    (ServiceUnreachable, "run it again later: it begins with one submission alone"),
    (TransportError, "check the network, and --base-url or CRUN_BASE_URL"),
)


def is_expected(error: Exception) -> bool:
    """Whether an error's message says it all: it is one of ours, or a mistake in the command."""
    return isinstance(error, SunoVideoError | UsageProblem)


def exit_code(error: Exception) -> Exit:
    """Return the exit code of a command that ended in `error`."""
    if isinstance(error, TransportError) and not error.sent and not isinstance(error, ServiceUnreachable):
        return Exit.USAGE  # the service was never reached: the address or the network is wrong
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.FAILED)


def advice(error: Exception) -> str | None:
    """Return what to do about `error`, if there is more to say than its message does."""
    return next((text for kind, text in _ADVICE if isinstance(error, kind)), None)


def line(error: Exception) -> str:
    """Return `error` as one line: what is wrong, and what to do."""
    hint = advice(error)
    return f"{brief(error)}; {hint}" if hint else brief(error)


def brief(error: Exception) -> str:
    """Return what is wrong, in one line."""
    if isinstance(error, SunoVideoError) and (known := fix(error)):
        return f"{error.problem}: {known}"
    return str(error) or type(error).__name__


def retried(event: RetryEvent) -> str:
    """Return which call failed and why, in one line; the errors of API calls name them."""
    why = brief(event.error)
    return why if isinstance(event.error, APIError | TransportError) else f"{event.operation}: {why}"


def fix(error: SunoVideoError) -> str | None:
    """Return what to do about an error, by an option of the command line in place of an argument in Python."""
    match error:
        case MissingKeyError():  # on the command line the key is never an argument
            return "set CRUN_API_KEY, or run suno-video login, which writes it into ~/.crun/.env"
        case DoubtfulLedgerError():
            return f"{error.check}; --accept-ledger then takes it as it is"
        case AnotherKeyError():
            return (
                "use its key, or another file for this account; if the key of its account was changed,"
                " --same-account asks for one of its tasks and goes on with it"
            )
        case BoughtElsewhereError():
            ledger = shlex.quote(str(error.ledger))
            return f"--ledger {ledger} continues with that one, --ignore-other-ledgers buys it"
        case AlreadyBoughtError():
            return "convert it with --rebuy-changed to pay for a second video"
        case _:
            return error.fix


def os_reason(error: BaseException) -> str | None:
    """Return why a connection failed, in the operating system's words, where it said so."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None and not isinstance(cause, TransportError):
            text = os.strerror(cause.errno) if cause.errno > 0 else cause.strerror
            return text[:1].lower() + text[1:] if text else None
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from, the outermost first."""
    seen = 0
    while error is not None and seen < 10:
        yield error
        error, seen = error.__cause__ or error.__context__, seen + 1
