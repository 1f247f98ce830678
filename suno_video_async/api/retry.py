"""Backoff with tenacity: one controller per operation, entered only after its first failure.

The first attempt runs bare, because `AsyncRetrying` around every call costs a third of a client's throughput. A
controller is never shared: it keeps the state of one operation.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from attrs import frozen

# Imported when a client opens, and not at the first failure: that may be a shortage of descriptors.
from tenacity import AsyncRetrying, RetryCallState

from suno_video_async.clock import Clock
from suno_video_async.errors import APIError, MaintenanceError, SunoVideoError, TransportError
from suno_video_async.models import RetryPolicy

T = TypeVar("T")


@frozen
class Backoff:
    """One operation's next wait.

    Attributes:
        error: the failure that is backed off from.
        attempt: how many attempts have failed.
        wait: seconds until the next one.

    """

    error: SunoVideoError
    attempt: int
    wait: float


def full_jitter(policy: RetryPolicy, error: Exception, failures: int, rng: random.Random) -> float:
    """Return the seconds to wait after the `failures`-th failure: full jitter, and at least what the server asks.

    So after a `Retry-After: 0` the wait is the same as without the header.
    """
    longest = policy.maintenance_backoff if isinstance(error, MaintenanceError) else policy.max_backoff
    own = rng.uniform(0.0, min(longest, policy.backoff * 2.0 ** min(failures - 1, 32)))
    return max(own, _asked(error) or 0.0)


def is_closed(policy: RetryPolicy, error: Exception) -> bool:
    """Whether the server asks for a longer wait than the policy ever waits out."""
    return (_asked(error) or 0.0) > _patience(policy, error)


def _asked(error: Exception) -> float | None:
    return error.retry_after if isinstance(error, APIError) else None


def _patience(policy: RetryPolicy, error: Exception) -> float:
    """Return the longest wait that a server can ask for with this error."""
    return policy.maintenance_horizon if isinstance(error, MaintenanceError) else policy.max_retry_after


def _is_used_up(policy: RetryPolicy, error: SunoVideoError, elapsed: float, wait: float, counted: int) -> bool:
    """Whether an operation is not tried again.

    Args:
        policy: how often and how long it is.
        error: the last failure.
        elapsed: seconds since the first one.
        wait: seconds until the next attempt.
        counted: the failures so far, without those during maintenance.

    """
    if is_closed(policy, error):
        return True
    maintenance = isinstance(error, MaintenanceError)
    if not maintenance and counted >= policy.attempts:
        return True
    if _asked(error):  # waited out in full, if it begins in time
        return elapsed > _patience(policy, error)
    return elapsed + wait > (policy.maintenance_horizon if maintenance else policy.horizon)


async def retry_after_failure(
    first: SunoVideoError,
    attempt: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    clock: Clock,
    rng: random.Random,
    retryable: Callable[[SunoVideoError], bool],
    on_backoff: Callable[[Backoff], None],
    unsent_horizon: float | None = None,
    progress: Callable[[], int] = lambda: 0,
) -> T:
    """Go on with an operation whose first attempt failed with `first`.

    Args:
        first: that failure; it must be retryable.
        attempt: sends once more.
        policy: how often and how long.
        clock: the time that waits and horizons are measured in.
        rng: the source of the jitter.
        retryable: says whether a failure may be tried again.
        on_backoff: called before each wait.
        unsent_horizon: seconds in which what was certainly not sent is tried again, however often; None treats
            it as any other failure.
        progress: returns a number that changes while others succeed: then attempts and time are counted afresh.

    Raises:
        SunoVideoError: the last failure, when it is not retryable or the policy is used up.

    """
    started = clock.now()
    pending: SunoVideoError | None = first
    counted, seen = 0, progress()

    async def attempt_or_first() -> T:
        nonlocal pending
        if pending is not None:
            error, pending = pending, None
            raise error
        return await attempt()

    def wait(state: RetryCallState) -> float:
        return full_jitter(policy, _error(state), state.attempt_number, rng)

    def stop(state: RetryCallState) -> bool:
        nonlocal counted, started, seen
        if seen != (seen := progress()):
            counted, started = 0, clock.now()
        error, elapsed = _error(state), clock.now() - started
        if unsent_horizon is not None and isinstance(error, TransportError) and not error.sent:
            return elapsed + state.upcoming_sleep > unsent_horizon
        counted += not isinstance(error, MaintenanceError)
        return _is_used_up(policy, error, elapsed, state.upcoming_sleep, counted)

    def may_retry(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        return isinstance(error, SunoVideoError) and retryable(error)

    controller = AsyncRetrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop,
        retry=may_retry,
        before_sleep=lambda state: on_backoff(Backoff(_error(state), state.attempt_number, state.upcoming_sleep)),
        reraise=True,
    )
    return await controller(attempt_or_first)


def _error(state: RetryCallState) -> SunoVideoError:
    """Return the failure of this attempt; `may_retry` lets nothing but ours come this far."""
    return cast("SunoVideoError", state.outcome and state.outcome.exception())
