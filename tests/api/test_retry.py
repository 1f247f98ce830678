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
    progress: Callable[[], int] = lambda: 0,
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
                progress=progress,
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


@pytest.mark.parametrize(
    ("asked", "failures", "wait"),
    [(7.0, 3, 7.0), (9999.0, 1, 9999.0), (0.0, 4, 8.0), (0.5, 4, 8.0), (None, 4, 8.0)],
)
def test_a_wait_is_never_shorter_than_asked_nor_than_the_backoff(
    asked: float | None, failures: int, wait: float
) -> None:
    """`Retry-After` can make a wait longer; 0 does not make it shorter than without one."""
    assert full_jitter(RetryPolicy(), refused(RateLimitError, 429, asked), failures, Longest()) == wait


@pytest.mark.parametrize(
    ("kind", "code", "asked"),
    [(RateLimitError, 429, 900.0), (ServerError, 500, 600.0), (MaintenanceError, 455, 3600.0)],
)
def test_what_the_server_asks_for_is_waited_out_in_full(kind: type[APIError], code: int, asked: float) -> None:
    """It may be longer than the horizon of waits that the server did not ask for."""
    assert retry([refused(kind, code, asked)], RetryPolicy()) == ("done", [asked], asked)


@pytest.mark.parametrize(
    ("kind", "code", "asked"), [(RateLimitError, 429, 901.0), (MaintenanceError, 455, 3601.0)]
)
def test_a_longer_wait_than_the_horizon_of_its_kind_is_not_begun(
    kind: type[APIError], code: int, asked: float
) -> None:
    """The caller gets the error at once."""
    error = refused(kind, code, asked)
    assert retry([error], RetryPolicy()) == (error, [], 0)


def test_waits_that_the_server_asks_for_begin_within_their_horizon() -> None:
    """A server that asks for the same again and again is not waited for without end."""
    end, waits, _ = retry([refused(RateLimitError, 429, 600)] * 9, RetryPolicy())
    assert isinstance(end, RateLimitError)
    assert waits == [600, 600]


def test_attempts_are_capped_and_the_last_failure_is_raised() -> None:
    """Eight sends of one call, the first included, and the caller gets the last error itself."""
    errors = [TransportError(str(number)) for number in range(20)]
    end, waits, _ = retry(errors, RetryPolicy(attempts=8, backoff=0.1))
    assert end is errors[7]
    assert len(waits) == 7


def test_attempts_are_counted_afresh_while_others_succeed() -> None:
    """What is refused while others are accepted keeps its attempts: the limit is still being found."""
    progress = iter([*range(4), *[3] * 20])
    errors = [TransportError(str(number)) for number in range(20)]
    end, waits, _ = retry(errors, RetryPolicy(attempts=8, backoff=0.1), progress=lambda: next(progress))
    assert end is errors[2 + 7]
    assert len(waits) == 2 + 7


def test_time_is_capped() -> None:
    """A wait that would end after the horizon is not begun."""
    errors = [refused(RateLimitError, 429)] * 20
    end, waits, at = retry(errors, RetryPolicy(horizon=100, backoff=40, max_backoff=40))
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


def test_a_time_after_the_end_of_the_calendar_can_be_told() -> None:
    """A server may ask for more seconds than a calendar has."""
    error = refused(RateLimitError, 429, 1e12)
    error.closed_until = 1e12
    assert str(error) == "TaskInfo: 429 m; closed until 9999-12-31 23:59:59 UTC"
