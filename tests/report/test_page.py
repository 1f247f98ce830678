"""The page: what stands in it, that nothing in it breaks out, and that it needs no other file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from suno_video_async.ledger.model import DROPPED, LedgerRow, RowError, Transition
from suno_video_async.ledger.states import State
from suno_video_async.models import RateLimit, Track, VideoTaskId
from suno_video_async.report.commands import commands
from suno_video_async.report.facts import Facts, Item, read
from suno_video_async.report.page import MOST_TEXT, Page, render, totals
from suno_video_async.report.reasons import Reasons
from suno_video_async.report.videos import File
from tests.ledger.support import opened, row_in, track

HOSTILE = [
    "</script><script>document.title='broken'</script>",
    "<!--<script>",
    "]]><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "{{css}}{{data}}",
    "\u2028\u2029\u202e\u200f\u2066",
    "&lt;b&gt;&amp;",
    "javascript:alert(1)",
    "\x00\x07\ud800",
    "x" * 50_000,
]

#: All elements that a page has before its script runs.
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "script",
        "noscript",
        "header",
        "main",
        "section",
        "footer",
    ),
    *(
        "h1",
        "h2",
        "h3",
        "p",
        "a",
        "b",
        "i",
        "div",
        "span",
        "bdi",
        "time",
        "button",
        "svg",
        "rect",
        "figure",
        "pre",
    ),
    *("ul", "li", "dl", "dt", "dd", "details", "summary", "code", "article", "figcaption"),
}

RATE = RateLimit(20, per=10)


class Read(HTMLParser):
    """Takes a page apart."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = list[tuple[str, dict[str, str | None]]]()
        self.text = ""
        self.scripts = list[tuple[dict[str, str | None], str]]()
        self._in: dict[str, str | None] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.tags.append((tag, dict(attrs)))
        self._in = dict(attrs) if tag == "script" else None
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        """Keep it."""
        if self._in is not None:
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        """Leave a script."""
        self._in = None

    def json(self, name: str) -> Any:
        """Return what a data block holds."""
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows that the script draws."""
        data = self.json("data")
        return [dict(zip(data["columns"], row, strict=True)) for row in data["rows"]]


def page_of(
    facts: Facts,
    found: Mapping[int, File] | None = None,
    stills: Mapping[int, bytes] | None = None,
    rate: RateLimit | None = RATE,
    read_rate: RateLimit | None = None,
) -> str:
    """Return the page of some facts."""
    page = Page(
        facts=facts,
        commands=commands(facts, catalog=None, base_url=None),
        rate=rate,
        read_rate=read_rate,
        files=found or {},
        stills=stills or {},
    )
    return render(page)


def test_a_page_without_a_limit() -> None:
    """Nothing is compared with a limit if there is none."""
    text = page_of(facts_of(item()), rate=None)
    assert "There is no limit on requests." in text
    assert Read(text).json("data")["rate"] is None


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (RATE, "The limit is 20 submissions in any 10 s, and 1 poll in any 1 s."),
        (None, "There is no limit on submissions, and 1 poll in any 1 s."),
    ],
)
def test_a_page_with_a_limit_for_reads(rate: RateLimit | None, said: str) -> None:
    """Both limits are named, and the narrower one decides how many videos can be made."""
    text = page_of(facts_of(item()), rate=rate, read_rate=RateLimit(1, 1))
    assert f"{said} A video needs one of each. So at most 60 videos a minute can be made." in text


def item(row_id: int = 1, state: State = State.DOWNLOADED, title: str = "Song", **more: Any) -> Item:
    """Return a row as a report has it."""
    return Item(row=LedgerRow(id=row_id, track=track(f"s{row_id}", title=title), state=state, **more))


def facts_of(*items: Item, **more: Any) -> Facts:
    """Return facts of some rows."""
    states = {state: sum(one.row.state is state for one in items) for state in State}
    return Facts(
        ledger=Path("catalog.ledger.db"), provider="https://api.test", at=0.0, items=items, states=states, **more
    )


@pytest.mark.parametrize("text", HOSTILE, ids=[str(n) for n in range(len(HOSTILE))])
def test_nothing_breaks_out(text: str, tmp_path: Path) -> None:
    """Whatever stands in a title, an error, a place, an id or a path stays text, in the page and in its data."""
    encodable = text.encode(errors="replace").decode().replace("\x00", "")
    path = tmp_path / "catalog.ledger.db"
    ledger = opened(path)
    name = encodable[:100]
    for n, state in enumerate((State.UNKNOWN, State.FAILED, State.REFUSED)):
        row = ledger.claim(track(f"s{n}", title=text, **{name: text}), location=text).row
        ledger.begin_attempt(row.id, nonce=str(n), at=1.0, reserve=0, budget=None)
        task = VideoTaskId(encodable[:200])
        if state is State.FAILED:
            ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(f"{n}{task}")))
        error = RowError(encodable, 501, encodable)
        ledger.move(
            row.id, Transition(state=state, error=error, url=encodable, video_task_id=task if n == 0 else None)
        )
    ledger.close()
    facts = read(path)
    hostile = evolve(facts, ledger=Path(encodable[:80]), provider=text)
    found = {1: File(path=Path(encodable[:80]), href="./x", size=None)}
    page = page_of(hostile, found, {1: b"jpeg"})
    page.encode()
    clean = Read(page_of(facts_of(item())))
    read_page = Read(page)
    assert {tag for tag, _ in read_page.tags} <= TAGS
    assert len(read_page.scripts) == len(clean.scripts) == 3
    assert not any(name.startswith("on") for _, attributes in read_page.tags for name in attributes)
    assert {attributes["href"] for tag, attributes in read_page.tags if tag == "a"} == {"#tracks"}
    rows = read_page.rows()
    assert all(row["url"] is None for row in rows)
    assert rows[0]["title"] == text[:MOST_TEXT]
    assert max(len(value) for row in rows for value in row.values() if isinstance(value, str)) <= MOST_TEXT + 10
    assert len(page) < len(page_of(facts_of(item()))) + 60_000


def test_the_page_is_all_there_is() -> None:
    """The page names no address that a browser would fetch, and its policy forbids all but videos on disk."""
    page = page_of(facts_of(item()))
    read_page = Read(page)
    policy = (
        next(a["content"] for tag, a in read_page.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["media-src"] == "'self' file:"
    assert rules["img-src"] == "data:"
    assert "http" not in policy
    assert not [
        tag for tag, _ in read_page.tags if tag in {"link", "img", "iframe", "object", "embed", "base", "form"}
    ]
    assert not [attributes for _, attributes in read_page.tags if "src" in attributes or "style" in attributes]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    for rule, text in (("style-src", style[1]), ("script-src", read_page.scripts[-1][1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"


def test_what_is_read_without_a_script() -> None:
    """Totals, unknown rows with their commands, and failures with theirs stand in the page itself."""
    unknown = item(
        3, State.UNKNOWN, error=RowError("TransportError", None, "broke off"), video_task_id=VideoTaskId("v 3")
    )
    failed = item(4, State.FAILED, error=RowError("TaskFailed", 501, "no beat"), failures=2)
    dropped = item(5, State.FAILED, error=RowError(DROPPED, None, "given up by hand"))
    reasons = Reasons()
    for one in (failed, dropped):
        reasons.add(one.row)
    read_page = Read(
        page_of(facts_of(item(), unknown, failed, dropped, unknown=(unknown,), reasons=reasons.ordered()))
    )
    text = " ".join(read_page.text.split())
    assert "1 of 4 videos are made" in text
    assert (
        text.index("1 row may have been paid for") < text.index("What stopped the others") < text.index("Videos")
    )
    assert "suno-video unknown adopt --ledger catalog.ledger.db 3 'v 3'" in text
    assert "suno-video unknown resend 3 --ledger catalog.ledger.db" in text
    assert "suno-video unknown drop 3 --ledger catalog.ledger.db" in text
    assert "suno-video convert CATALOG --ledger catalog.ledger.db --retry-failed 2" in text
    assert "Given up by hand: no command buys it again." in text


def test_many_unknown_rows() -> None:
    """Of very many unknown rows the first are shown, and a command lists the others."""
    unknown = tuple(item(n, State.UNKNOWN) for n in range(1, 81))
    text = Read(page_of(facts_of(*unknown, unknown=unknown))).text
    assert text.count("suno-video unknown drop") == 50
    assert "And 30 more: suno-video unknown list --ledger catalog.ledger.db" in text


def test_an_empty_ledger_and_a_whole_one() -> None:
    """The head says plainly that there is nothing yet, or that all is made."""
    assert "Nothing was submitted yet" in page_of(facts_of())
    assert "All 2 videos are made" in page_of(facts_of(item(1), item(2)))
    assert "How long tasks took is not known." in page_of(facts_of(item(1), undated=1))
    assert "For 1 task, the end was not recorded" in page_of(facts_of(item(1), undated=1))


def test_files_that_are_missing() -> None:
    """A video that is not where it was put is said to be missing, with the command that fetches it."""
    here, gone = (
        item(1, video_task_id=VideoTaskId("v1"), path=Path("videos/s1.mp4")),
        item(2, video_task_id=VideoTaskId("-v2"), path=Path("videos/s2.mp4")),
    )
    found = {
        1: File(path=Path("videos/s1.mp4"), href="./videos/s1.mp4", size=1_000_000),
        2: File(path=Path("videos/s2.mp4"), href="./videos/s2.mp4", size=None),
    }
    read_page = Read(page_of(facts_of(here, gone), found, {1: b"jpeg"}))
    assert "1 video cannot be found where the ledger says (rows 2)" in read_page.text
    assert "suno-video wait --output-dir videos -- -v2" in read_page.text
    assert [(row["href"], row["size"]) for row in read_page.rows()] == [
        ("./videos/s1.mp4", 1_000_000),
        ("./videos/s2.mp4", None),
    ]
    assert read_page.json("stills") == {"1": base64.b64encode(b"jpeg").decode()}


@pytest.mark.parametrize(
    ("url", "linked"),
    [
        ("https://media.example.test/v.mp4", True),
        ("https://media.example.test/v.mp4?signature=abc", False),
        ("https://user:word@media.example.test/v.mp4", False),
        ("javascript:alert(1)", False),
        ("file:///etc/passwd", False),
        ("https://media.example.test/" + "x" * 5000, False),
        (None, False),
    ],
)
def test_which_addresses_are_linked(url: str | None, linked: bool) -> None:
    """Of the service's addresses those are linked that open no door to whoever is sent the page."""
    (row,) = Read(page_of(facts_of(item(1, State.SUCCEEDED, url=url)))).rows()
    assert row["url"] == (url if linked else None)


def test_times_that_no_calendar_has() -> None:
    """A clock that ran fast, or an error in the ledger, does not keep the page from being made."""
    far = evolve(item(1, State.UNKNOWN, since=1e15), submitted=1e15, ended=1e15)
    assert "nine of ten at most <b>15 min</b>" in page_of(facts_of(took=(900.0,)))
    facts = facts_of(far, unknown=(far,), sent=(1e15,), ended=(1e15,), took=(1e9,))
    assert "<time>1000000000000000</time>" in page_of(facts)
    assert totals(facts)["last_ended"] == "1000000000000000"


def test_a_big_ledger() -> None:
    """Ten thousand rows are one page of some megabytes, each row in its data once, and none in its HTML."""
    page = page_of(facts_of(*(item(n, title=f"Song {n}") for n in range(1, 10_001))))
    assert [row["id"] for row in Read(page).rows()] == list(range(1, 10_001))
    assert len(page) < 3_000_000
    assert len(page[: page.index('id="data"')]) < 60_000


def test_a_track_and_its_columns() -> None:
    """A row has its title by whichever column has one, and its other columns to be searched."""
    one = item(1)
    row = evolve(
        one.row, track=Track(task_id="m", suno_id="s", extra={"Title": "Song", "mood": "slow", "empty": ""})
    )
    (found,) = Read(page_of(facts_of(evolve(one, row=row)))).rows()
    assert (found["title"], found["extra"]) == ("Song", "mood: slow")


def test_rows_in_the_air_are_told_as_such() -> None:
    """A row that is being submitted may be in the air: the page does not call it lost."""
    flying = item(1, State.SUBMITTING)
    assert "in flight while a convert is running; unknown if it was interrupted" in page_of(
        facts_of(flying, unknown=(flying,))
    )


def test_every_state_of_a_real_ledger(tmp_path: Path) -> None:
    """A ledger with a row in every state is told whole."""
    path = tmp_path / "catalog.ledger.db"
    ledger = opened(path)
    for n, state in enumerate(State):
        row_in(ledger, state, f"s{n}")
    ledger.close()
    text = Read(page_of(read(path))).text
    for words in (
        "1 is bought and not finished",
        "1 is made and not on disk",
        "1 is not bought yet",
        "2 rows may have been paid for",
    ):
        assert words in text
