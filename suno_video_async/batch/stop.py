"""Whether and why a conversion submits no more."""

from __future__ import annotations

from typing import TypeGuard

from attrs import define, field

from suno_video_async.api.submission import Submission
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    BudgetExceeded,
    ConfigurationError,
    FeatureDisabledError,
    InsufficientCreditsError,
    LedgerError,
    ServiceUnreachable,
    SunoVideoError,
)


def _is_closed(error: Exception) -> TypeGuard[APIError]:
    return isinstance(error, APIError) and error.closed_until is not None


@define(eq=False)
class StopSignal:
    """The stop flag of a conversion, and the error that set it.

    Attributes:
        stopping: no row is submitted any more.
        reason: what stopped it, unless a person did.
        failure: what is raised at the end of the outcomes.

    """

    stopping: bool
    reason: SunoVideoError | None = None
    failure: Exception | None = None
    #: In their order: a stop abandons them in it.
    _submissions: dict[Submission, None] = field(factory=dict[Submission, None], init=False)

    @property
    def submissions(self) -> list[Submission]:
        """What is being submitted."""
        return list(self._submissions)

    def watch(self, submission: Submission) -> None:
        """Abandon a submission when the conversion is stopped, unless it is finished; `release` must follow."""
        self._submissions[submission] = None
        if self.stopping:  # while the ledger was asked
            submission.abandon()

    def release(self, submission: Submission) -> None:
        """Forget a submission that its row does not wait for any more, once it is finished."""
        if submission.outcome.done():
            del self._submissions[submission]
        else:
            submission.outcome.add_done_callback(lambda _: self._submissions.pop(submission))

    def stop(self) -> None:
        """Submit no more."""
        self.stopping = True
        for submission in self._submissions:
            submission.abandon()

    def fail(self, error: Exception) -> None:
        """Let an error be raised at the end of the outcomes: the first one."""
        self.failure = self.failure or error

    def stop_if_fatal(self, error: Exception) -> None:
        """Stop for a reason that no other row can help; what a person can mend with money is not raised."""
        if isinstance(error, AuthenticationError | ConfigurationError | FeatureDisabledError | LedgerError):
            self.fail(error)
        elif not isinstance(
            error, InsufficientCreditsError | BudgetExceeded | ServiceUnreachable
        ) and not _is_closed(error):
            return
        self.reason = self.reason or error
        self.stop()
