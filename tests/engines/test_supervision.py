"""What a supervisor does after an error: each public error is decided, and the waits are those of the docs."""

from __future__ import annotations

import pytest

import suno_video_async
from suno_video_async import errors
from suno_video_async.engines.supervision import Again, closed_for, wait_after, when_again
from suno_video_async.models import TaskSnapshot, Track, VideoTaskId

TRACK = Track(task_id="m", suno_id="s")
SNAPSHOT = TaskSnapshot(task_id=VideoTaskId("v"), status="pending")


def api(kind: type[errors.APIError], code: int, *, closed_until: float | None = None) -> errors.APIError:
    """Return an answer of the API that is an error."""
    error = kind("said so", code=code, http_status=200, operation="CreateTask")
    error.closed_until = closed_until
    return error


#: An instance of each public error, and what is done after it.
DECIDED: tuple[tuple[Exception, Again], ...] = (
    (errors.LedgerInUse("held"), Again.SOON),
    (errors.LedgerLost("lost"), Again.SOON),
    (errors.LedgerError("the database is out of reach", temporary=True), Again.SOON),
    (errors.ClientClosedError("closed"), Again.SOON),
    (errors.ServiceUnreachable("five unknown in a row"), Again.LATER),
    (errors.TransportError("cut"), Again.LATER),
    (errors.APITimeoutError("slow"), Again.LATER),
    (errors.MalformedResponseError("a page", http_status=502), Again.LATER),
    (api(errors.RateLimitError, 429), Again.LATER),
    (api(errors.MaintenanceError, 455), Again.LATER),
    (api(errors.ServerError, 500), Again.LATER),
    (api(errors.APIError, 418, closed_until=9e9), Again.LATER),
    (errors.DownloadError("gone", url="http://x"), Again.LATER),
    (errors.VideoNotReady(SNAPSHOT), Again.LATER),
    (errors.WaitTimeout(VideoTaskId("v"), None, 1), Again.LATER),
    (OSError(28, "disk full"), Again.LATER),
    (errors.TransportError("bad certificate", permanent=True), Again.NEVER),
    (errors.SunoVideoError("?"), Again.NEVER),
    (api(errors.APIError, 418), Again.NEVER),
    (api(errors.AuthenticationError, 401), Again.NEVER),
    (api(errors.AuthenticationError, 403), Again.NEVER),
    (api(errors.InsufficientCreditsError, 402), Again.NEVER),
    (api(errors.NotFoundError, 404), Again.NEVER),
    (api(errors.InvalidRequestError, 422), Again.NEVER),
    (api(errors.FeatureDisabledError, 505), Again.NEVER),
    (errors.BudgetExceeded("over"), Again.NEVER),
    (errors.LedgerError("of a newer version"), Again.NEVER),
    (errors.AnotherKeyError("wrong account"), Again.NEVER),
    (errors.DoubtfulLedgerError("a copy", "check it"), Again.NEVER),
    (errors.ConfigurationError("rate"), Again.NEVER),
    (errors.MissingKeyError(), Again.NEVER),
    (errors.MissingExtraError("psycopg"), Again.NEVER),
    (errors.CatalogError("cut"), Again.NEVER),
    (errors.AlreadyBoughtError(TRACK, "k"), Again.NEVER),
    (errors.BoughtElsewhereError.__new__(errors.BoughtElsewhereError), Again.NEVER),
    (errors.CallbackRejected(404, "not ours"), Again.NEVER),
    (errors.SubmissionUnknown(TRACK, 1.0, "cut"), Again.NEVER),
    (errors.TaskFailed(SNAPSHOT), Again.NEVER),
    (errors.TaskEndUnknown(SNAPSHOT), Again.NEVER),
    (ValueError("a defect"), Again.NEVER),
)


@pytest.mark.parametrize(("error", "again"), DECIDED, ids=[type(error).__name__ for error, _ in DECIDED])
def test_each_error_is_decided(error: Exception, again: Again) -> None:
    """An error means soon, later or never."""
    assert when_again(error) is again


def test_no_public_error_is_left_out() -> None:
    """Each error that the package exports is in the table above."""
    public = {
        value for name in suno_video_async.__all__ if isinstance(value := getattr(suno_video_async, name), type)
    }
    exported = {kind for kind in public if issubclass(kind, Exception)}
    assert exported <= {type(error) for error, _ in DECIDED}


def test_the_waits_double_from_ten_minutes_to_an_hour() -> None:
    """The waits after stops in a row are those of the documentation, however many there are."""
    assert [wait_after(stops) / 60 for stops in (1, 2, 3, 4, 5, 5000)] == [10, 20, 40, 60, 60, 60]


@pytest.mark.parametrize(("closed_until", "seconds"), [(None, 0), (90.0, 0), (160.0, 60)])
def test_a_service_that_says_until_when_it_is_closed_is_waited_for(
    closed_until: float | None, seconds: float
) -> None:
    """The seconds are counted from now; one that is open again is not waited for."""
    assert closed_for(api(errors.RateLimitError, 429, closed_until=closed_until), 100.0) == seconds


def test_other_errors_close_nothing() -> None:
    """Only an answer of the API says how long it is closed."""
    assert closed_for(errors.ServiceUnreachable("?"), 100.0) == 0
