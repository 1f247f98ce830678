"""The callbacks of a finished task, and how faults change them. Pure: `callbacks` sends them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from attrs import field, frozen

from suno_video_async.local.faults import Fault

#: The body of a callback: the data of TaskInfo bare, or inside the envelope. Both are met.
CallbackForm: TypeAlias = Literal["plain", "enveloped"]
#: Attempts for a genuine callback; a forged one is sent once.
TRIES: Final = 3
#: Seconds of the server's clock by which an `early` callback comes before the answer of its CreateTask.
AHEAD: Final = 1.0


@frozen(kw_only=True)
class CallbackDue:
    """A callback to be sent: the TaskInfo data of a task, encoded.

    Attributes:
        on_end: called with whether it arrived.
        first: the body of the first attempt, if a fault changes it.
        delay: seconds of the server's clock to wait first.
        tries: the maximum number of attempts.

    """

    url: str
    body: bytes
    on_end: Callable[[bool], object] = field(repr=False)
    first: bytes | None = None
    delay: float = 0.0
    tries: int = TRIES


@frozen
class Announcer:
    """Makes the callbacks of finished tasks.

    Attributes:
        send: takes each callback to be sent.
        counts: counts callbacks as `sent`, `failed` or `forged`.
        chance: the random numbers of forged callbacks.
        form: of the bodies.

    """

    send: Callable[[CallbackDue], object]
    counts: Counter[str]
    chance: random.Random
    form: CallbackForm = "plain"

    def announce(self, url: str, data: Mapping[str, Any], fault: Fault | None) -> None:
        """Send the callbacks of a finished task."""
        name = None if fault is None else fault.name
        if name == "never":
            return
        if name == "forge":
            for forged_url, body in self._forgeries(url, data):
                self.counts["forged"] += 1
                self.send(CallbackDue(url=forged_url, body=body, on_end=lambda _: None, tries=1))
        body = self._encoded(data)
        first = body[: len(body) // 2] if name == "truncate" else None
        delay = fault.number if fault is not None and name == "slow" else 0.0
        for _ in range(2 if name == "duplicate" else 1):
            self.send(CallbackDue(url=url, body=body, on_end=self._ended, first=first, delay=delay))

    def announce_early(self, url: str, data: Mapping[str, Any]) -> None:
        """Send the present status of a task before its CreateTask is answered."""
        self.send(CallbackDue(url=url, body=self._encoded(data), on_end=self._ended))

    def _encoded(self, data: Mapping[str, Any]) -> bytes:
        framed = {"code": 200, "message": "success", "data": data}
        return json.dumps(data if self.form == "plain" else framed).encode()

    def _ended(self, sent: bool) -> None:
        self.counts["sent" if sent else "failed"] += 1

    def _forgeries(self, url: str, data: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
        """Yield what attackers send: to a guessed URL, about another task, and a body that is not JSON."""
        digits = partial(self.chance.choices, "0123456789abcdef")
        before, _, nonce = url.rpartition("/")
        failed = {**data, "status": "failed", "result": {"code": 501, "message": "forged"}}
        yield f"{before}/{''.join(digits(k=len(nonce)))}", self._encoded(failed)
        yield url, self._encoded({**data, "task_id": "".join(digits(k=16))})
        yield url, b"<html>" + b" " * self.chance.choice([0, 400_000])
