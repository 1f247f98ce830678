"""One free question before the first purchase of a conversion: is the API there at all?

A wrong base URL, a login page or a bad certificate answers every CreateTask with something that is not the API's,
and each of those is a row that may be paid for. To ask for the balance first costs nothing and shows it.
"""

from __future__ import annotations

import anyio
from attrs import define, field

from suno_video_async.api.retry import full_jitter
from suno_video_async.api.transport import GATEWAY_ERRORS
from suno_video_async.engine import Engine
from suno_video_async.errors import (
    APIError,
    AuthenticationError,
    ConfigurationError,
    MalformedResponseError,
    ServiceUnreachable,
    SunoVideoError,
    TransportError,
)
from suno_video_async.observability.log import fields, logger


@define(eq=False)
class ReachCheck:
    """Asks once for all rows of a conversion: those that waited for an answer share it, also if none came.

    Attributes:
        engine: asks.
        balance: the account's credits before the first purchase, as far as the answer named them.

    """

    engine: Engine
    balance: float | None = field(default=None, init=False)
    _passed: bool = field(default=False, init=False)
    _failure: SunoVideoError | None = field(default=None, init=False)
    _lock: anyio.Lock = field(factory=anyio.Lock, init=False)

    async def pass_once(self) -> None:
        """Return when the API has answered, at once when it had before.

        Raises:
            AuthenticationError: it refuses the key.
            ConfigurationError: what answers is not the API, or cannot be reached as it is set up.
            ServiceUnreachable: it did not come back within the policy's `maintenance_horizon`.

        """
        if self._passed:
            return
        async with self._lock:
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if not self._passed:
                try:
                    await self._ask()
                except SunoVideoError as error:
                    self._failure = error
                    raise
                self._passed = True

    async def _ask(self) -> None:
        calls = self.engine.calls
        started, failures = calls.clock.now(), 0
        while True:
            try:
                self.balance = await calls.probe()
            except AuthenticationError:
                raise
            except APIError:
                return
            except TransportError as error:
                failure = error
            else:
                return
            if isinstance(failure, MalformedResponseError) and failure.from_api:
                return
            if _is_permanent(failure):
                raise ConfigurationError(
                    f"{self.engine.options.settings.base_url} does not answer as the API does ({failure});"
                    " check the base URL, the proxy and the network; nothing was sent"
                )
            failures += 1
            wait = full_jitter(calls.policy, failure, failures, calls.rng)
            if calls.clock.now() + wait - started > calls.policy.maintenance_horizon:
                raise ServiceUnreachable(f"the API is out of reach: {failure}; nothing was sent")
            if failures == 1:
                self._report(failure)
            await calls.clock.sleep(wait)

    def _report(self, failure: SunoVideoError) -> None:
        logger.warning(
            "the API is out of reach (%s): asking again for up to %g s before anything is bought",
            *(failure, self.engine.calls.policy.maintenance_horizon),
            extra=fields("out_of_reach", error=failure),
        )


def _is_permanent(failure: TransportError) -> bool:
    if isinstance(failure, MalformedResponseError):
        return failure.http_status not in GATEWAY_ERRORS
    return failure.permanent
