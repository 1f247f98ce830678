"""The checks of `suno-video doctor` against the service: one connection, and one request that costs nothing."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from attrs import frozen

from suno_video_async._util.words import many
from suno_video_async.api.transport import AiohttpTransport, make_session
from suno_video_async.cli import errors
from suno_video_async.cli.doctor.machine import Check, fail, ok, skip, warn
from suno_video_async.cli.probe import Route, connect, failure
from suno_video_async.config import Settings
from suno_video_async.errors import ConfigurationError, RateLimitError, SunoVideoError
from suno_video_async.models import DEFAULT_RATE, RateLimit, Timeout
from suno_video_async.protocol import codec
from suno_video_async.protocol.codec import Answer

#: Seconds by which the clocks may differ: the server's `Date` has whole seconds, and the network adds latency.
TOLERATED = 5.0
_SECONDS_A_DAY = 86400.0
#: Days before its expiry from which a certificate gets a warning.
_SOON = 7.0


@frozen(kw_only=True)
class _Asked:
    """One answer or error, and the Unix seconds at which it was requested and arrived."""

    answer: Answer | None
    error: SunoVideoError | None
    sent: float
    came: float


async def check_service(
    settings: Settings, timeout: Timeout, route: Route, *, with_key: bool, rate: RateLimit = DEFAULT_RATE
) -> AsyncIterator[Check]:
    """Connect and, with a key, query the balance; clock and rate are checked from that answer."""
    host = await _check_host(settings.base_url, timeout, route)
    yield host
    if host.status == "fail" or not with_key:
        why = "the service cannot be reached" if with_key else "there is no key"
        for name in ("balance", "clock", "rate"):
            yield skip(name, f"not checked: {why}")
        return
    asked = await _ask(settings, timeout, route)
    for check in judge(asked.answer, asked.error, asked.sent, asked.came, rate):
        yield check


async def _check_host(base_url: str, timeout: Timeout, route: Route) -> Check:
    try:
        connected = await connect(base_url, timeout, route)
    except ConfigurationError as error:
        return fail("host", error.problem, error.fix or "name another --ca-file")
    except OSError as error:
        fix = "check the network, and --base-url or CRUN_BASE_URL"
        if route.proxies.of(base_url) is not None:
            fix += "; it is reached through the proxy of --proxy or HTTPS_PROXY"
        return fail("host", f"{base_url}: {failure(error, timeout)}", fix)
    text = f"{base_url} was reached in {connected.seconds:.2f} s"
    if connected.certificate is None:
        return ok("host", f"{text}, on this machine and without TLS")
    return judge_certificate(text, connected.protocol, connected.certificate)


def judge_certificate(text: str, protocol: str | None, certificate: Mapping[str, object]) -> Check:
    """Check how long a certificate is still valid; `text` begins the result."""
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / _SECONDS_A_DAY
    text = f"{text}, {protocol}, its certificate is valid for {many(round(days), 'day')}"
    if days < _SOON:
        return warn("host", text, "nothing to do yet: the provider has to renew it")
    return ok("host", text)


async def _ask(settings: Settings, timeout: Timeout, route: Route) -> _Asked:
    """Query the balance once."""
    answer, problem = None, None
    roots, proxy = await asyncio.to_thread(route.roots), route.proxies.of(settings.base_url)
    async with make_session(roots) as session:
        transport = AiohttpTransport(
            settings.base_url, settings.api_key, timeout=timeout, session=session, proxy=proxy
        )
        sent = time.time()
        try:
            answer = await transport.send(codec.balance())
        except SunoVideoError as error:
            problem = error
        return _Asked(answer=answer, error=problem, sent=sent, came=time.time())


def judge(
    answer: Answer | None, error: SunoVideoError | None, sent: float, came: float, rate: RateLimit
) -> Iterator[Check]:
    """Check what the answer to a balance query shows.

    Args:
        answer: the answer, or None if none came.
        error: the error that came instead.
        sent: when it was requested, in Unix seconds of this machine's clock.
        came: likewise, when it arrived.
        rate: the rate limit of the key.

    """
    balance = 0.0
    try:
        if answer is not None:
            balance = codec.read_balance(answer, codec.balance())
    except SunoVideoError as refusal:
        error = refusal
    if error is None:
        text = f"the key is accepted; the account has {many(balance, 'credit')}"
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
        return skip("clock", "the service does not send its time")
    # The header has whole seconds, rounded down.
    ahead = (sent + came) / 2 - (said + 0.5)
    if abs(ahead) <= TOLERATED + (came - sent) / 2:
        return ok("clock", f"agrees with the service's to {TOLERATED:g} s")
    word = "ahead of" if ahead > 0 else "behind"
    text = f"{abs(ahead):.0f} s {word} the service's: waits and expiring URLs are off by as much"
    return warn("clock", text, "set it, for example with timedatectl set-ntp true")


def _date(text: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_rate(error: SunoVideoError | None, round_trip: float, rate: RateLimit) -> Check:
    usable = rate.per / (rate.per + round_trip)
    limit = f"{many(rate.requests, 'request')} in any {rate.per:g} s"
    if isinstance(error, RateLimitError):
        text, fix = f"over the limit at present ({limit})", errors.advice(error)
        return warn("rate", text, fix)
    text = f"{limit}; with a round trip of {round_trip:.2f} s, {usable:.0%} of it can be used"
    return ok("rate", text)
