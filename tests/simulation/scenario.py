"""What a seed decides: catalog, limits, faults, and what is done to each run."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from attrs import evolve, frozen

from suno_video_async import Track
from suno_video_async.local.faults import Fault
from suno_video_async.models import RateLimit
from tests.simulation.world import stream

#: What can happen to a CreateTask and a TaskInfo, each with its options.
_CODES: Sequence[tuple[str, dict[str, object]]] = [
    ("code:429", {}),
    ("code:429", {"http": True, "retry_after": 3}),
    ("code:455", {}),
    ("code:455", {"http": True, "retry_after": 40}),
    ("code:500", {}),
    ("code:500", {"http": True}),
    ("html:502", {}),
    ("html:504", {}),
    ("drop-before", {}),
    ("drop-after", {}),
    ("bad-json", {}),
    ("missing-id", {}),
    ("wrong-id", {}),
    ("slow:5", {}),
    ("slow:200", {}),
    ("huge-body", {}),
    ("redirect", {}),
    ("truncate", {}),
]
_ON_CREATE: Sequence[tuple[str, dict[str, object]]] = [
    *_CODES,
    ("fail", {}),
    ("commit-then-500", {}),
    ("commit-then-500", {"http": True}),
    ("code:418", {}),
]
_ON_CREATE_RARELY: Sequence[tuple[str, dict[str, object]]] = [
    ("code:422", {}),
    ("code:404", {}),
    ("code:401", {}),
    ("code:402", {}),
    ("code:505", {}),
]
#: Odd dresses of a good answer.
_DRESSES: Sequence[str] = ("byte-order-mark", "invalid-byte", "null-message", "text-code")
#: What the world does, beside what a laboratory does.
_WORLD_ON_CREATE: Sequence[str] = (
    *_DRESSES,
    *(f"code-with-data:{code}" for code in (401, 402, 409, 422, 429, 455, 500)),
)
_WORLD_ON_INFO: Sequence[str] = (
    *_DRESSES,
    *("late-url:8", "late-url:300", "late-url:900", "image-first", "spaced-url", "unknown-end"),
    *("clock-offset:-3600", "clock-offset:3600", "code-with-data:501"),
)
MEDDLING: Sequence[str] = (
    *("without its log", "without its log", "an old copy", "an old file under the newest log", "deleted"),
)
_OUTAGES: Sequence[str] = ("html:502", "html:403", "html:200", "drop-before", "drop-after", "hang:90")
_ON_INFO: Sequence[tuple[str, dict[str, object]]] = [*_CODES, ("unknown-status", {}), ("code:404", {})]


@frozen(kw_only=True)
class Event:
    """Something done to a run: `what`, when the `number`-th thing of a `kind` happens; some by an `amount`."""

    what: str  # crash, cancel, stop, leave, close; copy; jump, freeze
    kind: str  # step, time, arrival, write, outcome
    number: float
    amount: float = 0.0


@frozen(kw_only=True)
class Calling:
    """How the service calls back: shares of the callbacks, and seconds."""

    never: float
    twice: float
    forged: float
    late: float
    trusting: bool


@frozen(kw_only=True)
class Life:
    """One run of the client; whether it can be called is drawn apart.

    Attributes:
        wrong_by: by how many seconds the client's wall clock is wrong at its beginning.
        meddling: what is done to the ledger's files before it, and undone once that was refused.

    """

    events: tuple[Event, ...]
    rest: float
    consumer_delay: float
    hop_delay: float | None
    order: int | None
    catalog: tuple[object, ...]
    wrong_by: float = 0.0
    meddling: str | None = None

    @property
    def sets_clock(self) -> bool:
        """Whether its wall clock is set while it runs."""
        return any(event.what == "jump" for event in self.events)


@frozen(kw_only=True)
class Search:
    """Limits that the client has to find, and that change once.

    Attributes:
        requests: the limit in 10 s.
        reads: that of the reads, if they have their own.
        changes_at: when both are multiplied by `factor`, in seconds.
        cap: whether the cap on running tasks is to be found as well.

    """

    requests: int
    reads: int
    changes_at: float
    factor: float
    cap: bool


@frozen(kw_only=True)
class Scenario:
    """Everything a seed decides before it starts."""

    seed: int
    lives: tuple[Life, ...]
    quiet_end: bool
    rate: RateLimit
    read_rate: RateLimit | None
    search: Search | None
    max_in_flight: int
    max_connections: int
    max_running: int
    strict: bool
    attempts: int
    retry_failed: int
    rebuy_changed: bool
    max_credits: float | None
    credits: float
    task_timeout: float
    timeout: float
    duration: float
    sigma: float
    travel: float
    lost: float
    faults: tuple[Fault, ...]
    calling: Calling | None
    called: tuple[bool, ...]
    dateless: bool

    @property
    def wall_clock_is_true(self) -> bool:
        """Whether the wall clocks of all lives agree, so that one knows how long ago the other sent something."""
        return len({life.wrong_by for life in self.lives}) == 1 and not any(life.sets_clock for life in self.lives)

    @classmethod
    def of(cls, seed: int) -> Scenario:
        """Return the scenario of a seed."""
        rng = stream(seed, "scenario")
        strict = rng.random() < 0.5
        faults = _faults(rng, strict=strict)
        catalog = _catalog(rng)
        duration = rng.choice([0.0, 3.0, 10.0, 40.0])
        rate = RateLimit(rng.choice([1, 2, 5, 10, 20, 20]), rng.choice([1.0, 10.0, 10.0]))
        read_rate, search = _read_rate(stream(seed, "reads")), _search(stream(seed, "limits"))
        if search is not None:
            rate = RateLimit(search.requests)
            read_rate = None if read_rate is None else RateLimit(search.reads)
        scale = (len(catalog), duration + 2 * len(catalog) * rate.per / rate.requests)
        disturbed = rng.choice([0, 1, 1, 2, 3])
        lives = [_life(rng, catalog, scale, disturbed=True) for _ in range(disturbed)]
        lives.append(_life(rng, catalog, scale, disturbed=False))
        apart = stream(seed, "calling")
        calling = _calling(apart)
        if calling is not None and apart.random() < 0.5:
            faults = (*faults, Fault(on="CreateTask", kind="commit-then-500", rate=0.1))
        faults = (*faults, *_world(stream(seed, "the world")))
        prices = _prices(stream(seed, "prices"))
        faults = (*faults, *prices)
        tight = bool(prices) and stream(seed, "budget").random() < 0.4
        clocks = stream(seed, "clocks")
        lives = [_with_clock(clocks, life, scale) for life in lives] if clocks.random() < 0.4 else lives
        faults = (*faults, *_dates(clocks))
        lives = _with_meddling(stream(seed, "copies"), lives, scale)
        return cls(
            seed=seed,
            lives=tuple(lives),
            quiet_end=rng.random() < 0.5,
            rate=rate,
            read_rate=read_rate,
            search=search,
            max_in_flight=rng.choice([1, 2, 5, 20, 60]),
            max_connections=rng.choice([1, 2, 5, 20]),
            max_running=rng.choice([3, 100, 100]),
            strict=strict,
            attempts=rng.choice([1, 3, 8]),
            retry_failed=rng.choice([0, 0, 1, 2]),
            rebuy_changed=rng.random() < 0.3,
            max_credits=_budget(rng, tight=tight),
            credits=rng.choice([10_000.0] * 9 + [11.0]),
            task_timeout=rng.choice([6 * 3600.0, 6 * 3600.0, 120.0]),
            timeout=rng.choice([60.0, 60.0, 12.0]),
            duration=duration,
            sigma=rng.choice([0.0, 0.5, 1.0]),
            travel=rng.choice([0.0, 0.005, 0.3, 2.0]),
            lost=rng.choice([0.0, 0.0, 0.02, 0.1]),
            faults=faults,
            calling=calling,
            called=tuple(calling is not None and apart.random() < 0.85 for _ in lives),
            dateless=clocks.random() < 0.3,
        )


def _read_rate(rng: random.Random) -> RateLimit | None:
    """Return the window of the reads, if they have their own."""
    own = rng.random() < 0.3
    return RateLimit(rng.choice([1, 3, 10, 20]), rng.choice([1.0, 10.0])) if own else None


def _search(rng: random.Random) -> Search | None:
    """Return limits that the client is not told, if it is to find them."""
    if rng.random() < 0.8:
        return None
    limits = [2, 5, 10, 20, 30, 60]
    return Search(
        requests=rng.choice(limits),
        reads=rng.choice(limits),
        changes_at=rng.choice([math.inf, rng.uniform(0.0, 200.0)]),
        factor=rng.choice([0.5, 2.0]),
        cap=rng.random() < 0.3,
    )


def _budget(rng: random.Random, *, tight: bool) -> float | None:
    drawn = rng.choice([None] * 6 + [6.0, 40.0])
    return 40.0 if tight else drawn


def _prices(rng: random.Random) -> tuple[Fault, ...]:
    """Return prices that differ from their estimate: of some videos, or of all from some point on."""
    if rng.random() < 0.6:
        return ()
    kind = f"price:{rng.choice([0.5, 3, 9])}"
    if rng.random() < 0.5:
        return (Fault(on="CreateTask", kind=kind, rate=rng.choice([0.1, 0.5, 1.0])),)
    return (Fault(on="CreateTask", kind=kind, calls=tuple(range(rng.randint(1, 12), 400))),)


def _with_clock(rng: random.Random, life: Life, scale: tuple[int, float]) -> Life:
    """Let the clock of a life be wrong, be set, or stand still with all that the process does."""
    events = list(life.events)
    if rng.random() < 0.5:
        amount = rng.choice([-7200.0, -30.0, 30.0, 7200.0, 1e9])
        events.append(evolve(_event(rng, "jump", *scale), amount=amount))
    if rng.random() < 0.5:
        amount = rng.choice([1.0, 20.0, 90.0, 600.0])
        events.append(evolve(_event(rng, "freeze", *scale), amount=amount))
    return evolve(life, events=tuple(events), wrong_by=rng.choice([0.0, -86_400.0, -3600.0, 3600.0, 86_400.0]))


def _dates(rng: random.Random) -> tuple[Fault, ...]:
    """Return a `Date` that has nothing to do with when tasks are created."""
    kind = rng.choice([None, None, None, "date-offset:-3600", "date-offset:3600"])
    return () if kind is None else (Fault(on="TaskInfo", kind=kind, rate=rng.choice([0.3, 1.0])),)


def _with_meddling(rng: random.Random, lives: list[Life], scale: tuple[int, float]) -> list[Life]:
    """Let the ledger's files be copied during some lives, and changed before others."""
    met = list[Life]()
    for life in lives:
        meddling = rng.choice(MEDDLING) if met and rng.random() < 0.5 else None
        copied = (_event(rng, "copy", *scale),) if rng.random() < 0.5 else ()
        met.append(evolve(life, meddling=meddling, events=(*life.events, *copied)))
    return met


def _calling(rng: random.Random) -> Calling | None:
    if rng.random() < 0.6:
        return None
    return Calling(
        never=rng.choice([0.0, 0.0, 0.2, 1.0]),
        twice=rng.choice([0.0, 0.3]),
        forged=rng.choice([0.0, 1.0]),
        late=rng.choice([0.0, 20.0, 150.0, 900.0]),
        trusting=rng.random() < 0.4,
    )


def _faults(rng: random.Random, *, strict: bool) -> tuple[Fault, ...]:
    rules: list[Fault] = []
    for on, kinds in (("CreateTask", _ON_CREATE), ("TaskInfo", _ON_INFO)):
        for _ in range(rng.choice([0, 1, 2, 4])):
            kind, options = rng.choice(kinds)
            rules.append(_fault(rng, on, kind, options))
    if rng.random() < 0.15:
        kind, options = rng.choice(_ON_CREATE_RARELY)
        rules.append(Fault(on="CreateTask", kind=kind, calls=(rng.randint(1, 20),)))
    if rng.random() < 0.02:
        rules.append(Fault(on="TaskInfo", kind="code:401", calls=(rng.randint(1, 40),)))
    # Without `strict` the risk that a 500 was carried out is taken by design: that is met, but seldom.
    if not strict and rng.random() < 0.9:
        rules = [rule for rule in rules if rule.name != "commit-then-500"]
    return tuple(rules)


def _world(rng: random.Random) -> tuple[Fault, ...]:
    """Return the faults of the world as it is: outages, late URLs, ids in refusals, odd dresses, wrong clocks."""
    rules: list[Fault] = []
    if rng.random() < 0.4:
        begin = rng.choice([0.0, rng.uniform(0.0, 60.0)])
        during = (begin, begin + rng.choice([10.0, 60.0, 600.0, 5000.0]))
        on = rng.choice(["all", "all", "CreateTask"])
        rules.append(Fault(on=on, kind=rng.choice(_OUTAGES), during=during))
    for on, kinds in (("CreateTask", _WORLD_ON_CREATE), ("TaskInfo", _WORLD_ON_INFO)):
        if rng.random() < 0.4:
            kind = rng.choice(kinds)
            whole = kind.startswith(("clock", "late", "image", "spaced", "unknown"))
            rules.append(Fault(on=on, kind=kind, rate=1.0 if whole else rng.choice([0.03, 0.1, 0.3])))
    return tuple(rules)


def _fault(rng: random.Random, on: str, kind: str, options: dict[str, object]) -> Fault:
    chosen: dict[str, object] = dict(options)
    if rng.random() < 0.3:
        chosen["calls"] = tuple(sorted({rng.randint(1, 40) for _ in range(rng.randint(1, 8))}))
    else:
        chosen["rate"] = rng.choice([0.03, 0.1, 0.3])
    return Fault(on=on, kind=kind, **chosen)  # type: ignore[arg-type]


def _catalog(rng: random.Random) -> tuple[object, ...]:
    """Return tracks, duplicates in other spellings, the same song under other credits, and rows that are none."""
    rows: list[object] = []
    repeats = rng.choice([0.0, 0.1, 0.3])
    count = 1 + int(60 * rng.random() ** 4)
    known: list[Track] = []
    for number in range(count):
        if known and rng.random() < repeats:
            rows.append(_variation(rng, rng.choice(known)))
        elif rng.random() < 0.03:
            rows.append(rng.choice([None, "a string", 7]))
        else:
            author = rng.choice([None, None, "", "Ava", "Zo\u00eb"])
            brand = rng.choice([None, None, "Acme"])
            track = Track(task_id=f"m{number // 2}", suno_id=f"s{number}", author=author, brand=brand)
            known.append(track)
            rows.append(track)
    return tuple(rows)


def _variation(rng: random.Random, track: Track) -> Track:
    author: str | None = track.author
    if rng.random() < 0.3:
        author = rng.choice(["Ben", None, "Ava"])
    elif not author:
        author = rng.choice([None, "", "  "])
    else:
        author = rng.choice([author, f" {author} ", author.replace("\u00eb", "e\u0308")])
    return Track(task_id=track.task_id, suno_id=f" {track.suno_id}", author=author, brand=track.brand)


def _life(rng: random.Random, catalog: tuple[object, ...], scale: tuple[int, float], *, disturbed: bool) -> Life:
    rows, seconds = scale
    events: list[Event] = []
    if disturbed:
        what = rng.choice(["crash", "crash", "crash", "crash", "cancel", "stop", "leave", "close", "stop"])
        events.append(_event(rng, what, rows, seconds))
        if what != "crash" and rng.random() < 0.3:
            events.append(_event(rng, rng.choice(["crash", "cancel", "close"]), rows, seconds))
    given = catalog
    if disturbed and rng.random() < 0.3:  # the catalog's user changes it between two runs
        given = tuple(row for row in catalog if rng.random() < 0.6)
    elif not disturbed and rng.random() < 0.1:
        given = tuple(rng.sample(catalog, len(catalog)))
    return Life(
        events=tuple(events),
        rest=rng.choice([0.0, 0.0, 0.001, rng.uniform(0, 20), rng.uniform(0, 300), 7200.0]),
        consumer_delay=rng.choice([0.0, 0.0, 0.5, 10.0]),
        hop_delay=rng.choice([None, 0.0, 0.01, 0.05]),
        order=None if rng.random() < 0.25 else rng.randrange(1 << 30),
        catalog=given,
    )


def _event(rng: random.Random, what: str, rows: int, seconds: float) -> Event:
    kind = rng.choice(["step", "step", "time", "arrival", "write", "write"])
    if what == "leave":
        kind = "outcome"
    if what == "copy":
        kind = "write"
    most = {
        "step": rows * 150.0,
        "time": max(1.0, seconds),
        "arrival": rows * 8.0,
        "write": rows * 4.0,
        "outcome": float(rows),
    }[kind]
    number = math.exp(rng.uniform(0.0, math.log(most + 1))) if rng.random() < 0.6 else rng.uniform(0, most)
    return Event(what=what, kind=kind, number=number if kind == "time" else 1 + int(number))
