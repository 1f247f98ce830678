"""What a supervisor does after a conversion was ended by an error: go on soon, later, or not without a person.

Whatever it does costs nothing twice: the ledger knows what is bought. It is about not asking a service that is
down too often, not leaving a key idle for longer than needed, and not hiding what only a person can mend.
"""

from __future__ import annotations

from enum import Enum, auto

from suno_video_async.errors import (
    APIError,
    ClientClosedError,
    DownloadError,
    LedgerError,
    LedgerLost,
    MaintenanceError,
    RateLimitError,
    ServerError,
    SunoVideoError,
    TransportError,
    VideoNotReady,
    WaitTimeout,
)

#: Seconds to wait after the first stop for which a later run is the answer; each one more doubles them, up to the
#: longest.
FIRST_WAIT, LONGEST_WAIT = 600.0, 3600.0


class Again(Enum):
    """When a conversion that an error has ended is run again."""

    SOON = auto()
    """At once, here or elsewhere: this process lost the ledger, or its database is out of reach."""
    LATER = auto()
    """After a wait that grows: the service is out of reach, closed or broken."""
    NEVER = auto()
    """When a person has mended it: a key, credits, a budget, a setting, a catalog, or this program."""


#: The first that an error is an instance of holds; what is not listed is for a person.
_AGAIN: tuple[tuple[type[Exception], Again], ...] = (
    (LedgerLost, Again.SOON),
    (ClientClosedError, Again.SOON),
    (RateLimitError, Again.LATER),
    (MaintenanceError, Again.LATER),
    (ServerError, Again.LATER),
    (DownloadError, Again.LATER),
    (VideoNotReady, Again.LATER),
    (WaitTimeout, Again.LATER),
)


def when_again(error: Exception) -> Again:
    """Return when a conversion that ended in `error` is run again."""
    if isinstance(error, LedgerError) and error.temporary:
        return Again.SOON
    if isinstance(error, APIError) and error.closed_until is not None:
        return Again.LATER
    if isinstance(error, TransportError):
        return Again.NEVER if error.permanent else Again.LATER
    if isinstance(error, OSError) and not isinstance(error, SunoVideoError):
        return Again.LATER  # such as a full disk
    return next((again for kind, again in _AGAIN if isinstance(error, kind)), Again.NEVER)


def wait_after(stops: int) -> float:
    """Return the seconds to wait after so many stops in a row for which a later run is the answer."""
    return min(FIRST_WAIT * 2.0 ** min(stops - 1, 10), LONGEST_WAIT)


def closed_for(error: Exception, now: float) -> float:
    """Return for how many seconds more the service has said that it is closed; 0 if it has said nothing.

    Args:
        error: what ended the conversion.
        now: Unix seconds.

    """
    closed_until = error.closed_until if isinstance(error, APIError) else None
    return 0.0 if closed_until is None else max(0.0, closed_until - now)
