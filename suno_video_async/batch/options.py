"""What the parts of a conversion share: its options, what it asks of a client, and when it stops."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path
from typing import Any, TypeGuard

from attrs import Attribute, define, field, frozen

from suno_video_async.api.submission import Submission
from suno_video_async.download.filenames import NameTemplate
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


def _above_zero(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


def _not_negative(_: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must not be below 0 or endless, but is {value!r}")


def _optional_path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _name_template(template: NameTemplate | str) -> NameTemplate:
    return NameTemplate(template) if isinstance(template, str) else template


@frozen(kw_only=True)
class Options:
    """How a catalog is converted; see `SunoVideoClient.convert`."""

    output_dir: Path | None = field(default=None, converter=_optional_path)
    task_timeout: float = field(validator=_above_zero)
    retry_failed: int = field(default=0, validator=_not_negative)
    rebuy_changed: bool = False
    max_credits: float | None = field(default=None, validator=_not_negative)
    file_name: NameTemplate = field(factory=NameTemplate, converter=_name_template)
    sha256: bool = False
    unknown_grace: float | None = field(default=None, validator=_not_negative)
    """Seconds that unknown rows wait for their callback, however old they are, in a run that buys nothing and
    goes on with all that the ledger holds; None where a catalog says what is wanted."""


def _is_closed(error: Exception) -> TypeGuard[APIError]:
    return isinstance(error, APIError) and error.closed_until is not None


@define(eq=False)
class StopSignal:
    """Whether and why a conversion submits no more.

    Attributes:
        stopping: no row is submitted any more.
        reason: what stopped it, where no person did.
        failure: what is raised at the end of the outcomes.

    """

    stopping: bool
    reason: SunoVideoError | None = None
    failure: Exception | None = None
    _submissions: set[Submission] = field(factory=set[Submission], init=False)

    @property
    def submissions(self) -> list[Submission]:
        """What is being submitted."""
        return list(self._submissions)

    def watch(self, submission: Submission) -> None:
        """Give a submission up when it is stopped, unless it is over."""
        self._submissions.add(submission)
        submission.outcome.add_done_callback(lambda _: self._submissions.discard(submission))
        if self.stopping:  # while the ledger was asked
            submission.abandon()

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
