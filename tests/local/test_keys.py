"""Keys: what each may do, what is counted of it, and how they are read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suno_video_async.local import ApiKey, Fault, KeysError, LocalServer, load_keys
from suno_video_async.models import RateLimit
from tests.local.fake_service import JOB, FakeService

URL = "http://127.0.0.1:9/done/0123456789abcdef"
A, B = "ak_" + "a" * 32, "ak_" + "b" * 32


def two(first: dict[str, Any], **options: Any) -> FakeService:
    """Return a service with the keys `a`, of which something is said, and `b`."""
    return FakeService(keys=[ApiKey(key=A, name="a", **first), ApiKey(key=B, name="b")], **options)


def codes(api: FakeService, key: str, count: int) -> list[int]:
    return [api.submit(key=key).code for _ in range(count)]


def test_each_key_has_its_own_credits() -> None:
    """What one key spends is not the other's, and what a key does not say is the server's."""
    api = two({"credits": 3}, credits=5)
    assert codes(api, A, 2) == [200, 402]
    assert codes(api, B, 3) == [200, 200, 402]
    assert (api.balance(key=A), api.balance(key=B)) == (1, 1)


def test_a_key_without_credits_can_still_ask() -> None:
    """Zero credits are credits: submissions are a 402, questions are answered."""
    api = two({"credits": 0})
    assert codes(api, A, 1) == [402]
    assert api.balance(key=A) == 0


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(RateLimit(1, per=10), [200, 429, 429]), (None, [200, 200, 200]), ("default", [200, 200, 429])],
)
def test_each_key_has_its_own_rate(rate: Any, expected: list[int]) -> None:
    """A key's limit is its own, none at all, or the server's; the other key is not touched by it."""
    api = two({"rate": rate}, rate=RateLimit(2, per=10))
    assert codes(api, A, 3) == expected
    assert codes(api, B, 3) == [200, 200, 429]


@pytest.mark.parametrize(
    ("reads", "first", "second"),
    [("default", [200, 200, 429], 2), (RateLimit(1, per=10), [200, 429, 429], 2), (None, [200, 429, 429], None)],
)
def test_reads_of_a_key_may_have_a_window_of_their_own(reads: Any, first: list[int], second: int | None) -> None:
    """It is the key's, or the server's, and CreateTask has the other; without one, all calls share the rate."""
    api = two({"read_rate": reads}, rate=RateLimit(2, per=10), read_rate=RateLimit(2, per=10))
    assert codes(api, A, 1) == [200]
    assert [api.ask("GET", "/api/v1/client/account/balance", key=A).code for _ in range(3)] == first
    assert codes(api, A, 2) == ([200, 429] if second else [429, 429])
    seen = api.service.stats()["keys"]["a"]
    assert (seen["max_in_any_window"], seen.get("max_reads_in_any_window")) == ((3, 3) if second else (6, None))


def test_each_key_has_its_own_cap_on_running_tasks() -> None:
    """One more than may run is a 429 for that key only, which says how many may."""
    api = two({"max_running": 1})
    assert codes(api, A, 1) == [200]
    assert "1 task is running" in api.submit(key=A).body["message"]
    assert codes(api, B, 3) == [200, 200, 200]
    api.clock.move(60)
    assert codes(api, A, 1) == [200]


def test_a_disabled_key_is_refused_everywhere() -> None:
    """Each call is a 403 in an HTTP 200, and nothing is done."""
    api = two({"disabled": True})
    for answered in (
        api.submit(key=A),
        api.submit("EstimateTask", key=A),
        api.info("task_harbour01", key=A),
        api.ask("GET", JOB + "Models", key=A),
        api.ask("GET", "/api/v1/client/account/balance", key=A),
    ):
        assert (answered.reply.status, answered.code, answered.data) == (200, 403, None)
        assert "disabled" in answered.body["message"]
    assert api.service.stats()["refused"] == {"403": 5}
    assert api.service.stats()["charged"] == 0
    assert codes(api, B, 1) == [200]


def test_a_key_whose_feature_is_off_can_read_but_not_make() -> None:
    """CreateTask and EstimateTask are a 505; what was made before can be asked for, and the balance, too."""
    api = two({"feature_off": True})
    assert (api.submit(key=A).code, api.submit("EstimateTask", key=A).code) == (505, 505)
    assert api.info("task_harbour01", key=A).code == 200
    assert api.balance(key=A) == 1000
    assert codes(api, B, 1) == [200]


def test_the_books_are_kept_by_name() -> None:
    """The statistics tell of each key under its name, and nowhere what the key is; the totals are sums of them."""
    api = two({"credits": 3}, faults=[Fault(on="CreateTask", kind="fail", key="b", calls=[1])])
    codes(api, A, 2)
    codes(api, B, 2)
    api.submit(key="ak_wrong")
    api.clock.move(1000)
    stats = api.service.stats()
    assert A not in str(stats)
    assert B not in str(stats)
    a, b = stats["keys"]["a"], stats["keys"]["b"]
    assert (a["requests"], a["refused"], a["charged"], a["balance"]) == ({"CreateTask": 2}, {"402": 1}, 1, 1)
    assert (b["charged_by_track"], b["refunded"], b["balance"], b["running"]) == ({"m1/s1//": 2}, 1, 998, 0)
    for name in ("charged", "tasks", "refunded"):
        assert stats[name] == a[name] + b[name]
    assert (stats["requests"], stats["refused"]) == ({"CreateTask": 5}, {"402": 1, "401": 1})


def test_a_reset_opens_all_accounts_anew() -> None:
    """Balances, windows and books are as after the start."""
    api = two({"credits": 3, "rate": RateLimit(2, per=10)})
    before = api.service.stats()
    codes(api, A, 3)
    api.service.reset()
    assert api.service.stats() == before
    assert codes(api, A, 3) == [200, 402, 429]


@pytest.mark.parametrize("on", ["CreateTask", "TaskInfo", "media", "callback"])
def test_a_fault_strikes_the_calls_of_its_key(on: str) -> None:
    """A rule about a key counts its calls, its videos' and its callbacks only, whatever the other does."""
    kind = "never" if on == "callback" else "truncate"
    api = two({}, faults=[Fault(on=on, kind=kind, key="b", calls=[2])])
    struck = list[tuple[str, int]]()
    for number in range(1, 4):
        for name, key in (("a", A), ("b", B)):
            before = api.service.stats()["faults"].get(kind, 0)
            task_id = next(reversed(api.service._videos)) if api.submit(key=key, callback_url=URL) else ""
            api.clock.move(60)
            api.info(task_id, key=key)
            url = api.service.tasks()["video"][-1]["result"]["media_urls"][0]
            api.ask("GET", url.removeprefix(api.service.base_url), key=None)
            if api.service.stats()["faults"].get(kind, 0) > before:
                struck.append((name, number))
    assert struck == [("b", 2)]
    books = api.service.stats()
    assert [books["keys"][name]["faults"] for name in ("a", "b")] == [{}, {kind: 1}]


def test_a_file_of_keys_is_read(tmp_path: Path) -> None:
    """Every field arrives; what is not said is left to the server."""
    path = tmp_path / "keys.toml"
    path.write_text(
        f"""
        [[key]]
        key = "{A}"

        [[key]]
        name = "poor"
        key = "{B}"
        credits = 2.5
        rate = "5/1"
        read_rate = "10/2"
        max_running = 3

        [[key]]
        key = "ak_off"
        rate = "unlimited"
        disabled = true
        feature_off = true
        """
    )
    plain, poor, off = load_keys(path)
    assert plain == ApiKey(key=A)
    rates: dict[str, Any] = {"rate": RateLimit(5, per=1), "read_rate": RateLimit(10, per=2)}
    assert poor == ApiKey(key=B, name="poor", credits=2.5, max_running=3, **rates)
    assert off == ApiKey(key="ak_off", rate=None, disabled=True, feature_off=True)
    server = LocalServer(api_keys=["ak_first", *load_keys(path)], render_seconds=1)
    assert server.api_keys == {"key-1": "ak_first", "key-2": A, "poor": B, "key-4": "ak_off"}
    assert server.api_key == "ak_first"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("", "key 2: key: must be given"),
        ("key = 5", "key 2: key: an API key is empty"),
        ('key = "ak_ü"', "key 2: key: an API key is empty, contains spaces, or is not ASCII"),
        ('key = "ak_1"\nname = "a b"', "key 2: name: must be 1 to 40 letters"),
        (
            'key = "ak_1"\nname = "ak_1"',
            "key 2: name: must be 1 to 40 letters, digits, '.', '_' or '-', and not the key",
        ),
        ('key = "ak_1"\ncredits = "many"', "key 2: credits: must be a number from 0, such as 100, not 'many'"),
        ('key = "ak_1"\ncredits = -1', "key 2: credits: must be"),
        ('key = "ak_1"\ncredits = inf', "key 2: credits: must be"),
        ('key = "ak_1"\ncredits = true', "key 2: credits: must be"),
        ('key = "ak_1"\nrate = "fast"', 'key 2: rate: must be text such as "20/10" or "unlimited", not \'fast\''),
        ('key = "ak_1"\nrate = 20', "key 2: rate: must be text such as"),
        ('key = "ak_1"\nread_rate = "unlimited"', 'key 2: read_rate: must be text such as "10/1", not'),
        ('key = "ak_1"\nmax_running = 0', "key 2: max_running: must be a whole number from 1, such as 3, not 0"),
        ('key = "ak_1"\ndisabled = "yes"', "key 2: disabled: must be true or false, not 'yes'"),
        ('key = "ak_1"\nfeature_off = 1', "key 2: feature_off: must be true or false"),
        ('key = "ak_1"\ncredit = 1', "key 2: credit: unknown field; the fields are key, name, credits"),
        ('key = "ak_same"', "key 2: key: the same as that of key-1; leave one of them out"),
        ('key = "ak_1"\nname = "key-1"', "key 2: name: 'key-1' is another key's name already"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused(tmp_path: Path, entry: str, said: str) -> None:
    """The error names the file, the entry, the field and the fix, and never a key."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nkey = "ak_same"\n[[key]]\n{entry}\n', encoding="utf-8")
    with pytest.raises(KeysError) as caught:
        load_keys(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "ak_same" not in str(caught.value)
    assert "ak_1" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"holds no keys; begin each with \[\[key\]\]"),
        ("key = 3", r"'key' is not a list of tables; begin each of them with \[\[key\]\]"),
        ("key = [3]", r"key 1: is not a table"),
        ("[[keys]]", r"'keys' is not a list"),
        ("[[key", r"is not valid TOML"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """It is named, and what it should look like."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(KeysError, match=rf"keys\.toml: {said}"):
        load_keys(path)


def test_a_key_shows_nowhere() -> None:
    """Neither its repr nor that of what holds it has the key in it."""
    api = two({})
    codes(api, A, 1)
    shown = repr(ApiKey(key=A)) + repr(api.service._accounts) + repr(list(api.service._accounts._by_key.values()))
    assert A not in shown
