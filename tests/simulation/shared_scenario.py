"""What a seed decides about workers that share a database: tracks, what goes wrong, and what is done to whom."""

from __future__ import annotations

import random

from attrs import evolve, frozen

from suno_video_async import Track
from suno_video_async.local.faults import Fault
from suno_video_async.models import RateLimit
from tests.simulation.scenario import Calling, Scenario
from tests.simulation.world import stream

#: The ledgers that there may be; each is a key's.
LEDGERS = ("one", "two")
#: What a video costs.
PRICE = 2.0


@frozen(kw_only=True)
class Blow:
    """Something done to a process: `what`, when the `number`-th thing of a `kind` happens to it.

    Attributes:
        process: its number; workers come first, then what loads, then what receives callbacks.
        what: kill, stop; end, vanish (its session, and whether it hears of that), cut off; restart (the database).
        kind: step, time, send, arrival; before statement, after statement, before commit, after commit; decision:
            a commit after one was left.
        amount: for how many seconds it lasts.

    """

    process: int
    what: str
    kind: str
    number: float
    amount: float


@frozen(kw_only=True)
class Inserted:
    """A track that the team inserts into the table `incoming` of a ledger."""

    at: float
    ledger: str
    track: Track


@frozen(kw_only=True)
class Load:
    """A catalog that is loaded beside the workers, and again if that was stopped in the middle."""

    at: float
    ledger: str
    tracks: tuple[Track, ...]
    hop: float
    order: int


@frozen(kw_only=True)
class Budget:
    """What may be spent.

    Attributes:
        together: by all ledgers.
        own: by each of them.

    """

    together: float | None
    own: float | None


@frozen(kw_only=True)
class Person:
    """Decides about unknown rows, beside the workers.

    Attributes:
        decides: the share of the unknown rows that are decided about.
        within: seconds from when a row is unknown to the decision, at most.
        twice: the share of decisions that are left twice.
        struck: the share of them after which something happens to the holder.

    """

    decides: float
    within: float
    twice: float
    struck: float


@frozen(kw_only=True)
class Ringing:
    """How what is announced is heard: the share that is not, and the most seconds that the rest takes."""

    lost: float
    late: float


@frozen(kw_only=True)
class SharedScenario:
    """Everything a seed decides before it starts.

    Attributes:
        ledgers: each is worked with a key of its own.
        most_keys: the most keys that a worker holds.
        ringing: None listens to nothing.
        wrong_clocks: seconds by which the clock of each worker's machine is ahead of the others.

    """

    base: Scenario
    ledgers: tuple[str, ...]
    inserted: tuple[Inserted, ...]
    loads: tuple[Load, ...]
    most_keys: int | None
    ringing: Ringing | None
    budget: Budget | None
    person: Person | None
    starts: tuple[float, ...]
    hops: tuple[float, ...]
    orders: tuple[int, ...]
    wrong_clocks: tuple[float, ...]
    blows: tuple[Blow, ...]
    contends_every: float

    @classmethod
    def of(cls, seed: int) -> SharedScenario:
        """Return the scenario of a seed."""
        rng = stream(seed, "shared")
        rate = RateLimit(rng.choice([1, 2, 5, 10, 20, 20]), rng.choice([1.0, 10.0, 10.0]))
        base = evolve(
            Scenario.of(seed),
            lives=(),
            called=(),
            calling=None,
            search=None,
            rate=rate,
            read_rate=rng.choice([None, None, RateLimit(10, 1.0)]),
            max_in_flight=rng.choice([1, 2, 5, 20]),
            max_connections=rng.choice([1, 2, 5, 20]),
            max_running=100,
            attempts=8,
            retry_failed=0,
            rebuy_changed=False,
            max_credits=None,
            credits=10_000.0,
            task_timeout=6 * 3600.0,
            timeout=rng.choice([60.0, 12.0]),
            duration=rng.choice([0.0, 3.0, 10.0, 25.0]),
            travel=rng.choice([0.0, 0.005, 0.3, 0.3, 2.0]),
            lost=rng.choice([0.0, 0.0, 0.0, 0.02]),
            faults=_faults(rng),
            dateless=False,
        )
        is_busy = rng.random() < 0.3
        if is_busy:  # the window is what matters
            base = evolve(base, rate=RateLimit(rng.choice([5, 10])), read_rate=None, travel=rng.choice([0.0, 0.1]))
            base = evolve(base, max_in_flight=20, max_connections=20, duration=rng.choice([0.0, 3.0]))
        rate, count = base.rate, rng.randint(10, 20) if is_busy else 1 + int(10 * rng.random() ** 2)
        late = rng.random() < 0.3
        tracks = [
            (rng.choice([0.0, rng.uniform(0, 60)]) if late else 0.0, Track(task_id=f"m{n // 2}", suno_id=f"s{n}"))
            for n in range(count)
        ]
        processes = rng.choice([2, 2, 3])
        seconds = base.duration + 2 * count * rate.per / rate.requests
        blows = [_blow(rng, processes, count, seconds, what="vanish", kind="send")] if is_busy else []
        blows += [_blow(rng, processes, count, seconds) for _ in range(rng.choice([1, 1, 2, 3, 4]))]
        starts = (0.0, *(rng.choice([0.5, rng.uniform(0, 30)]) for _ in range(1, processes)))
        hops = tuple(rng.choice([0.0, 0.01, 0.05, 0.4]) for _ in range(processes))
        orders = tuple(rng.randrange(1 << 30) for _ in range(processes))
        contends_every = rng.choice([1.0, 4.0])
        ledgers, inserted, loads = _distributed(stream(seed, "loads"), tracks)
        beside = stream(seed, "beside")
        calling, person = _calling(beside), _person(beside)
        budget = _budget(stream(seed, "budget"), count, len(ledgers))
        if calling is not None or person is not None:
            base = evolve(base, calling=calling, lost=beside.choice([base.lost, 0.05, 0.1]), called=(True,) * 100)
        else:
            base = evolve(base, calling=None)
        clocks = stream(seed, "clocks of machines")
        apart = stream(seed, "blows beside")
        others = len(loads) + (calling is not None)
        for _ in range(apart.choice([0, 1, 2]) if others else 0):
            blows.append(_blow_beside(apart, processes + apart.randrange(others), count, seconds))
        return cls(
            base=base,
            ledgers=ledgers,
            inserted=inserted,
            loads=loads,
            most_keys=apart.choice([None, None, 1]),
            ringing=_ringing(stream(seed, "bell")),
            budget=budget,
            person=person,
            starts=starts,
            hops=hops,
            orders=orders,
            wrong_clocks=tuple(clocks.choice([0.0, 0.0, 20.0, -20.0, 3600.0, -86400.0]) for _ in hops),
            contends_every=contends_every,
            blows=tuple(blows),
        )


def _distributed(
    rng: random.Random, tracks: list[tuple[float, Track]]
) -> tuple[tuple[str, ...], tuple[Inserted, ...], tuple[Load, ...]]:
    """Say which tracks come into which ledgers, and how; some of them come to both."""
    ledgers = LEDGERS if rng.random() < 0.35 else LEDGERS[:1]
    loaded = rng.choice([0.0, 0.0, 0.5, 1.0]) if rng.random() < 0.6 else 0.0
    repeated = rng.choice([0.0, 0.3, 1.0]) if len(ledgers) > 1 else 0.0
    inserted, catalogs = list[Inserted](), dict[str, list[Track]]()
    for at, track in tracks:
        ledger = rng.choice(ledgers)
        into = ledgers if rng.random() < repeated else (ledger,)
        for name in into:
            if rng.random() < loaded:
                catalogs.setdefault(name, []).append(track)
            else:
                inserted.append(Inserted(at=at, ledger=name, track=track))
    loads = tuple(
        Load(
            at=rng.choice([0.0, rng.uniform(0, 30)]),
            ledger=name,
            tracks=tuple(catalog),
            hop=rng.choice([0.0, 0.05, 0.4]),
            order=rng.randrange(1 << 30),
        )
        for name, catalog in catalogs.items()
    )
    return ledgers, tuple(inserted), loads


def _calling(rng: random.Random) -> Calling | None:
    if rng.random() < 0.7:
        return None
    return Calling(
        never=rng.choice([0.0, 0.0, 0.2]),
        twice=rng.choice([0.0, 0.3]),
        forged=rng.choice([0.0, 0.0, 1.0]),
        late=rng.choice([0.0, 20.0, 150.0]),
        trusting=False,
    )


def _person(rng: random.Random) -> Person | None:
    if rng.random() < 0.7:
        return None
    return Person(
        decides=rng.choice([0.3, 1.0]),
        within=rng.choice([0.0, 2.0, 20.0]),
        twice=rng.choice([0.0, 0.5]),
        struck=rng.choice([0.0, 0.7]),
    )


def _ringing(rng: random.Random) -> Ringing | None:
    if rng.random() < 0.4:
        return None
    return Ringing(lost=rng.choice([0.0, 0.0, 0.5, 1.0]), late=rng.choice([0.0, 0.05, 30.0]))


def _budget(rng: random.Random, tracks: int, ledgers: int) -> Budget | None:
    """Return a budget that most often is not enough."""
    if rng.random() < 0.8:
        return None
    together = PRICE * rng.randint(1, tracks + 1) + rng.choice([0.0, 1.0])
    own = PRICE * rng.randint(1, max(1, tracks // ledgers))
    return rng.choice(
        [
            Budget(together=together, own=None),
            Budget(together=None, own=own),
            Budget(together=together, own=own),
        ]
    )


def _faults(rng: random.Random) -> tuple[Fault, ...]:
    if rng.random() < 0.6:
        return ()
    kinds = ["code:429", "code:500", "drop-before", "drop-after", "html:502", "slow:5", "slow:30", "bad-json"]
    on_create = Fault(on="CreateTask", kind=rng.choice(kinds), rate=rng.choice([0.03, 0.2]))
    on_info = Fault(on="TaskInfo", kind=rng.choice(["code:429", "code:500", "html:502", "slow:5"]), rate=0.1)
    return (on_create, on_info)


def _blow(
    rng: random.Random, processes: int, rows: int, seconds: float, what: str | None = None, kind: str | None = None
) -> Blow:
    process = rng.choice([0, 0, 0, *range(1, processes)])
    what = what or rng.choice(["end", "end", "vanish", "vanish", "kill", "stop", "stop", "cut off", "restart"])
    at = ["before statement", "after statement", "after commit", "after commit"]
    kind = kind or rng.choice(
        ["step", "time", "send", "arrival", *(at if what in {"end", "vanish", "kill"} else [])]
    )
    most = {
        "step": 200.0 + rows * 150.0,
        "time": 5.0 + seconds,
        "send": rows * 3.0,
        "arrival": rows * 3.0,
        "before statement": 60.0 + rows * 20.0,
        "after statement": 60.0 + rows * 20.0,
        "after commit": 6.0 + rows * 5.0,
    }[kind]
    number = rng.uniform(0, most)
    amount = {
        "stop": [3.0, 6.0, 20.0, 50.0, 120.0, 400.0],
        "cut off": [3.0, 8.0, 20.0, 40.0, 120.0],
        "restart": [0.0, 3.0, 12.0, 60.0],
        "kill": [0.5, 5.0, 60.0],
    }.get(what, [0.0])
    return Blow(
        process=process,
        what=what,
        kind=kind,
        number=number if kind == "time" else 1 + int(number),
        amount=rng.choice(amount),
    )


def _blow_beside(rng: random.Random, process: int, rows: int, seconds: float) -> Blow:
    """Return what happens to a process that is not a worker: what it does is short."""
    what = rng.choice(["end", "vanish", "kill", "kill", "stop", "cut off"])
    at = ["before statement", "after statement", "after commit"]
    kind = rng.choice(["time", *(at * 2 if what in {"end", "vanish", "kill"} else [])])
    number = rng.uniform(0, 5.0 + seconds) if kind == "time" else 1.0 + int(rng.uniform(0, 25.0 + 4 * rows))
    if kind == "after commit":
        number = 1.0 + int(rng.uniform(0, 2.0 + rows / 2))
    amount = rng.choice([3.0, 6.0, 20.0, 50.0])
    return Blow(process=process, what=what, kind=kind, number=number, amount=amount)
