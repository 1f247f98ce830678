"""The outage brake: it holds submissions while the API is out of reach, so that few of them become unknown.

A read costs nothing and can be repeated; a CreateTask whose answer is not the API's may be paid for. So when one
ends like that (a gateway's page, a cut connection, a timeout), all who share the limiter stop submitting, and what
costs nothing finds out when the API is back. This is a circuit breaker with two steps on its way back:

    released   --- an unknown outcome --->                  held
    held       --- a read brings an envelope --->           trial
    trial      --- its one CreateTask is answered --->      released
    trial      --- its one CreateTask is not answered --->  held

- A submission that began before the API's last answer to another was in flight when the outage began: it cannot
  be helped and is not counted. All others are, in the order in which they end.
- Only an accepted CreateTask resets the count; at `LIMIT` the API is taken to be out of reach for submissions even
  if reads work, and a conversion stops (`exhausted`).
- A well-formed envelope never closes the brake: the API is there, whatever it says.
- Reads that fail one after the other hold submissions too, before one of them is lost.
- A server that hangs is silent for as long as the timeout is. So at most `AHEAD` submissions begin without an
  answer to one of them. Each answer lets as many begin again: a burst is as quick as a few round trips. `AHEAD`
  is below `LIMIT`, so that an outage that passes does not end the buying.
- Where no window paces the submissions, answers come in a stream, and several at once count as one by that rule.
  So each answer in a row lets one more be in flight: the stream gets as wide as there are connections. When an
  outage takes a whole stream, no more than `AHEAD` of it count, as many as of a burst.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from attrs import define, field

#: Unknown outcomes in a row that end the buying.
LIMIT = 5
#: Reads in a row without an envelope that hold submissions.
FAILED_READS = 3
#: Submissions that may begin without an answer to one of them.
AHEAD = 3


class Phase(Enum):
    """What the brake does."""

    RELEASED = auto()
    """Submissions go."""
    HELD = auto()
    """None goes until a read brings an envelope."""
    TRIAL = auto()
    """One may go, or is in flight, alone."""


#: Kept apart for what every read asks: Python 3.11 looks up a member of an enumeration slowly.
_HELD = Phase.HELD


@define(eq=False)
class Pass:
    """The right to send one CreateTask.

    Attributes:
        closings: how often the brake had closed when it was given.
        answers: how many submissions had been answered then.

    """

    closings: int
    answers: int


@define(eq=False)
class Brake:
    """The state of the brake; it has no clock, and is shared by all who share a limiter.

    Attributes:
        paced: whether a window paces the submissions.
        phase: what it does now.
        unknown: unknown outcomes in a row; of those that were lost together, at most `AHEAD`.
        closings: how often it has closed.
        ahead: submissions that have begun since one was answered.
        answers: how many were answered.
        in_a_row: how many of them since a failure.
        accepted: how many of them were accepted.
        reason: the last failure, for messages.
        listeners: called after every change.

    """

    paced: bool = True
    phase: Phase = Phase.RELEASED
    unknown: int = 0
    closings: int = 0
    ahead: int = 0
    answers: int = 0
    in_a_row: int = 0
    accepted: int = 0
    reason: str = ""
    listeners: dict[Callable[[], None], None] = field(factory=dict["Callable[[], None]", None], init=False)
    _failed_reads: int = field(default=0, init=False)
    _trial: Pass | None = field(default=None, init=False)
    #: How many unknown outcomes since the last answer were counted, by how often it had closed when they began.
    _counted: Counter[int] = field(factory=Counter[int], init=False)
    _in_flight: dict[Pass, None] = field(factory=dict[Pass, None], init=False)

    @property
    def exhausted(self) -> bool:
        """Whether so many outcomes were unknown that a catalog is bought no further."""
        return self.unknown >= LIMIT

    @property
    def sending(self) -> int:
        """How many submissions have begun and are not answered yet."""
        return len(self._in_flight)

    @property
    def lets_begin(self) -> bool:
        """Whether a submission may begin now."""
        if self.phase is Phase.TRIAL:
            return self._trial is None
        if self.phase is Phase.HELD:
            return False
        streams = not self.paced and self.sending < AHEAD + self.in_a_row
        return streams or self.ahead < AHEAD or not self._in_flight

    def begin(self) -> Pass | None:
        """Return the right to send one CreateTask, or None if it has to wait."""
        if not self.lets_begin:
            return None
        given = Pass(self.closings, self.answers)
        if self.phase is Phase.TRIAL:
            self._trial = given
        self.ahead += 1
        self._in_flight[given] = None
        return given

    def give_back(self, given: Pass) -> None:
        """Take back a right that was not used: nothing was sent."""
        if given in self._in_flight:
            self.ahead = max(0, self.ahead - 1)
        self._end(given)
        self._changed()

    def created(self, given: Pass, *, accepted: bool) -> None:
        """Note that the API has answered a CreateTask."""
        self._end(given)
        self.ahead = 0
        self.answers += 1
        self.in_a_row += 1
        self._counted.clear()
        if accepted:
            self.accepted += 1
            self.unknown = 0
        if given.closings == self.closings and self.phase is Phase.TRIAL:
            self.phase = Phase.RELEASED
        self._changed()

    def out_of_reach(self, given: Pass, reason: str, *, unknown: bool) -> None:
        """Note that a CreateTask ended without an answer of the API, and whether its outcome is unknown.

        One that was certainly not sent closes the brake as well, and is not counted: nothing is lost by it.
        """
        self._end(given)
        self.reason, self.in_a_row = reason, 0
        if unknown and given.answers == self.answers and self._counted[given.closings] < AHEAD:
            self._counted[given.closings] += 1
            self.unknown += 1
        if given.closings == self.closings:
            self.closings += 1
            self.phase = Phase.HELD
        self._changed()

    def doubt(self, reason: str) -> None:
        """Count an unknown outcome that came in an envelope: the API is there, and still nothing is known."""
        self.unknown += 1
        self.reason = reason
        self._changed()

    def read(self) -> None:
        """Note that a read brought an envelope."""
        self._failed_reads = 0
        if self.phase is _HELD:
            self.phase = Phase.TRIAL
            self._changed()

    def read_failed(self, reason: str) -> None:
        """Note that a read brought nothing of the API."""
        self._failed_reads += 1
        self.reason, self.in_a_row = reason, 0
        if self._failed_reads >= FAILED_READS and self.phase is Phase.RELEASED:
            self.phase = Phase.HELD
        self._changed()

    def begin_half_open(self) -> None:
        """Begin as after a run that was stopped here: one CreateTask goes alone, and one unknown outcome stops."""
        self.unknown = LIMIT - 1
        self._trial = None
        self.phase = Phase.TRIAL
        self._changed()

    def _end(self, given: Pass) -> None:
        self._in_flight.pop(given, None)
        if self._trial is given:
            self._trial = None

    def _changed(self) -> None:
        for listener in list(self.listeners):
            listener()
