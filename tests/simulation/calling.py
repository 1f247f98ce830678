"""The service calls back, late, twice, never, and somebody else does, too."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

from attrs import define, field

from suno_video_async import CallbackReceiver
from suno_video_async.local.announcing import CallbackDue
from tests.simulation.scenario import Calling
from tests.simulation.world import SimLoop, World, stream

#: When a callback that was not taken is sent again, in seconds, and how long its answer is waited for.
_AGAIN, _PATIENCE = (1.0, 4.0), 10.0


@define(eq=False)
class Caller:
    """Delivers callbacks to whichever client lives, through no network at all.

    Attributes:
        taken: told of each true callback that was answered with 200: the task's id.
        listening: the loop and the receiver of the client that lives, where there is one.

    """

    world: World
    calling: Calling
    seed: int
    taken: Callable[[str], None]
    say: Callable[[str], None]
    listening: tuple[SimLoop, CallbackReceiver] | None = None
    _rng: random.Random = field(init=False)
    _ids: list[str] = field(factory=list[str], init=False)
    _running: set[asyncio.Task[None]] = field(factory=set[asyncio.Task[None]], init=False)

    def __attrs_post_init__(self) -> None:
        self._rng = stream(self.seed, "caller")

    def due(self, due: CallbackDue) -> None:
        """Take one callback that the service wants to be sent."""
        task_id = str(json.loads(due.body)["task_id"])
        nonce = due.url.rsplit("/", 1)[1]
        if self._rng.random() < self.calling.forged:
            self.world.call_later(self._delay(), lambda: self._try(*self._forgery(nonce, due.body), None, 9))
        self._ids.append(task_id)
        if self._rng.random() >= self.calling.never:
            for _ in range(1 + (self._rng.random() < self.calling.twice)):
                self.world.call_later(self._delay(), lambda: self._try(nonce, due.body, task_id, 0))

    def _delay(self) -> float:
        return float(self._rng.choice([0.0, 0.0, 0.01, self._rng.uniform(0, 5), self.calling.late]))

    def _forgery(self, nonce: str, body: bytes) -> tuple[str, bytes]:
        other = {**json.loads(body), "task_id": self._rng.choice([*self._ids[-2:], "nobody's", "a stranger's"])}
        forgeries = [
            (nonce, json.dumps(other).encode()),
            (nonce, b"<html>"),
            (f"{self._rng.getrandbits(128):032x}", body),
        ]
        return forgeries[self._rng.randrange(len(forgeries))]

    def _try(self, nonce: str, body: bytes, task_id: str | None, tries: int) -> None:
        """Send once; what is not answered with 200 in time is sent again."""
        answers: list[int] = []
        if self.listening is not None and not self.listening[0].is_closed():
            loop, receiver = self.listening
            loop.call_soon(lambda: self._begin(loop, receiver, nonce, body, answers, task_id))
        if tries < len(_AGAIN):

            def again() -> None:
                if 200 not in answers:
                    self._try(nonce, body, task_id, tries + 1)

            self.world.call_later(_PATIENCE + _AGAIN[tries], again)

    def _begin(
        self,
        loop: SimLoop,
        receiver: CallbackReceiver,
        nonce: str,
        body: bytes,
        answers: list[int],
        task_id: str | None,
    ) -> None:
        if self.listening is None:  # closed since
            return

        async def read() -> bytes:
            return body

        async def deliver() -> None:
            status = await receiver.handle(nonce, read)
            self.say(f"a callback about {task_id or 'a forged task'} is answered with {status}")
            answers.append(status)
            if status == 200 and task_id is not None:
                self.taken(task_id)

        task = loop.create_task(deliver())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
