"""The report in a real browser: `nox -s browser`, since it needs Chromium."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from suno_video_async.cli.app import run
from suno_video_async.ledger.model import RowError, Transition
from suno_video_async.ledger.states import State
from suno_video_async.report.commands import commands
from suno_video_async.report.facts import read
from suno_video_async.report.page import Page, render
from suno_video_async.report.saving import write
from tests.ledger.support import opened, row_in, track
from tests.report.support import lived_in

if TYPE_CHECKING:
    from tests.browser.chromium import Browser

pytestmark = pytest.mark.browser

ROWS = 10_000
#: Elements that a page of any size may have.
MOST_ELEMENTS = 3_000


def video(path: Path) -> Path:
    """Make a video of four seconds that a browser plays."""
    import av  # noqa: PLC0415
    import numpy  # noqa: PLC0415

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for n in range(40):
            picture = numpy.full((90, 160, 3), 6 * n, dtype=numpy.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report of a big ledger, whose first videos have stills."""
    folder = tmp_path_factory.mktemp("big #1 50%")
    (folder / "vidéos").mkdir()
    ledger = folder / "catalog.ledger.db"
    lived_in(ledger, ROWS, files=[video(folder / "vidéos" / "a?b #1.mp4")])
    assert run(["report", str(ledger), "--posters", "8", "--json"]) == 0
    return folder / "catalog.report.html"


class Watched:
    """A report that is written again and again."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.page = ledger.with_name("catalog.report.html")

    def write(self, *, refresh: float | None) -> None:
        """Write it, with the seconds after which it loads itself again."""
        facts = read(self.ledger)
        known = commands(facts, catalog=None, base_url=None)
        page = Page(facts=facts, commands=known, rate=None, files={}, stills={}, refresh=refresh)
        write(render(page), self.page)


def lines(browser: Browser) -> list[list[str]]:
    """Return the rows on the screen, in their order, cell by cell."""
    found: list[list[str]] = browser.run(
        "return [...document.querySelectorAll('.line')].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        ".map(line => [...line.children].map(cell => cell.innerText))"
    )
    return found


def listed(browser: Browser) -> None:
    """Show the videos as a list."""
    click(browser, "[data-view=list]")
    browser.run("document.getElementById('tracks').scrollIntoView()")
    browser.until("return document.querySelector('.line') !== null")


def click(browser: Browser, selector: str) -> None:
    """Click what a selector finds."""
    browser.run("document.querySelector(arguments[0]).click()", selector)


def search(browser: Browser, text: str, then: str) -> None:
    """Type into the search, and wait for the number of what is found."""
    browser.run(
        "const box = document.querySelector('input[type=search]'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))",
        text,
    )
    browser.until("return document.querySelector('.found').textContent === arguments[0]", then)


def test_ten_thousand_rows_are_a_few_elements(browser: Browser, page: Path) -> None:
    """Only what is on the screen is in the document, at the top and at the very end, in both views."""
    browser.show(page)
    for view, item in (("gallery", ".tile"), ("list", ".line")):
        click(browser, f"[data-view={view}]")
        browser.run("document.getElementById('tracks').scrollIntoView()")
        browser.until(f"return document.querySelectorAll('{item}').length > 3")
        assert browser.run("return document.querySelectorAll('*').length") < MOST_ELEMENTS
        browser.run("scrollTo(0, document.documentElement.scrollHeight)")
        browser.until(f"return document.getElementById('place{ROWS - 1}') !== null")
        assert browser.run(f"return document.querySelectorAll('{item}').length") < 60
        assert browser.run("return document.querySelectorAll('*').length") < MOST_ELEMENTS
        browser.run("scrollTo(0, 0)")


def test_search_and_filter(browser: Browser, page: Path) -> None:
    """Words find rows by any of their fields, all of them at once; a state narrows it further."""
    browser.show(page)
    listed(browser)
    facts = read(page.with_name("catalog.ledger.db"))
    wanted = [item.row for item in facts.items if item.row.track.author == "Ибрагим Орлов"]
    search(browser, "ибрагим", f"{len(wanted):,} of {ROWS:,}")
    failed = [row for row in wanted if row.state is State.FAILED]
    click(browser, "[data-state=failed]")
    browser.until(
        "return document.querySelector('.found').textContent === arguments[0]", f"{len(failed)} of {ROWS:,}"
    )
    assert lines(browser)[0][0] == str(failed[0].id)
    one = failed[0]
    search(browser, f"ОРЛОВ {one.track.suno_id}", f"1 of {ROWS:,}")
    assert [line[0] for line in lines(browser)] == [str(one.id)]
    search(browser, "no such song", f"0 of {ROWS:,}")
    assert browser.run("return document.querySelector('.view').innerText") == "Nothing matches."


def test_sorting(browser: Browser, page: Path) -> None:
    """A column's head sorts by it, and again the other way; rows without a value come last both times."""
    browser.show(page)
    listed(browser)
    facts = read(page.with_name("catalog.ledger.db"))
    took = {str(item.row.id): item.took for item in facts.items}
    for first, way in ((max(facts.took), "descending"), (min(facts.took), "ascending")):
        click(browser, "[data-key=took] button")
        assert browser.run("return document.querySelector('[data-key=took]').ariaSort") == way
        assert took[lines(browser)[0][0]] == pytest.approx(first, abs=0.1)
    browser.run("scrollTo(0, document.documentElement.scrollHeight)")
    browser.until(f"return document.getElementById('place{ROWS - 1}') !== null")
    assert lines(browser)[-1][4] == "–"


def test_keys(browser: Browser, page: Path) -> None:
    """Without a mouse: / searches, arrows move, End leads to the last row, Enter opens it, Escape closes it."""
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    browser.show(page)
    listed(browser)
    body = browser.driver.find_element("tag name", "body")
    body.send_keys("/")
    assert browser.run("return document.activeElement.type") == "search"
    view = browser.driver.find_element("css selector", ".view")
    browser.run("arguments[0].focus()", view)
    view.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert browser.run("return document.querySelector('.line.on').children[0].innerText") == "3"
    view.send_keys(Keys.END)
    browser.until(f"return document.querySelector('.line.on')?.id === 'place{ROWS - 1}'")
    assert browser.run("return document.activeElement.getAttribute('aria-activedescendant')") == f"place{ROWS - 1}"
    view.send_keys(Keys.ENTER)
    assert browser.run("return document.querySelector('dialog').open")
    assert f"{ROWS}, catalog.csv" in browser.run("return document.querySelector('dialog').innerText")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.until("return !document.querySelector('dialog').open")


def test_light_and_dark(browser: Browser, page: Path) -> None:
    """The page is as the system is, until it is told otherwise, which it remembers."""
    light, dark = "rgb(245, 245, 242)", "rgb(15, 16, 19)"
    colour = "return getComputedStyle(document.body).backgroundColor"
    for is_dark, before, after in ((False, light, dark), (True, dark, light)):
        browser.show(page, dark=is_dark)
        browser.run("localStorage.clear()")
        browser.show(page, dark=is_dark)
        assert browser.run(colour) == before
        click(browser, "#theme")
        assert browser.run(colour) == after
        browser.show(page, dark=is_dark)
        assert browser.run(colour) == after
    browser.run("localStorage.clear()")


def test_a_video_plays_in_its_place(browser: Browser, page: Path) -> None:
    """A click on a still plays the file, whatever its name; a second one stops the first."""
    browser.show(page)
    click(browser, "[data-state=downloaded]")
    browser.run("document.getElementById('tracks').scrollIntoView()")
    assert browser.until("return document.querySelector('.tile img')?.naturalWidth") == 320
    for place in (0, 1):
        browser.run(f"document.querySelector('#place{place} .play').click()")
        browser.until(f"return document.querySelector('#place{place} video[controls]')?.currentTime > 0")
    assert browser.run("return document.querySelector('#place0 video').paused")
    assert browser.run("return document.querySelector('#place1 video').currentSrc").endswith("/a%3Fb%20%231.mp4")


def test_a_video_without_a_still(browser: Browser, page: Path) -> None:
    """Where the page has no still the browser shows a frame a third into the file."""
    browser.show(page)
    browser.run("scrollTo(0, document.documentElement.scrollHeight / 2)")
    seconds = browser.until("const one = document.querySelector('.tile video'); return one && one.currentTime")
    assert abs(seconds - 4 / 3) < 0.2
    assert browser.run("return document.querySelector('.tile video').paused")


def test_charts(browser: Browser, page: Path) -> None:
    """The time line has bars, a line and the limit, the distribution its median; both fill their place."""
    for width in (1280, 390):
        browser.show(page, width=width)
        for name, parts in (("line", [".sent", ".ended", ".limit"]), ("spread", [".bin", ".mark1"])):
            for part in parts:
                assert browser.run(f"return document.querySelectorAll('#{name} svg {part}').length") > 0
            wide, there = browser.run(
                f"const box = document.getElementById('{name}');"
                "return [box.firstChild.getBoundingClientRect().width, box.clientWidth]"
            )
            assert abs(wide - there) < 1


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_is_too_small(browser: Browser, page: Path, width: int) -> None:
    """Nothing has to be scrolled sideways, in both views and with a row's facts open."""
    browser.show(page, width=width)
    for view in ("gallery", "list"):
        click(browser, f"[data-view={view}]")
        browser.run("document.getElementById('tracks').scrollIntoView()")
        browser.until("return document.querySelectorAll('.tile, .line').length > 0")
        assert browser.run("return document.documentElement.scrollWidth") <= width
    click(browser, ".line")
    assert browser.run("return document.querySelector('dialog').getBoundingClientRect().right") <= width


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_everyone_can_use_it(browser: Browser, page: Path, width: int, dark: bool) -> None:
    """axe-core finds nothing, in both views and with a row's facts open."""
    browser.show(page, width=width, dark=dark)
    for view, item in (("gallery", ".tile"), ("list", ".line")):
        click(browser, f"[data-view={view}]")
        browser.run("document.getElementById('tracks').scrollIntoView()")
        browser.until(f"return document.querySelectorAll('{item}').length > 0")
        assert browser.violations() == []
    click(browser, ".line")
    assert browser.violations() == []


def test_a_watched_report_follows_its_file(browser: Browser, tmp_path: Path) -> None:
    """The page loads itself again, with search and view as they were, until the last version of it is there."""
    ledger = tmp_path / "catalog.ledger.db"
    lived_in(ledger, 5)
    watched = Watched(ledger)
    watched.write(refresh=0.3)
    browser.show(watched.page)
    click(browser, "[data-view=list]")
    browser.run(
        "window.same = true; window.setTimeout = () => 0;"  # what is typed is read a moment later, and never here
        "const box = document.querySelector('input[type=search]'); box.value = 'catalog.csv';"
        "box.dispatchEvent(new Event('input'))"
    )
    watched.write(refresh=0.3)
    browser.until("return window.same === undefined && document.documentElement.dataset.ready !== undefined")
    assert browser.run("return document.querySelector('input[type=search]').value") == "catalog.csv"
    assert browser.run("return document.querySelector('[data-view=list]').ariaPressed") == "true"
    # Even where it is on its way out: so this page is paused from its beginning.
    browser.run("addEventListener('pagehide', () => document.querySelector('.live').click(), true)")
    browser.until("return document.querySelector('.live')?.textContent === 'Paused'")
    browser.run("window.same = true")
    watched.write(refresh=None)
    assert browser.driver.execute_async_script("setTimeout(arguments[0], 900, window.same)")
    click(browser, ".live")
    browser.until("return window.same === undefined && document.documentElement.dataset.ready !== undefined")
    assert browser.run("return document.querySelector('.live')") is None


def test_on_paper(browser: Browser, page: Path) -> None:
    """A print has the first rows as a list, one below the other, and says how many more there are."""
    browser.show(page)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run("return document.querySelectorAll('.line').length") == 200
    assert browser.run("return document.querySelector('.view').innerText").endswith(f"and {ROWS - 200:,} more")
    browser.run("dispatchEvent(new Event('afterprint'))")
    assert browser.run("return document.querySelectorAll('.line').length") == 0


def test_without_a_script(browser: Browser, page: Path) -> None:
    """Where scripts are off, totals, unknown rows, failures and their commands are read all the same."""
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.driver.get(page.as_uri())
        text = browser.driver.find_element("tag name", "body").text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    for words in (
        "videos are made",
        "may have been paid for",
        "suno-video unknown adopt",
        "--retry-failed 1",
        "need JavaScript",
    ):
        assert words in text


HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>\u2028\u202e{{data}}"


def test_what_others_wrote_stays_text(browser: Browser, tmp_path: Path) -> None:
    """A title, an error or a catalog's name that is HTML is shown as it is written, in every part of the page."""
    ledger = opened(tmp_path / "catalog.ledger.db")
    for n in range(3):
        row = ledger.claim(track(f"s{n}", title=HOSTILE, **{HOSTILE: HOSTILE}), location=HOSTILE).row
        ledger.begin_attempt(row.id, nonce=str(n), at=1.0, reserve=0, budget=None)
        ledger.move(
            row.id,
            Transition(
                state=State.UNKNOWN if n else State.REFUSED, error=RowError("E", 1, HOSTILE), url="javascript:1"
            ),
        )
    ledger.close()
    assert run(["report", str(tmp_path / "catalog.ledger.db"), "--json"]) == 0
    browser.show(tmp_path / "catalog.report.html")
    for view in ("list", "gallery"):
        click(browser, f"[data-view={view}]")
        browser.run("document.getElementById('tracks').scrollIntoView()")
        browser.until("return document.querySelectorAll('.tile, .line').length === 3")
        click(browser, ".about, .line")
        shown = browser.run("return document.querySelector('dialog h2').textContent")
        assert shown == HOSTILE
        browser.run("document.querySelector('dialog').close()")
    assert browser.run("return window.broken") is None
    assert browser.run("return document.querySelectorAll('img').length") == 0
    assert browser.run("return [...document.links].map(link => link.protocol)") == ["file:"]


def test_nothing_is_asked_of_any_server(started: Browser, page: Path) -> None:
    """The page fetches nothing, and could not: its policy stops a request before it leaves."""
    browser = started
    browser.show(page)
    fetched = browser.run("return performance.getEntriesByType('resource').map(one => one.name)")
    assert [name for name in fetched if not name.startswith(("data:", "file:"))] == []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/"
        stopped: Any = browser.driver.execute_async_script(
            "const done = arguments[1];"
            "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
            "fetch(arguments[0]).catch(() => undefined)",
            address,
        )
        assert stopped == "connect-src"
        with pytest.raises(TimeoutError):
            server.accept()
    browser.said()


def test_an_empty_ledger(browser: Browser, tmp_path: Path) -> None:
    """A ledger without rows, and one without videos, are pages without errors."""
    ledger = opened(tmp_path / "catalog.ledger.db")
    ledger.close()
    assert run(["report", str(tmp_path / "catalog.ledger.db"), "--json"]) == 0
    browser.show(tmp_path / "catalog.report.html")
    assert "The ledger has no rows yet." in browser.run("return document.body.innerText")
    ledger = opened(tmp_path / "catalog.ledger.db")
    for n, state in enumerate(State):
        row_in(ledger, state, f"s{n}")
    ledger.close()
    assert run(["report", str(tmp_path / "catalog.ledger.db"), "--json"]) == 0
    browser.show(tmp_path / "catalog.report.html")
    listed(browser)
    assert len(lines(browser)) == len(State)
