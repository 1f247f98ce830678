"""The limiter with limits that it has to find, in virtual time, against a server with a hidden one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, Literal

import pytest

from suno_video_async import Limiter, LimitsFound, RateLimit, SharedRateLimit
from suno_video_async.local.accounts import RateWindow
from suno_video_async.models import KEPT
from suno_video_async.ratelimit.limiter import Lane
from tests.support.virtual import run_virtual

HOUR = 3600.0


class Hidden:
    """Answers within a limit; sends whatever a limiter lets through."""

    def __init__(
        self, limiter: Limiter, requests: int, *, reads: int | None = None, cap: int | None = None
    ) -> None:
        self.limiter, self.cap, self.running = limiter, cap, 0
        window = RateWindow(requests, 10.0)
        self.windows = {Lane.CREATE: window, Lane.READ: window if reads is None else RateWindow(reads, 10.0)}
        self.sent: dict[Lane, int] = {Lane.CREATE: 0, Lane.READ: 0}
        self.refused = 0

    async def call(self, lane: Lane = Lane.READ) -> None:
        """Send one request, as the client does: what the answer says is noted on the place."""
        place = await self.limiter.acquire(lane)
        await asyncio.sleep(0.01)
        refused = self.windows[lane].arrive(asyncio.get_running_loop().time()) is not None
        if lane is Lane.CREATE and not refused and self.cap is not None:
            refused = self.running >= self.cap
        self.running += lane is Lane.CREATE and not refused
        await asyncio.sleep(0.01)
        self.sent[lane] += 1
        self.refused += refused
        place.refused, place.running = refused, self.running if lane is Lane.CREATE else None
        if refused:
            self.limiter.pause(lane, 0.5)
        self.limiter.release(place)

    async def fill(self, seconds: float, *lanes: Lane) -> None:
        """Send all the time, one after the other and several at once."""

        async def one(lane: Lane) -> None:
            while True:
                await self.call(lane)

        async with asyncio.timeout(seconds):
            await asyncio.gather(*(one(lane) for lane in lanes or (Lane.READ,) for _ in range(8)))


async def fill(hidden: Hidden, seconds: float, *lanes: Lane) -> None:
    """Use a limiter to the full for a while."""
    with contextlib.suppress(TimeoutError):
        await hidden.fill(seconds, *lanes)


def test_a_limiter_finds_the_limit() -> None:
    """A limiter without a rate uses what the server admits, and refusals are few."""

    async def main() -> None:
        limiter = Limiter("auto")
        assert limiter.rate == RateLimit(20, 10)
        hidden = Hidden(limiter, 60)
        await fill(hidden, 300.0)
        assert limiter.rate == RateLimit(60, 10)
        assert limiter.found == LimitsFound(rate=RateLimit(60, 10))
        assert hidden.sent[Lane.READ] > 0.95 * 60 * 30
        assert hidden.refused <= 15

    run_virtual(main())


def test_each_window_is_found_for_itself() -> None:
    """Submissions and reads have limits of their own, which are both found."""

    async def main() -> None:
        limiter = Limiter("auto", read_rate="auto")
        await fill(Hidden(limiter, 30, reads=50), 120.0, Lane.CREATE, Lane.READ)
        assert limiter.found == LimitsFound(rate=RateLimit(30, 10), read_rate=RateLimit(50, 10))

    run_virtual(main())


@pytest.mark.parametrize(("rate", "read_rate"), [(RateLimit(30), "auto"), ("auto", RateLimit(50))])
def test_one_window_can_be_given_and_the_other_found(
    rate: RateLimit | Literal["auto"], read_rate: RateLimit | Literal["auto"]
) -> None:
    """A rate that is given is kept, and is not among what was found."""

    async def main() -> None:
        limiter = Limiter(rate, read_rate=read_rate)
        await fill(Hidden(limiter, 30, reads=50), 60.0, Lane.CREATE, Lane.READ)
        assert (limiter.rate, limiter.read_rate) == (RateLimit(30), RateLimit(50))
        assert limiter.found is not None
        assert (limiter.found.rate is None, limiter.found.read_rate is None) == (rate != "auto", rate == "auto")

    run_virtual(main())


def test_given_limits_are_not_searched() -> None:
    """A limiter with a rate finds nothing, recalls nothing, and makes no progress that counts."""

    async def main() -> None:
        limiter = Limiter(RateLimit(20, 10))
        limiter.recall(LimitsFound(rate=RateLimit(60, 10)))
        assert limiter.rate == RateLimit(20, 10)
        assert limiter.found is None
        limiter.brake.accepted = 5
        assert limiter.progress() == 0

    run_virtual(main())


def test_a_cap_on_running_tasks_is_found() -> None:
    """If CreateTask is refused while the window has room, the number of running tasks is the cap."""

    async def main() -> None:
        limiter = Limiter("auto")
        await fill(Hidden(limiter, 200, cap=30), 60.0, Lane.CREATE)
        assert limiter.cap.cap == 30
        assert limiter.found is not None
        assert str(limiter.found).endswith("30 videos at once")

    run_virtual(main())


def test_accepted_submissions_are_progress() -> None:
    """While submissions are accepted, one that is refused for the search has not failed."""

    async def main() -> None:
        limiter = Limiter("auto")
        limiter.brake.accepted = 5
        assert limiter.progress() == 5

    run_virtual(main())


def test_what_an_earlier_run_found_is_the_beginning() -> None:
    """A limiter begins with the limits that were found before; with a limiter in use they come too late."""

    async def main() -> None:
        found = LimitsFound(rate=RateLimit(60, 10), read_rate=RateLimit(40, 10), running=30)
        limiter = Limiter("auto", read_rate="auto")
        limiter.recall(found)
        assert limiter.found == found
        limiter.release(await limiter.acquire())
        limiter.recall(LimitsFound(rate=RateLimit(1, 10)))
        assert limiter.found == found

    run_virtual(main())


def test_a_shared_window_that_is_given_is_not_searched(tmp_path: Any) -> None:
    """With a rate that processes share, nothing is found."""

    async def main() -> None:
        async with SharedRateLimit(tmp_path / "limit.db") as limiter:
            limiter.recall(LimitsFound(rate=RateLimit(60, 10)))
            assert limiter.rate == RateLimit(20, 10)
            assert limiter.found is None
            assert limiter.progress() == 0
            assert limiter.cap.cap is None

    asyncio.run(main())


def ended(**how: bool) -> Callable[[Limiter], Coroutine[Any, Any, None]]:
    async def end(limiter: Limiter) -> None:
        limiter.release(await limiter.acquire(), **how)

    return end


@pytest.mark.parametrize("end", [ended(sent=False, answered=False), ended(answered=False)])
def test_an_attempt_without_an_answer_teaches_nothing(end: Callable[[Limiter], Coroutine[Any, Any, None]]) -> None:
    """What was not sent, or not answered, neither raises nor lowers the limit, and does not hold up the climb."""

    async def main() -> None:
        limiter = Limiter("auto")
        for _ in range(3):
            await end(limiter)
        assert limiter.rate == RateLimit(20, 10)
        limiter.release(await limiter.acquire())

    run_virtual(main())


# What is kept


@pytest.mark.parametrize(
    "found",
    [
        LimitsFound(),
        LimitsFound(rate=RateLimit(60, 10)),
        LimitsFound(rate=RateLimit(60, 10), read_rate=RateLimit(100, 10), running=30),
    ],
)
def test_what_was_found_is_kept_as_text(found: LimitsFound) -> None:
    """The next run reads what this one has written."""
    assert LimitsFound.load(found.dump(1000.0), 1000.0 + HOUR) == found


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        "{",
        '{"at": 1000.0}',
        '{"at": 1000.0, "running": null, "rate": 0}',
        '{"at": 1000.0, "running": null, "rate": "many"}',
        LimitsFound(rate=RateLimit(60, 10)).dump(1000.0 - KEPT),
        LimitsFound(rate=RateLimit(60, 10)).dump(1002.0),
    ],
)
def test_what_is_old_or_unreadable_is_not_used(text: str | None) -> None:
    """Limits that are older than a day, from the future, or damaged count as not found."""
    assert LimitsFound.load(text, 1001.0) == LimitsFound()


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (LimitsFound(), ""),
        (LimitsFound(rate=RateLimit(60, 10)), "60 requests in 10 s"),
        (
            LimitsFound(rate=RateLimit(60, 10), read_rate=RateLimit(100, 10), running=30),
            "60 submissions in 10 s, 100 reads in 10 s, 30 videos at once",
        ),
    ],
)
def test_what_was_found_in_words(found: LimitsFound, words: str) -> None:
    """People read how many requests, and how many videos at once."""
    assert str(found) == words
