"""Which fault rules are taken, and when each of them strikes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suno_video_async.local import Fault, FaultError, load_faults
from suno_video_async.local.faults import FaultPlan
from tests.local.fake_service import FakeService


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "faults.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_faults_is_read(tmp_path: Path) -> None:
    """Every field of the format arrives in its rule."""
    path = write(
        tmp_path,
        """
        [[fault]]
        on = "CreateTask"
        kind = "code:455"
        calls = [1, 3]
        http = true
        retry_after = 7

        [[fault]]
        on = "media"
        kind = "slow:2.5"
        rate = 0.25

        [[fault]]
        on = "TaskInfo"
        kind = "code:429"
        key = "alice"
        retry_after = 7
        retry_after_date = true
        """,
    )
    assert load_faults(path) == (
        Fault(on="CreateTask", kind="code:455", calls=(1, 3), http=True, retry_after=7),
        Fault(on="media", kind="slow:2.5", rate=0.25),
        Fault(on="TaskInfo", kind="code:429", key="alice", retry_after=7, retry_after_date=True),
    )
    assert load_faults(write(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("entry", "field", "fix"),
    [
        ('kind = "bad-json"', "on", "CreateTask"),
        ('on = "TaskInfo"', "kind", "code:429"),
        ('on = "Create"\nkind = "bad-json"', "on", "one of CreateTask, TaskInfo, media, callback"),
        ('on = "TaskInfo"\nkind = "badjson"', "kind", "one of code:429, html:502, drop-before"),
        ('on = "TaskInfo"\nkind = 5', "kind", "text"),
        ('on = "TaskInfo"\nkind = "commit-then-500"', "kind", "with CreateTask"),
        ('on = "media"\nkind = "missing-id"', "kind", "with CreateTask or TaskInfo"),
        ('on = "TaskInfo"\nkind = "code"', "kind", "such as 'code:429'"),
        ('on = "TaskInfo"\nkind = "code:200"', "kind", "other than 200"),
        ('on = "TaskInfo"\nkind = "code:x"', "kind", "such as 'code:429'"),
        ('on = "media"\nkind = "code:999"', "kind", "400 to 599"),
        ('on = "TaskInfo"\nkind = "html:700"', "kind", "such as 'html:502'"),
        ('on = "TaskInfo"\nkind = "slow"', "kind", "such as 'slow:1.5'"),
        ('on = "TaskInfo"\nkind = "slow:-1"', "kind", "seconds"),
        ('on = "TaskInfo"\nkind = "bad-json:1"', "kind", "nothing after a colon"),
        ('on = "TaskInfo"\nkind = "bad-json"\nrate = 1.5', "rate", "0 to 1"),
        ('on = "TaskInfo"\nkind = "bad-json"\nrate = "all"', "rate", "0 to 1"),
        ('on = "TaskInfo"\nkind = "bad-json"\nrate = true', "rate", "0 to 1"),
        ('on = "TaskInfo"\nkind = "bad-json"\nrate = 0.5\ncalls = [1]', "rate", "not both"),
        ('on = "TaskInfo"\nkind = "bad-json"\ncalls = [0]', "calls", "from 1"),
        ('on = "TaskInfo"\nkind = "bad-json"\ncalls = []', "calls", "such as [1, 3]"),
        ('on = "TaskInfo"\nkind = "bad-json"\ncalls = 3', "calls", "such as [1, 3]"),
        ('on = "TaskInfo"\nkind = "bad-json"\nhttp = true', "http", "leave it out"),
        ('on = "TaskInfo"\nkind = "code:429"\nhttp = 1', "http", "true or false"),
        ('on = "TaskInfo"\nkind = "code:601"\nhttp = true', "http", "400 to 599"),
        ('on = "TaskInfo"\nkind = "bad-json"\nretry_after = 5', "retry_after", "leave it out"),
        ('on = "TaskInfo"\nkind = "code:429"\nretry_after = "5"', "retry_after", "whole seconds"),
        ('on = "TaskInfo"\nkind = "code:429"\nretry_after = -1', "retry_after", "whole seconds"),
        ('on = "TaskInfo"\nkind = "bad-json"\nprobability = 1', "probability", "the fields are on, kind, rate"),
        ('on = "callback"\nkind = "code:500"', "kind", "does not go with on = 'callback'"),
        ('on = "CreateTask"\nkind = "never"', "kind", "but with callback"),
        ('on = "callback"\nkind = "expire-url"', "kind", "but with media"),
        ('on = "callback"\nkind = "slow"', "kind", "such as 'slow:1.5'"),
        ('on = "all"\nkind = "html:502"\nduring = [60]', "during", "such as [60, 120]"),
        ('on = "all"\nkind = "html:502"\nduring = [60, 30]', "during", "such as [60, 120]"),
        ('on = "all"\nkind = "html:502"\nduring = 60', "during", "must be a list"),
        ('on = "balance"\nkind = "late-url:5"', "kind", "with TaskInfo"),
        ('on = "TaskInfo"\nkind = "clock-offset"', "kind", "also negative ones"),
        ('on = "CreateTask"\nkind = "price:-1"', "kind", "needs credits"),
        ('on = "media"\nkind = "expire-url:99"', "kind", "an HTTP status"),
        ('on = "TaskInfo"\nkind = "bad-json"\nkey = 1', "key", "the name of a key"),
        ('on = "TaskInfo"\nkind = "bad-json"\nkey = ""', "key", 'such as "key-1"'),
        ('on = "TaskInfo"\nkind = "code:429"\nretry_after_date = true', "retry_after_date", "give both"),
        (
            'on = "TaskInfo"\nkind = "code:429"\nretry_after = 1\nretry_after_date = 1',
            "retry_after_date",
            "true or false",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(tmp_path: Path, entry: str, field: str, fix: str) -> None:
    """The error names the file, the entry, the field and the fix."""
    good = '[[fault]]\non = "TaskInfo"\nkind = "bad-json"\n'
    path = write(tmp_path, f"{good}[[fault]]\n{entry}\n")
    with pytest.raises(FaultError) as caught:
        load_faults(path)
    assert str(caught.value).startswith(f"{path}: fault 2: {field}: ")
    assert fix in str(caught.value)


@pytest.mark.parametrize("text", ["[[fault]", "fault = 3", "[fault]\non = 1", "[[faults]]\non = 1", "fault = [1]"])
def test_a_file_that_holds_no_rules_is_refused(tmp_path: Path, text: str) -> None:
    """A file of another form is refused by its name, not ignored."""
    path = write(tmp_path, text)
    with pytest.raises(FaultError, match=r"faults\.toml"):
        load_faults(path)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    with pytest.raises(FaultError, match=r"none\.toml: cannot be read"):
        load_faults(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FaultError, match=r"binary\.toml: is not valid TOML"):
        load_faults(path)


def struck(faults: list[Fault], seed: int, calls: int, on: str = "TaskInfo") -> list[bool]:
    plan = FaultPlan(faults, seed)
    return [plan.next(on) is not None for _ in range(calls)]


def test_calls_are_counted_for_each_operation() -> None:
    """`calls` means the first, second … call of its own operation."""
    plan = FaultPlan([Fault(on="TaskInfo", kind="bad-json", calls=(1, 3))], 0)
    assert plan.next("CreateTask") is None
    hits = [plan.next("TaskInfo") is not None for _ in range(4)]
    assert hits == [True, False, True, False]
    plan.reset()
    assert plan.next("TaskInfo") is not None


def test_calls_are_counted_for_each_key() -> None:
    """A rule about a key counts and strikes that key's calls only; one about none counts those of all."""
    named = Fault(on="TaskInfo", kind="bad-json", key="a", calls=(2,))
    plan = FaultPlan([named, Fault(on="TaskInfo", kind="truncate", calls=(4,))], 0)
    hits = [plan.next("TaskInfo", key) for key in ("b", "a", "b", "a", "a")]
    assert [hit and hit.kind for hit in hits] == [None, None, None, "bad-json", None]
    assert plan.next("TaskInfo") is None


@given(st.lists(st.sampled_from(["a", "b", None]), max_size=60), st.integers(0, 5))
def test_a_keys_faults_are_the_same_whatever_others_do(callers: list[str | None], seed: int) -> None:
    """The same seed strikes the same calls of a key, however they are mixed with other calls and other rules."""
    rule = Fault(on="TaskInfo", kind="bad-json", key="a", rate=0.4)
    other = Fault(on="TaskInfo", kind="truncate", rate=0.0)
    busy, alone = FaultPlan([rule, other], seed), FaultPlan([rule], seed)
    for caller in callers:
        busy.next("CreateTask", "a")
        hit = busy.next("TaskInfo", caller)
        if caller == "a":
            assert hit == alone.next("TaskInfo", "a")
        else:
            assert hit is None


def test_rules_that_say_the_same_have_chances_of_their_own() -> None:
    """Two equal rules do not always strike together."""
    rule = Fault(on="TaskInfo", kind="bad-json", rate=0.5)
    twice = struck([rule, rule], 0, 1000)
    assert 700 < sum(twice) < 800


def test_a_rule_about_no_key_is_refused() -> None:
    """A name that no key has is an error that names the rule and the names, at the start and later."""
    rules = [Fault(on="media", kind="truncate"), Fault(on="media", kind="truncate", key="bob")]
    expected = r"^fault 2: key: no key is named 'bob'; the names are key-1, key-2$"
    with pytest.raises(FaultError, match=expected):
        FakeService(faults=rules)
    with pytest.raises(FaultError, match=expected):
        FakeService().service.set_faults(rules)


def test_calls_that_are_no_list_are_refused() -> None:
    """In Python, too, the error names the field and the fix."""
    with pytest.raises(FaultError, match=r"^calls: must be a list such as \[1, 3\], not 3$"):
        Fault(on="media", kind="truncate", calls=3)  # type: ignore[arg-type]


def test_a_rate_is_kept_and_repeats_with_its_seed() -> None:
    """A share of the calls is struck, the same ones for the same seed."""
    rule = Fault(on="TaskInfo", kind="bad-json", rate=0.2)
    first = struck([rule], 7, 2000)
    assert 330 < sum(first) < 470
    assert struck([rule], 7, 2000) == first
    assert struck([rule], 8, 2000) != first


def test_a_rule_more_changes_no_decision_of_the_others() -> None:
    """Each rule has a row of chances of its own."""
    rule = Fault(on="TaskInfo", kind="bad-json", rate=0.3)
    alone = FaultPlan([rule], 1)
    among = FaultPlan([rule, Fault(on="TaskInfo", kind="truncate", rate=0.5)], 1)
    for _ in range(200):
        hit = among.next("TaskInfo")
        assert (alone.next("TaskInfo") is rule) == (hit is rule)


@pytest.mark.parametrize(("options", "expected"), [({}, True), ({"rate": 1.0}, True), ({"rate": 0.0}, False)])
def test_the_ends_of_the_scale(options: dict[str, Any], expected: bool) -> None:
    """Without a rate all calls are struck; with 1 all, with 0 none."""
    assert struck([Fault(on="TaskInfo", kind="bad-json", **options)], 0, 20) == [expected] * 20


def test_a_rule_can_apply_for_some_time() -> None:
    """`during` is half open, and only the calls in it are counted."""
    plan = FaultPlan([Fault(on="TaskInfo", kind="bad-json", calls=(2,), during=(10, 20))], 0)
    assert [plan.next("TaskInfo", at=at) is not None for at in (1, 9, 10, 19, 20)] == [False] * 3 + [True, False]
