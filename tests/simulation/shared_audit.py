"""What must hold where workers share a database, checked at every commit, send and arrival, and at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from attrs import define, frozen

from suno_video_async.errors import LedgerError
from suno_video_async.ledger.address import LedgerAddress
from suno_video_async.ledger.model import MICRO
from suno_video_async.ledger.postgres.ledger import PostgresLedger, SharedBudget
from suno_video_async.ledger.postgres.session import FRESH
from suno_video_async.models import VideoTaskId
from tests.simulation.audit import Audit, Outage
from tests.simulation.network import Flight, Key
from tests.simulation.postgres import Backend, Database, Machine
from tests.simulation.shared_scenario import PRICE, SharedScenario
from tests.simulation.world import Violation

#: What the name of a ledger's schema begins with.
PREFIX = "suno_video_"
#: Seconds after which a holder has taken what was left for it; and the same where it asks TaskInfo about that, for
#: up to five minutes if the answers are errors.
TAKEN_WITHIN, TAKEN_AND_ASKED_WITHIN = 30.0, 400.0


@frozen
class Fact:
    """What is committed of a row."""

    schema: str
    id: int
    state: str
    attempt: int
    run: int
    task_id: str | None


@define(eq=False)
class Decision:
    """What a person has decided about an unknown row."""

    key: Key
    fact: Fact
    verb: str
    task_id: str | None
    at: float
    is_done: bool = False


class SharedAudit(Audit):
    """Follows one seed; it looks at the store after each commit, by whichever session.

    Attributes:
        opening: the ledger that is being opened to be held.
        on_unknown: called with each row that has become unknown.
        ledger_of: the schemas that the clients work for.
        refused: when a holder last said that it does not take a decision, by schema.

    """

    database: Database
    shared: SharedScenario
    opening: str | None = None

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.outage = Outage(slack=None)
        self.on_unknown: Callable[[Key], None] = lambda _: None
        self.calling = self.scenario.calling is not None
        self.facts: dict[Key, Fact] = {}
        self.words: dict[str, Key] = {}
        self.not_left = set[Key]()
        self.changed_at = 0.0
        self.lost: dict[int, float] = {}
        self.killed = set[int]()
        self.ledger_of: dict[int, str] = {}
        self.decisions = list[Decision]()
        self.refused: dict[str, float] = {}
        self.left_at: dict[tuple[str, str, int], float] = {}
        self.held_since: dict[str, float] = {}
        self.first_runs: dict[str, int] = {}
        self.resumed: Callable[[], float] = lambda: 0.0
        self.most_spent: dict[str, float] = {}
        self._released = set[Flight]()
        self._dropped = set[Key]()
        self._called = set[str]()

    def _rows(self, location: str, *values: str) -> list[Any]:
        found = list[Any]()
        for schema in self.database.ledgers:
            if self.database.has(schema, "inbox"):
                found += self.database.store.execute(
                    "SELECT r.task_id, r.suno_id, r.author, r.brand, r.state, a.video_task_id"
                    f' FROM "{schema}".rows r LEFT JOIN "{schema}".attempts a'
                    f" ON a.row_id = r.id AND a.n = r.attempt {location}",
                    values,
                ).fetchall()
        return found

    def _facts(self) -> dict[Key, Fact]:
        facts = dict[Key, Fact]()
        for schema in self.database.ledgers:
            if not self.database.has(schema, "inbox"):
                continue
            for *key, number, state, attempt, run, task_id in self.database.store.execute(
                "SELECT r.task_id, r.suno_id, r.author, r.brand, r.id, r.state, r.attempt, r.run, a.video_task_id"
                f' FROM "{schema}".rows r LEFT JOIN "{schema}".attempts a'
                " ON a.row_id = r.id AND a.n = r.attempt"
            ).fetchall():
                location = cast("Key", (*key,))
                if location in facts:
                    raise Violation(f"{location} has rows in {facts[location].schema} and in {schema}")
                facts[location] = Fact(schema, number, state, attempt, run, task_id)
        return facts

    def committed(self, session: Backend) -> None:
        """Check what a commit has changed."""
        before, self.facts = self.facts, self._facts()
        for key, fact in self.facts.items():
            old = self.states.get(key)
            if old == fact.state:
                continue
            self.say(f"{self._who()} commits {'/'.join(key)}: {old} -> {fact.state}")
            self.changed_at = self.world.progress_at = self.world.moment
            if old is not None and session not in self.database.holders(fact.schema):
                raise Violation(f"{key} is written by {session.machine.name}, which does not hold the ledger")
            if self.opening is not None and old is not None:
                self._check_found_at_opening(key, old, fact.state)
            else:
                self._check_move(key, old, fact.state)
            self.states[key] = fact.state
            if fact.state == "unknown":
                self.on_unknown(key)
        if lost := self.states.keys() - self.facts.keys():
            raise Violation(f"{lost} have no rows any more")
        self._check_order(before)
        self._check_left()
        if self.shared.budget is not None:
            self._check_spent()

    def _who(self) -> str:
        return "the network" if self.database.machine is None else self.database.machine.name

    def _check_found_at_opening(self, key: Key, old: str | None, new: str) -> None:
        if (old, new) != ("submitting", "unknown"):
            raise Violation(f"{key} was {old} and is {new} after the ledger was opened")
        self.excused.add(key)

    def _check_move(self, key: Key, old: str | None, new: str) -> None:
        if old is None and new != "planned":
            raise Violation(f"{key} begins as {new}")
        if old == "unknown" and self._is_decided(key, new):
            return
        if old is not None and not self.may_move(old, new):
            raise Violation(f"{key} went from {old} to {new}")
        self._check_reason(key, old, new)

    def _check_order(self, before: dict[Key, Fact]) -> None:
        """What is in flight is taken up before anything is bought."""
        for schema in self.database.ledgers:
            facts = {key: fact for key, fact in self.facts.items() if fact.schema == schema}
            newest = max((fact.run for fact in facts.values()), default=0)
            taken = [
                key
                for key, fact in facts.items()
                if fact.run == newest and (key not in before or before[key].run != newest)
            ]
            first = self.first_runs.get(schema, 0)  # what a later one has taken, the same holder follows
            left = [key for key, fact in facts.items() if fact.state == "submitted" and fact.run < first]
            bought = [key for key in taken if facts[key].state == "planned"]
            if bought and left:
                raise Violation(f"{bought[0]} is taken up by run {newest} before {left[0]}, which is in flight")

    # What others leave

    def begins_to_hold(self, schema: str, run: int) -> None:
        """Note that a ledger has a holder, which can take what was left."""
        self.held_since[schema] = self.world.moment
        self.first_runs[schema] = run

    def _left(self) -> set[tuple[str, str, int]]:
        """Return what waits for a holder: tracks and decisions. Callbacks may wait for the next round."""
        found = set[tuple[str, str, int]]()
        for schema in self.database.ledgers:
            if self.database.has(schema, "notes"):
                tracks = f'SELECT id FROM "{schema}".incoming WHERE problem IS NULL'
                notes = f"SELECT id FROM \"{schema}\".notes WHERE kind = 'decision'"
                found |= {(schema, "track", number) for (number,) in self.database.store.execute(tracks)}
                found |= {(schema, "decision", number) for (number,) in self.database.store.execute(notes)}
        return found

    def _check_left(self) -> None:
        left = self._left()
        for one in self.left_at.keys() - left:
            self._check_waited(one)
            del self.left_at[one]
            self.changed_at = self.world.moment
        for one in left:
            self.left_at.setdefault(one, self.world.moment)

    def _check_waited(self, one: tuple[str, str, int]) -> None:
        if one[1] == "decision" and self.calling:
            return  # its row may be waiting for a callback
        since = max(self.left_at[one], self.held_since.get(one[0], float("inf")), self.resumed())
        asks = self.calling or self.shared.person is not None
        if self.world.moment - since > (TAKEN_AND_ASKED_WITHIN if asks else TAKEN_WITHIN):
            raise Violation(
                f"a {one[1]} waits for {self.world.moment - since:.0f} s beside the holder of {one[0]}"
            )

    def check_waiting(self) -> None:
        """Check that nothing waits for a holder that is there."""
        for one in self.left_at:
            if self.database.holders(one[0]):
                self._check_waited(one)

    def decided(self, key: Key, fact: Fact, verb: str, task_id: str | None) -> None:
        """Note what a person has decided."""
        self.say(f"a person leaves: {verb} {'/'.join(key)} {task_id or ''}")
        self.met[f"decisions {verb}"] += 1
        self.changed_at = self.world.moment
        self.decisions.append(Decision(key, fact, verb, task_id, self.world.moment))

    def notified(self, machine: Machine, text: str) -> None:
        """Note what a holder says."""
        self.say(f"{machine.name}: {text}")
        name, _, said = text.removeprefix("key ").partition(": ")
        if said.startswith("a decision was not taken"):
            self.met["decisions not taken"] += 1
            self.refused[PREFIX + name] = self.world.moment

    def _is_decided(self, key: Key, new: str) -> bool:
        """Whether a person has decided on a move, once; what the person answers for then is noted."""
        verb = {"submitted": "adopt", "planned": "resend", "failed": "drop"}[new]
        for one in self.decisions:
            is_about = (one.key, one.verb, one.fact.attempt) == (key, verb, self.facts[key].attempt)
            if not is_about or one.is_done or (verb == "adopt" and one.task_id != self.facts[key].task_id):
                continue
            one.is_done = True
            self.met[f"decisions carried out: {verb}"] += 1
            if verb == "adopt":
                self._check_found(key, new)
            elif verb == "resend":
                self._released |= {*self.bought.get(key, ()), *self._sent_last(key)}
            else:
                self._released |= self._sent_last(key)
                self._dropped.add(key)
            return True
        return False

    def _may_be_repeated(self, flight: Flight) -> bool:
        if flight in self._released:
            self.met["charged again, as a person has decided"] += 1
            return True
        return super()._may_be_repeated(flight)

    def _sent_last(self, key: Key) -> set[Flight]:
        """Return the last CreateTask of a row, unless its sender was gone before it was sent."""
        return {self.latest[key]} if key in self.latest else set()

    def _check_charge(self, flight: Flight, key: Key) -> None:
        if flight not in self._released:
            super()._check_charge(flight, key)
            return
        self.met["charged by what was still in flight when a person decided"] += 1
        self.bought.setdefault(key, []).append(flight)
        self._check_budget()

    def _is_risk_by_design(self, flight: Flight) -> bool:
        return flight in self._released or super()._is_risk_by_design(flight)

    def called_back(self, task_id: str) -> None:
        """Note a true callback that was taken."""
        super().called_back(task_id)
        self._called.add(task_id)

    def open_ends(self) -> Iterator[str]:
        """Yield the unknown rows that something was left about, and what: they are not to stay as they are."""
        for key, fact in self.facts.items():
            if fact.state != "unknown":
                continue
            flight = self.latest.get(key)
            if key in self.words.values() and flight is not None and flight.seen == "accepted":
                yield f"{key} is unknown, though word of its task was left"
            if flight is not None and flight.created in self._called and not self._is_forged():
                yield f"{key} is unknown, though the callback of its task was taken"
            for one in self.decisions:
                if one.key == key and one.fact.attempt == fact.attempt and self._is_open(one):
                    yield f"{key} is unknown, though a person has decided to {one.verb} it"

    def _is_open(self, one: Decision) -> bool:
        """Whether a decision is still to be carried out: unless it was not good, or refused."""
        task = self.service._videos.get(one.task_id or "")
        is_good = one.verb != "adopt" or (task is not None and (*task.order.track.split("/"),) == one.key)
        return is_good and not one.is_done and self.refused.get(one.fact.schema, 0.0) < one.at

    def _is_forged(self) -> bool:
        calling = self.scenario.calling
        return calling is not None and calling.forged > 0

    # The budget

    def _check_spent(self) -> None:
        budget = self.shared.budget
        assert budget is not None
        for schema in self.database.ledgers:
            if self.database.has(schema, "inbox"):
                query = f'SELECT COALESCE(SUM(cost + reserved), 0) FROM "{schema}".rows'
                spent = self.database.store.execute(query).fetchone()[0] / MICRO
                self.most_spent[schema] = max(self.most_spent.get(schema, 0.0), spent)
                self._refuse_over(spent, budget.own, f"is spent and set aside by {schema}")
        together = sum(self._spent_now().values())
        self.most_spent[""] = max(self.most_spent.get("", 0.0), together)
        self._refuse_over(together, budget.together, "is spent and set aside")

    def _spent_now(self) -> dict[str, float]:
        return {
            schema: self.database.store.execute(
                f'SELECT COALESCE(SUM(cost + reserved), 0) FROM "{schema}".rows'
            ).fetchone()[0]
            / MICRO
            for schema in self.database.ledgers
            if self.database.has(schema, "inbox")
        }

    def _refuse_over(self, amount: float, most: float | None, what: str) -> None:
        if most is not None and amount > most + 1e-6:
            raise Violation(f"{amount:g} {what}, of a budget of {most:g}")

    def _check_budget(self) -> None:
        budget = self.shared.budget
        if budget is None:
            return
        charged = dict.fromkeys(self.database.ledgers, 0.0)
        for flights in self.bought.values():
            for flight in flights:
                charged[self.ledger_of[flight.life]] += PRICE
        for schema, amount in charged.items():
            self._refuse_over(amount, budget.own, f"is charged to {schema}")
        self._refuse_over(sum(charged.values()), budget.together, "is charged")

    def check_budget_used(self) -> None:
        """Check that a row is left only where the budget is used up."""
        for key, fact in self.facts.items():
            if fact.state == "planned":
                self.met["rows left, since the budget is used up"] += 1
                if not self._is_used_up(fact.schema):
                    raise Violation(f"{key} is left planned, though the budget is not used up")

    def _is_used_up(self, schema: str) -> bool:
        """Whether one more video of a ledger was over the budget at some time."""
        budget = self.shared.budget
        if budget is None:
            return False
        own = budget.own is not None and self.most_spent.get(schema, 0.0) + PRICE > budget.own
        return own or (budget.together is not None and self.most_spent.get("", 0.0) + PRICE > budget.together)

    # What is sent

    def sent(self, flight: Flight) -> None:
        """Check, as a request leaves, that its sender has had the ledger until just now."""
        self.say(f"client {flight.life} sends {flight}")
        machine = self.database.machine
        assert machine is not None
        lost = self.world.moment - self.held_until(machine, self.ledger_of[flight.life])
        if lost >= FRESH:
            raise Violation(f"{flight} is sent by {machine.name}, which has lost the ledger {lost:g} s ago")
        self.met["sent after the loss, within its time"] += lost > 0
        if flight.key is not None:
            self.latest[flight.key] = flight
            state = self.read(flight.key)
            if state != "submitting" and not (state == "unknown" and lost > 0):
                raise Violation(f"{flight} is sent while its row is {state}")

    def ended(self, flight: Flight) -> None:
        """Note how a request ended for its sender."""
        self.say(f"client {flight.life} has {flight}: {flight.seen}")
        self.changed_at = self.world.moment

    def held_until(self, machine: Machine, schema: str) -> float:
        """Return until when a process has held a ledger: now, or the time of its session's end."""
        if any(session.machine is machine for session in self.database.holders(schema)):
            return self.world.moment
        return self.database.lost_at.get((machine.name, schema), float("-inf"))

    def check_window(self, flights: list[Flight]) -> None:
        """Check the rate of each key over all processes.

        What was on its way when its sender lost the ledger counts at the loss, as at the end of one that is
        killed: how long it still travels cannot be known.
        """
        for flight in flights:
            if (lost := self.lost.get(flight.life)) is not None:
                flight.ended = min(max(flight.sent, lost), flight.ended or float("inf"))
        for schema in self.database.ledgers:
            self._check_window([flight for flight in flights if self.ledger_of[flight.life] == schema])

    # The end

    def adopted(self) -> None:
        """Check at the end that what could be known is known."""
        for problem in self.open_ends():
            raise Violation(problem)
        for key, (state, _) in self.all_rows().items():
            flight = self.latest.get(key)
            if state != "unknown" or flight is None or flight.seen != "accepted":
                continue
            if key in self.not_left:
                self.met["word that could not be left"] += 1
            elif flight.life not in self.killed:
                raise Violation(f"{key} is unknown, though {flight} was accepted: no word was left")

    def _check_row(self, key: Key, state: str, task_id: str | None) -> None:
        if key not in self._dropped:
            super()._check_row(key, state, task_id)


class WatchedPostgres(PostgresLedger):
    """The real ledger; the audit knows when it begins a run."""

    def __init__(
        self,
        address: LedgerAddress,
        audit: SharedAudit,
        now: Callable[[], float],
        shared_budget: SharedBudget | None = None,
    ) -> None:
        super().__init__(address, now=now, shared_budget=shared_budget)
        self._audit = audit

    def _recall(self) -> None:
        self._audit.opening = self._schema
        try:
            super()._recall()
        finally:
            self._audit.opening = None
        self._audit.met["holders"] += 1
        self._audit.begins_to_hold(self._schema, self._run)
        self._audit.say(f"{self._audit._who()} holds the ledger {self.address.name}")

    def leave(self, nonce: str, task_id: VideoTaskId) -> None:
        track = self._audit.service._videos[task_id].order.track
        key = cast("Key", (*track.split("/"),))
        try:
            super().leave(nonce, task_id)
        except LedgerError:
            self._audit.not_left.add(key)
            raise
        self._audit.words[task_id] = key
        self._audit.changed_at = self._audit.world.moment
        self._audit.met["word left"] += 1
        self._audit.say(f"{self._audit._who()} leaves word of {task_id}")
