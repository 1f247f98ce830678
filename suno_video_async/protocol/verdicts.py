"""The table of verdicts: what is to be done after a call went wrong.

A read (TaskInfo, EstimateTask, balance) costs nothing and changes nothing: whatever is temporary is tried again.

A CreateTask is a charge. It is sent again only where nothing was done, or where no byte left; that the outcome is
*unknown* is a verdict of its own, and the caller does not send again. A 500 in a well-formed envelope is the
one grey row: the API documents it as "an unexpected error occurred", so it is tried again unless the caller is
strict about paying once.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from suno_video_async.errors import APIError, MalformedResponseError, SunoVideoError, TransportError
from suno_video_async.protocol.codec import Operation


class Verdict(Enum):
    """What to do after an error."""

    RETRY = auto()
    """Back off and send again."""
    STOP = auto()
    """Give the error to the caller: sending the same again would change nothing."""
    UNKNOWN = auto()
    """A CreateTask may have been carried out: never send it again by itself."""


#: Codes in a well-formed answer; a code in neither table gets the default beside it.
READ_VERDICTS: Mapping[int, Verdict] = {429: Verdict.RETRY, 455: Verdict.RETRY, 500: Verdict.RETRY}
READ_DEFAULT = Verdict.STOP

CREATE_VERDICTS: Mapping[int, Verdict] = {
    401: Verdict.STOP,
    402: Verdict.STOP,
    403: Verdict.STOP,
    404: Verdict.STOP,
    422: Verdict.STOP,
    429: Verdict.RETRY,
    455: Verdict.RETRY,
    500: Verdict.RETRY,
    505: Verdict.STOP,
}
CREATE_DEFAULT = Verdict.UNKNOWN


#: What a server answers to a call that it does not have, as a code or as the status of a page.
ABSENT = frozenset({404, 405, 501})


def is_absent(error: SunoVideoError) -> bool:
    """Return whether a question's answer says that the server does not have this call.

    An answer below 500 that is not an envelope, such as a site's own page, says so too. A 404 in an envelope may
    also be about what was asked; another call that answers the same question then refuses it as well.
    """
    if isinstance(error, MalformedResponseError):
        return error.http_status < 500 or error.http_status in ABSENT
    return isinstance(error, APIError) and error.code in ABSENT


def verdict(operation: Operation, error: SunoVideoError, *, strict: bool = False) -> Verdict:
    """Return what to do after `operation` ended in `error`.

    Args:
        operation: the call.
        error: how it ended.
        strict: treat a 500 on CreateTask as unknown.

    """
    creating = operation is Operation.CREATE_TASK
    if operation is Operation.ESTIMATE_TASK and is_absent(error):
        return Verdict.STOP  # estimate-credits answers the same question
    if isinstance(error, TransportError):
        return Verdict.UNKNOWN if creating and error.sent else Verdict.RETRY
    if not isinstance(error, APIError):
        return Verdict.STOP
    if not creating:
        return READ_VERDICTS.get(error.code, READ_DEFAULT)
    if strict and error.code == 500:
        return Verdict.UNKNOWN
    return CREATE_VERDICTS.get(error.code, CREATE_DEFAULT)
