"""Faults, simulated on purpose: the rules, read from TOML, and the calls that each of them applies to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import define, field, fields, frozen

from suno_video_async._util.toml import check_fields, load_tables
from suno_video_async.local.errors import FaultError

T = TypeVar("T")

CREATE, INFO, MEDIA, CALLBACK = "CreateTask", "TaskInfo", "media", "callback"
ESTIMATE, CREDITS, MODELS, BALANCE = "EstimateTask", "estimate-credits", "Models", "balance"
#: Every call of the API.
ALL: Final = "all"
_OPERATIONS: Final = (CREATE, INFO, MEDIA, CALLBACK, ESTIMATE, CREDITS, MODELS, BALANCE, ALL)
_TASKS: Final = frozenset({CREATE, INFO})
_API: Final = frozenset(_OPERATIONS) - {MEDIA, CALLBACK}
_ANSWERED: Final = _API | {MEDIA}


@frozen
class Kind:
    """One kind of fault.

    Attributes:
        on: the operations it can apply to.
        before: whether it applies before anything is done.
        argument: what follows the colon, a key of `ARGUMENTS`, or nothing.
        default: the argument, if it may be left out.

    """

    on: frozenset[str]
    before: bool = False
    argument: str = ""
    default: float | None = None


KINDS: Final[Mapping[str, Kind]] = {
    "code": Kind(_ANSWERED, before=True, argument="code"),
    "html": Kind(_ANSWERED, before=True, argument="status"),
    "drop-before": Kind(_ANSWERED, before=True),
    "redirect": Kind(_ANSWERED, before=True),
    "hang": Kind(_ANSWERED, before=True, argument="seconds"),
    "drop-after": Kind(_ANSWERED),
    "slow": Kind(_ANSWERED | {CALLBACK}, argument="seconds"),
    "truncate": Kind(_ANSWERED | {CALLBACK}),
    "bad-json": Kind(_API),
    "byte-order-mark": Kind(_API),
    "invalid-byte": Kind(_API),
    "null-message": Kind(_API),
    "text-code": Kind(_API),
    "code-with-data": Kind(_TASKS, argument="code"),
    "missing-id": Kind(_TASKS),
    "wrong-id": Kind(_TASKS),
    "huge-body": Kind(_ANSWERED),
    "commit-then-500": Kind(frozenset({CREATE})),
    "fail": Kind(frozenset({CREATE})),
    "price": Kind(frozenset({CREATE, ESTIMATE, CREDITS}), argument="credits"),
    "reserved": Kind(frozenset({INFO}), argument="credits"),
    "no-credits": Kind(frozenset({INFO})),
    "unknown-status": Kind(frozenset({INFO})),
    "unknown-end": Kind(frozenset({INFO})),
    "late-url": Kind(frozenset({INFO}), argument="seconds"),
    "image-first": Kind(frozenset({INFO})),
    "spaced-url": Kind(frozenset({INFO})),
    "clock-offset": Kind(frozenset({INFO}), argument="offset"),
    "date-offset": Kind(_TASKS, argument="offset"),
    "late-file": Kind(frozenset({MEDIA}), before=True, argument="seconds"),
    "expire-url": Kind(frozenset({MEDIA}), before=True, argument="status", default=403),
    "duplicate": Kind(frozenset({CALLBACK})),
    "never": Kind(frozenset({CALLBACK})),
    "early": Kind(frozenset({CALLBACK})),
    "forge": Kind(frozenset({CALLBACK})),
}
_EXAMPLES: Final = {
    "code": "429",
    "html": "502",
    "hang": "60",
    "slow": "1.5",
    "code-with-data": "409",
    "price": "3",
    "reserved": "1",
    "late-url": "30",
    "clock-offset": "-3600",
    "date-offset": "3600",
    "late-file": "30",
    "expire-url": "401",
}
#: Kinds of arguments: what each is called in messages, and which numbers it may be.
ARGUMENTS: Final[Mapping[str, tuple[str, Callable[[float], bool]]]] = {
    "code": ("a code other than 200", lambda number: number in range(100, 1000) and number != 200),
    "status": ("an HTTP status up to 599", lambda number: number in range(200, 600)),
    "seconds": ("seconds", lambda number: 0 <= number <= 1e6),
    "offset": ("seconds, also negative ones,", lambda number: abs(number) <= 1e6),
    "credits": ("credits", lambda number: 0 <= number <= 1e9),
}


def _as_tuple(values: Iterable[T], name: str) -> tuple[T, ...]:
    try:
        return tuple(values)
    except TypeError:
        raise FaultError(f"{name}: must be a list such as [1, 3], not {values!r}") from None


def _as_calls(values: Iterable[int]) -> tuple[int, ...]:
    return _as_tuple(values, "calls")


def _as_times(values: Iterable[float]) -> tuple[float, ...]:
    return _as_tuple(values, "during")


@frozen(kw_only=True)
class Fault:
    """One rule: a kind of fault, and the calls it applies to.

    Args:
        on: `"media"`, `"callback"`, a call of the API such as `"CreateTask"`, or `"all"` calls of the API.
        kind: such as `"code:429"`, `"drop-after"` or `"slow:2.5"`.
        rate: the share of the calls it applies to; without it and without `calls`, all of them.
        calls: the calls it applies to, counted from 1 for this rule: those of its operation and key. A call
            refused for its key or over the rate limit does not count; a callback counts when its task is created.
        during: from when to when it applies, in seconds of the server's clock since its start; only the calls in
            this time are counted. Without it, always.
        key: the name of the key whose calls, videos and callbacks it applies to; None for all keys.
        http: use the code as the HTTP status, too.
        retry_after: whole seconds for the header of that name.
        retry_after_date: give them as an HTTP date, that long after the answer's own `Date`.

    Raises:
        FaultError: the rule is invalid; the message names the field.

    """

    on: str
    kind: str
    rate: float | None = None
    calls: tuple[int, ...] = field(default=(), converter=_as_calls)
    during: tuple[float, ...] = field(default=(), converter=_as_times)
    key: str | None = None
    http: bool = False
    retry_after: int | None = None
    retry_after_date: bool = False
    name: str = field(init=False, repr=False)
    number: float = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        name, number = _read_kind(self.on, self.kind)
        object.__setattr__(self, "name", name)  # the class is frozen, and these two follow from `kind`
        object.__setattr__(self, "number", number)
        self._check_calls()
        self._check_code_options()

    @property
    def before(self) -> bool:
        """Whether it applies before anything is done."""
        return KINDS[self.name].before

    def _check_calls(self) -> None:
        if self.rate is not None and self.calls:
            raise FaultError("rate: give either rate or calls, not both")
        if self.rate is not None and not (_is_number(self.rate) and 0 <= self.rate <= 1):
            raise FaultError(f"rate: must be a share from 0 to 1, such as 0.1, not {self.rate!r}")
        if not all(_is_count(call) for call in self.calls):
            raise FaultError(f"calls: must be whole numbers from 1, such as [1, 3], not {list(self.calls)!r}")
        if self.during and not (
            len(self.during) == 2
            and all(_is_number(at) for at in self.during)
            and 0 <= self.during[0] < self.during[1]
        ):
            raise FaultError(f"during: must be two times in seconds, such as [60, 120], not {list(self.during)!r}")
        if self.key is not None and not (isinstance(self.key, str) and self.key):  # pyright: ignore[reportUnnecessaryIsInstance]  # TOML has any type
            raise FaultError(f'key: must be the name of a key, such as "key-1", not {self.key!r}')

    def _check_code_options(self) -> None:
        if not isinstance(self.http, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # TOML has any type
            raise FaultError(f"http: must be true or false, not {self.http!r}")
        if self.http and self.name not in {"code", "code-with-data", "commit-then-500"}:
            raise FaultError(
                f"http: goes with code:N, code-with-data:N, commit-then-500, not with {self.kind!r}; leave it out"
            )
        if self.http and self.name != "commit-then-500" and not 400 <= self.number <= 599:
            raise FaultError(f"http: a refusal's HTTP status is 400 to 599, not {self.number:g}; leave it out")
        if self.on == MEDIA and self.name == "code" and not 400 <= self.number <= 599:
            raise FaultError(f"kind: on media the code is an HTTP status from 400 to 599, not {self.number:g}")
        if self.retry_after is not None and self.name != "code":
            raise FaultError(f"retry_after: goes with code:N, not with {self.kind!r}; leave it out")
        if self.retry_after is not None and not (_is_number(self.retry_after) and _is_count(self.retry_after + 1)):
            raise FaultError(f"retry_after: must be whole seconds, such as 5, not {self.retry_after!r}")
        if not isinstance(self.retry_after_date, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  # TOML has any type
            raise FaultError(f"retry_after_date: must be true or false, not {self.retry_after_date!r}")
        if self.retry_after_date and self.retry_after is None:
            raise FaultError("retry_after_date: needs retry_after, the seconds; give both")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _read_kind(on: str, kind: str) -> tuple[str, float]:
    """Return the name of a kind and the number after its colon."""
    if on not in _OPERATIONS:
        raise FaultError(f"on: must be one of {', '.join(_OPERATIONS)}, not {on!r}")
    name, _, argument = kind.partition(":")
    known = KINDS.get(name)
    if known is None:
        raise FaultError(f"kind: {kind!r} is unknown; use one of {', '.join(_shown(name) for name in KINDS)}")
    if on not in known.on:
        raise FaultError(f"kind: {kind!r} does not go with on = {on!r}, but with {' or '.join(sorted(known.on))}")
    return name, _read_argument(name, argument, known)


def _shown(name: str) -> str:
    return f"{name}:{_EXAMPLES[name]}" if name in _EXAMPLES else name


def _read_argument(name: str, argument: str, known: Kind) -> float:
    if not known.argument:
        if argument:
            raise FaultError(f"kind: {name!r} takes nothing after a colon, not {argument!r}")
        return 0.0
    if not argument and known.default is not None:
        return known.default
    what, allows = ARGUMENTS[known.argument]
    try:
        number = float(argument)
    except ValueError:
        number = math.nan
    if not allows(number):
        raise FaultError(f"kind: {name!r} needs {what}, such as {_shown(name)!r}, not {argument!r}")
    return number


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Return the rules of a TOML file. Blocks.

    Raises:
        FaultError: the file, or an entry of it, cannot be used.

    """
    return tuple(load_tables(path, "fault", _read_fault, FaultError))


def _read_fault(given: Mapping[str, Any]) -> Fault:
    check_fields(given, [attribute.name for attribute in fields(Fault) if attribute.init], FaultError)
    for name in ("on", "kind"):
        if not isinstance(given.get(name), str):
            raise FaultError(f'{name}: must be given as text, such as {name} = "{_sample(name)}"')
    for name in ("calls", "during"):
        if name in given and (not isinstance(given[name], list) or not given[name]):
            raise FaultError(f"{name}: must be a list such as [1, 3], not {given[name]!r}")
    return Fault(**given)


def _sample(name: str) -> str:
    return CREATE if name == "on" else "code:429"


def check_names(faults: Sequence[Fault], names: Sequence[str]) -> None:
    """Refuse a rule about a key that does not exist.

    Raises:
        FaultError: naming the rule and the keys that exist.

    """
    for at, fault in enumerate(faults, 1):
        if fault.key is not None and fault.key not in names:
            raise FaultError(f"fault {at}: key: no key is named {fault.key!r}; the names are {', '.join(names)}")


@define(eq=False)
class _Rule:
    """A rule in use.

    Attributes:
        chance: its own, so that the same calls are chosen regardless of other rules and other calls.
        calls: how many have matched it.

    """

    fault: Fault
    chance: random.Random
    calls: int = 0

    def meets(self, on: str, key: str | None, at: float) -> bool:
        fault = self.fault
        is_call = fault.on == on or (fault.on == ALL and on in _API)
        return (
            is_call and fault.key in (None, key) and (not fault.during or fault.during[0] <= at < fault.during[1])
        )

    def strikes(self) -> bool:
        """Count one call, and decide whether the fault applies."""
        self.calls += 1
        if self.fault.calls:
            return self.calls in self.fault.calls
        return self.fault.rate is None or self.chance.random() < self.fault.rate


class FaultPlan:
    """Decides which calls get a fault; the same seed and the same calls of a rule give the same faults."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = tuple(faults)
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Start again from the first call."""
        self._rules = [
            _Rule(fault, random.Random(f"{self._seed}/fault/{at}")) for at, fault in enumerate(self._faults)
        ]

    def next(self, on: str, key: str | None = None, at: float = 0.0) -> Fault | None:
        """Count one call of an operation, made with a named key; return the first rule that applies to it.

        Args:
            on: the operation.
            key: the name of the key.
            at: seconds since the server's start or reset.

        """
        # A list, not only the first: all rules count the call.
        hits = [rule.fault for rule in self._rules if rule.meets(on, key, at) and rule.strikes()]
        return hits[0] if hits else None
