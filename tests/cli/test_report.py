"""`suno-video report`."""

from __future__ import annotations

import json
import re
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest

from suno_video_async.ledger.lock import WriterLock
from suno_video_async.ledger.model import RowError, Transition
from suno_video_async.ledger.states import State
from tests.cli.conftest import Home
from tests.ledger.support import opened, row_in
from tests.report.support import lived_in
from tests.support.keys import KEY


def test_a_report_of_a_ledger(home: Home) -> None:
    """The page goes beside the ledger, the totals to stdout, and the ledger is left as it was."""
    ledger = home.folder / "catalog.ledger.db"
    lived_in(ledger, 100)
    before = ledger.read_bytes()
    for _ in range(2):
        ran = home.run("report", ledger)
        assert ran.code == 0, ran.err
        (said,) = ran.lines()
        page = home.folder / "catalog.report.html"
        assert said["report"] == str(page)
        assert said["bytes"] == page.stat().st_size
        assert (said["total"], said["planned"]) == (100, 4)
        assert said["made"] == said["downloaded"] + said["succeeded"]
        assert "suno-video unknown" in page.read_text()
    assert ledger.read_bytes() == before


def test_where_it_goes(home: Home) -> None:
    """The page goes to the file that is named, or to stdout."""
    lived_in(home.folder / "app.db", 5)
    assert home.run("report", "app.db").code == 0
    assert (home.folder / "app.report.html").exists()
    assert home.run("report", "app.db", "-o", "page.html", "--json").code == 0
    assert (home.folder / "page.html").read_text().startswith("<!doctype html>")
    ran = home.run("report", "app.db", "-o", "-")
    assert ran.code == 0
    assert ran.out.startswith("<!doctype html>")
    assert ran.out.rstrip().endswith("</html>")
    assert home.run("report", "app.db", "-o", "-", "--json").code == 2


def test_what_is_not_replaced(home: Home) -> None:
    """A file that is not a report is left alone unless it is forced, and the ledger always."""
    lived_in(home.folder / "app.db", 5)
    (home.folder / "mine.html").write_text("mine")
    ran = home.run("report", "app.db", "-o", "mine.html")
    assert ran.code == 2
    assert "mine.html exists and is not a report" in ran.err
    assert (home.folder / "mine.html").read_text() == "mine"
    assert home.run("report", "app.db", "-o", "mine.html", "--force").code == 0
    ran = home.run("report", "app.db", "-o", "app.db", "--force")
    assert (ran.code, "belongs to the ledger" in ran.err) == (2, True)
    ran = home.run("report", "app.db", "-o", "none/page.html")
    assert (ran.code, "cannot be written: No such file or directory" in ran.err) == (2, True)
    ran = home.run("report", "app.db", "-o", "x" * 300)
    assert (ran.code, "cannot be written: File name too long" in ran.err) == (2, True)
    ran = home.run("report", "app.db", "-o", "mine.html/page.html")
    assert (ran.code, "cannot be written: Not a directory" in ran.err) == (2, True)


def test_what_is_no_ledger(home: Home) -> None:
    """A ledger that is not there, or none, is named, and no page is made."""
    ran = home.run("report", "none.ledger.db")
    assert (ran.code, "there is no ledger none.ledger.db" in ran.err) == (2, True)
    (home.folder / "text.db").write_text("task_id,suno_id\n" * 100)
    ran = home.run("report", "text.db")
    assert (ran.code, "is not a database" in ran.err) == (2, True)
    assert not list(home.folder.glob("*.html"))


def test_no_key_in_it(home: Home) -> None:
    """An API key that a server wrote into its words is not in the page."""
    ledger = opened(home.folder / "app.db")
    row = row_in(ledger, State.SUBMITTED)
    ledger.move(row.id, Transition(state=State.FAILED, error=RowError("TaskFailed", 501, f"no such key {KEY}")))
    ledger.close()
    assert home.run("report", "app.db").code == 0
    page = (home.folder / "app.report.html").read_text()
    assert KEY not in page
    assert "no such key [api key]" in page


def test_the_commands_name_what_was_given(home: Home) -> None:
    """The catalog that is named stands in the commands, and the service where it is not the official one."""
    lived_in(home.folder / "app.db", 100)
    assert home.run("report", "app.db", "--catalog", "my songs.csv", "--rate", "40/10").code == 0
    page = (home.folder / "app.report.html").read_text()
    assert "suno-video convert &#x27;my songs.csv&#x27; --ledger app.db" in page
    assert "--base-url https://api.example.test" in page
    assert "The limit is 40 requests in any 10 s, 240 a minute." in page


def test_a_limit_for_reads(home: Home) -> None:
    """`--read-rate` is the limit that polls were under."""
    lived_in(home.folder / "app.db", 5)
    assert home.run("report", "app.db", "--read-rate", "10/1").code == 0
    page = (home.folder / "app.report.html").read_text()
    assert "The limit is 20 submissions in any 10 s, and 10 polls in any 1 s." in page


def test_a_browser(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """--open shows the page; without a browser that is said."""
    lived_in(home.folder / "app.db", 5)
    shown = list[str]()

    def browser(url: str) -> bool:
        shown.append(url)
        return len(shown) == 1

    monkeypatch.setattr(webbrowser, "open", browser)
    assert home.run("report", "app.db", "--open").err == ""
    assert shown == [(home.folder / "app.report.html").resolve().as_uri()]
    assert "no browser was found" in home.run("report", "app.db", "--open").err


class Watched:
    """A ledger that a process writes, and time that passes in a moment."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch, *happens: Callable[[], object]) -> None:
        self.ledger = home.folder / "app.db"
        lived_in(self.ledger, 5)
        self.lock = WriterLock(self.ledger)
        self.lock.acquire()
        self.page = home.folder / "app.report.html"
        self.slept = list[float]()
        self.refreshes = list[object]()
        self._happens = [*happens, self.lock.release]
        monkeypatch.setattr("suno_video_async.cli.report.time.sleep", self._sleep)

    def refresh(self) -> object:
        """Return after how many seconds the page on disk loads itself again."""
        (found,) = re.findall(r'id="data">(.*?)</script>', self.page.read_text())
        return json.loads(found)["refresh"]

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.refreshes.append(self.refresh())
        self._happens.pop(0)()


def test_a_watched_report_is_written_until_nothing_writes_the_ledger(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is written again and again, refreshes itself while it is, and no longer at the end."""

    def more() -> None:
        lived_in(other := home.folder / "other.db", 8)
        other.replace(watched.ledger)

    watched = Watched(home, monkeypatch, lambda: None, more)
    ran = home.run("report", "app.db", "--watch", "2.5", "--json")
    assert ran.code == 0, ran.err
    assert (watched.slept, watched.refreshes) == ([2.5] * 3, [2.5] * 3)
    assert watched.refresh() is None
    (said,) = ran.lines()
    assert said["total"] == 8
    assert not list(home.folder.glob("*.part"))


def test_a_watch_that_is_interrupted_leaves_a_page_that_stands_still(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C ends the watch with 130, the totals, and a page that does not wait for another one."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    watched = Watched(home, monkeypatch, interrupt)
    ran = home.run("report", "app.db", "--watch", "1", "--json")
    watched.lock.release()
    assert ran.code == 130
    assert watched.refresh() is None
    assert len(ran.lines()) == 1
    assert "Traceback" not in ran.err


def test_nothing_to_watch(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that no process writes is reported once."""
    watched = Watched(home, monkeypatch)
    watched.lock.release()
    assert home.run("report", "app.db", "--watch", "1").code == 0
    assert (watched.slept, watched.refresh()) == ([], None)


def test_a_watch_opens_one_browser(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """--open with --watch shows the page once, as soon as it is there; also if there is nothing to watch."""
    shown = list[str]()

    def browser(url: str) -> bool:
        shown.append(url)
        return True

    monkeypatch.setattr(webbrowser, "open", browser)
    watched = Watched(home, monkeypatch, lambda: None)
    for _ in range(2):
        assert home.run("report", "app.db", "--watch", "1", "--open").code == 0
    assert shown == [watched.page.resolve().as_uri()] * 2


@pytest.mark.parametrize("given", [("--watch", "0"), ("--watch", "x"), ("--watch", "1", "-o", "-")])
def test_a_watch_that_cannot_be(home: Home, given: tuple[str, ...]) -> None:
    """Seconds are a number above 0, and stdout cannot be written again."""
    lived_in(home.folder / "app.db", 5)
    assert home.run("report", "app.db", *given).code == 2


def test_stills_need_the_extra(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the page is made without stills, and that is said where there are videos."""
    video = home.folder / "a.mp4"
    video.write_bytes(b"no video")
    lived_in(home.folder / "app.db", 5, files=[video])
    lived_in(home.folder / "none.db", 5)
    monkeypatch.setattr("suno_video_async.report.posters.available", lambda: False)
    assert "pip install 'suno-video-async[local]'" in home.run("report", "app.db").err
    assert home.run("report", "none.db").err == ""
    assert home.run("report", "app.db", "--posters", "0").err == ""


def test_totals_are_json(home: Home) -> None:
    """The totals are one object, which any program can read."""
    lived_in(home.folder / "app.db", 50, troubles=False)
    ran = home.run("report", Path("app.db"), "--json")
    said = json.loads(ran.out)
    assert (said["made"], said["to_buy"], said["unknown"]) == (50, 0, 0)
    assert said["credits_per_video"] == said["credits"] / 50
    assert 0 < said["median_s"] <= said["p90_s"]
