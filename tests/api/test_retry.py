"""Backoff, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable

import pytest

from suno_video_async import (
    APIError,
    MaintenanceError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    SunoVideoError,
    SystemClock,
    TransportError,
)
from suno_video_async.api.retry import Backoff, full_jitter, retry_after_failure
from tests.support.virtual import run_virtual


def refused(kind: type[APIError], code: int, retry_after: float | None = None) -> APIError:
    return kind("m", code=code, http_status=200, operation="TaskInfo", retry_after=retry_after)


class Longest(random.Random):
    """Jitter that always takes the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def retry(
    errors: Iterable[SunoVideoError],
    policy: RetryPolicy,
    *,
    rng: random.Random | None = None,
    retryable: Callable[[SunoVideoError], bool] = lambda _: True,
) -> tuple[str | SunoVideoError, list[float], float]:
    """Return how an operation that fails with `errors` ends, its waits, and when."""
    waits: list[float] = []

    async def main() -> tuple[str | SunoVideoError, list[float], float]:
        script = iter(errors)
        first = next(script)

        async def attempt() -> str:
            if (error := next(script, None)) is not None:
                raise error
            return "done"

        def on_backoff(backoff: Backoff) -> None:
            waits.append(backoff.wait)

        try:
            end: str | SunoVideoError = await retry_after_failure(
                first,
                attempt,
                policy=policy,
                clock=SystemClock(),
                rng=rng or Longest(),
                retryable=retryable,
                on_backoff=on_backoff,
            )
        except SunoVideoError as error:
            end = error
        return end, waits, asyncio.get_running_loop().time()

    return run_virtual(main())


def test_waits_double_up_to_a_cap() -> None:
    """Without a word from the server the longest wait doubles, and stops at the cap."""
    end, waits, at = retry([TransportError("x")] * 6, RetryPolicy(backoff=1, max_backoff=8))
    assert (end, waits, at) == ("done", [1, 2, 4, 8, 8, 8], 31)


def test_jitter_is_full() -> None:
    """A wait is anything from nothing to its longest, so that callers spread out."""
    rng, policy = random.Random(1), RetryPolicy()
    waits = [full_jitter(policy, TransportError("x"), 4, rng) for _ in range(1000)]
    assert 0 <= min(waits) < 0.1
    assert 7.9 < max(waits) <= 8


def test_the_server_is_obeyed_first() -> None:
    """`Retry-After` is taken as it is, up to the policy's most."""
    policy = RetryPolicy(max_retry_after=60)
    assert full_jitter(policy, refused(RateLimitError, 429, 7), 5, random.Random()) == 7
    assert full_jitter(policy, refused(RateLimitError, 429, 9999), 1, random.Random()) == 60
    assert full_jitter(policy, refused(RateLimitError, 429, 0), 1, random.Random()) == 0


def test_attempts_are_capped_and_the_last_failure_is_raised() -> None:
    """Eight sends of one call, the first included, and the caller gets the last error itself."""
    errors = [TransportError(str(number)) for number in range(20)]
    end, waits, _ = retry(errors, RetryPolicy(attempts=8, backoff=0.1))
    assert end is errors[7]
    assert len(waits) == 7


def test_time_is_capped() -> None:
    """A wait that would end after the horizon is not begun."""
    errors = [refused(RateLimitError, 429, 40)] * 20
    end, waits, at = retry(errors, RetryPolicy(horizon=100))
    assert isinstance(end, RateLimitError)
    assert (waits, at) == ([40, 40], 80)


def test_maintenance_has_a_longer_horizon_and_no_count() -> None:
    """During maintenance a call waits up to an hour, however often it is refused."""
    policy = RetryPolicy(attempts=2, horizon=10, maintenance_horizon=3600, maintenance_backoff=240)
    end, waits, at = retry([refused(MaintenanceError, 455)] * 15, policy)
    assert end == "done"
    assert max(waits) == 240
    assert 10 < at < 3600
    end, _, at = retry([refused(MaintenanceError, 455)] * 99, policy)
    assert isinstance(end, MaintenanceError)
    assert 3300 < at <= 3600


def test_what_is_not_retryable_ends_it() -> None:
    """A later failure of another kind goes to the caller at once."""
    final = refused(ServerError, 500)
    end, waits, _ = retry(
        [TransportError("x"), final], RetryPolicy(), retryable=lambda error: isinstance(error, TransportError)
    )
    assert end is final
    assert len(waits) == 1


def test_other_exceptions_pass() -> None:
    """A defect or a cancellation is never retried."""

    async def main() -> None:
        async def attempt() -> None:
            raise KeyError("a defect")

        await retry_after_failure(
            TransportError("x"),
            attempt,
            policy=RetryPolicy(),
            clock=SystemClock(),
            rng=random.Random(),
            retryable=lambda _: True,
            on_backoff=lambda _: None,
        )

    with pytest.raises(KeyError):
        run_virtual(main())
