"""What `suno-video doctor` asks the service: one connection, and one question that costs nothing."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from attrs import frozen

from suno_video_async.api.transport import AiohttpTransport, make_session
from suno_video_async.cli import errors
from suno_video_async.cli.doctor.machine import Check, fail, ok, skip, warn
from suno_video_async.cli.probe import connect, failure
from suno_video_async.config import Settings
from suno_video_async.errors import RateLimitError, SunoVideoError
from suno_video_async.models import RateLimit, Timeout
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer
from suno_video_async.ratelimit.limiter import DEFAULT_RATE

#: Seconds by which the clocks may differ: the server's `Date` has whole seconds, and the way takes its time.
TOLERATED = 5.0
_SECONDS_A_DAY = 86400.0
#: Days before its end at which a certificate is mentioned.
_SOON = 7.0


@frozen(kw_only=True)
class _Asked:
    """One answer, or the error in its place, and when it was asked for and came, in Unix seconds."""

    answer: Answer | None
    error: SunoVideoError | None
    sent: float
    came: float


async def check_service(
    settings: Settings, timeout: Timeout, *, with_key: bool, rate: RateLimit = DEFAULT_RATE
) -> AsyncIterator[Check]:
    """Connect, and with a key ask for the balance; the clock and the rate are told from that answer."""
    host = await _check_host(settings.base_url, timeout)
    yield host
    if host.status == "fail" or not with_key:
        why = "the service cannot be reached" if with_key else "there is no key to ask with"
        for name in ("balance", "clock", "rate"):
            yield skip(name, f"not looked at: {why}")
        return
    asked = await _ask(settings, timeout)
    for check in judge(asked.answer, asked.error, asked.sent, asked.came, rate):
        yield check


async def _check_host(base_url: str, timeout: Timeout) -> Check:
    try:
        connected = await connect(base_url, timeout)
    except OSError as error:
        fix = "check the network, and --base-url or CRUN_BASE_URL"
        if proxies := [name for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY") if os.environ.get(name)]:
            fix += f"; {proxies[0]} is set, and not used by this command"
        return fail("host", f"{base_url}: {failure(error, timeout)}", fix)
    text = f"{base_url} is reached in {connected.seconds:.2f} s"
    if connected.certificate is None:
        return ok("host", f"{text}, on this machine and without TLS")
    return judge_certificate(text, connected.protocol, connected.certificate)


def judge_certificate(text: str, protocol: str | None, certificate: Mapping[str, object]) -> Check:
    """Say how long a certificate is valid, after `text`."""
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / _SECONDS_A_DAY
    text = f"{text}, {protocol}, its certificate is valid for {days:.0f} days"
    if days < _SOON:
        return warn("host", text, "nothing yet: the provider has to renew it")
    return ok("host", text)


async def _ask(settings: Settings, timeout: Timeout) -> _Asked:
    """Ask for the balance, once."""
    answer, problem = None, None
    async with make_session() as session:
        transport = AiohttpTransport(settings.base_url, settings.api_key, timeout=timeout, session=session)
        sent = time.time()
        try:
            answer = await transport.send(codec.balance())
        except SunoVideoError as error:
            problem = error
        return _Asked(answer=answer, error=problem, sent=sent, came=time.time())


def judge(
    answer: Answer | None, error: SunoVideoError | None, sent: float, came: float, rate: RateLimit
) -> Iterator[Check]:
    """Say what an answer to the question for the balance tells.

    Args:
        answer: it, or None where none came.
        error: what came in its place.
        sent: Unix seconds, by this machine's clock, at which it was asked for.
        came: likewise, at which it came.
        rate: what the key may send.

    """
    balance = 0.0
    try:
        if answer is not None:
            balance = codec.read_balance(answer, codec.balance())
    except SunoVideoError as refusal:
        error = refusal
    if error is None:
        text = f"the key is accepted; the account has {balance:g} credits"
        yield ok("balance", text) if balance > 0 else warn("balance", text, "top it up before you convert")
    else:
        busy = isinstance(error, RateLimitError)
        fix = errors.advice(error) or "try again later"
        yield (warn if busy else fail)("balance", errors.brief(error), fix)
    yield _check_clock(answer, sent, came)
    yield _check_rate(error, came - sent, rate)


def _check_clock(answer: Answer | None, sent: float, came: float) -> Check:
    said = None if answer is None else _date(answer.headers.get("Date"))
    if said is None:
        return skip("clock", "the service does not say what time it is")
    # The header has whole seconds, rounded down.
    ahead = (sent + came) / 2 - (said + 0.5)
    if abs(ahead) <= TOLERATED + (came - sent) / 2:
        return ok("clock", f"agrees with the service's to {TOLERATED:g} s")
    word = "ahead of" if ahead > 0 else "behind"
    text = f"this machine's is {abs(ahead):.0f} s {word} the service's: waits and expiring URLs go wrong by it"
    return warn("clock", text, "set it, such as with timedatectl set-ntp true")


def _date(text: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_rate(error: SunoVideoError | None, round_trip: float, rate: RateLimit) -> Check:
    usable = rate.per / (rate.per + round_trip)
    limit = f"{rate.requests} requests in any {rate.per:g} s"
    if isinstance(error, RateLimitError):
        text, fix = f"over the limit at present ({limit})", errors.advice(error)
        return warn("rate", text, fix)
    text = f"{limit}; at {round_trip:.2f} s a round trip, {usable:.0%} of it can be used"
    return ok("rate", text)
