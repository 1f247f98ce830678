"""The studio in a real browser: `nox -s browser`, since it needs Chromium."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from suno_video_async.testing import VideoServer, serve
from tests.lyricvideo.songs import write_sound
from tests.support.held import HeldClock
from tests.support.ports import reserved_port

if TYPE_CHECKING:
    from tests.browser.chromium import Browser

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=alert(1)>{{css}}'\""
SIZES = [
    pytest.param(1280, False, id="light"),
    pytest.param(1280, True, id="dark"),
    pytest.param(390, False, id="390"),
]
#: Opens a part of the page.
PART = "location.hash = arguments[0]"
STATUSES = "return [...document.querySelectorAll('.task .badge')].map(badge => badge.textContent)"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two albums: one of two short songs, and one song whose texts would break out if they could."""
    root = tmp_path_factory.mktemp("library")
    for album, song, title in (
        ("Tides", "one", "Low Water"),
        ("Tides", "two", "High Water"),
        ("Odd", "three", HOSTILE),
    ):
        folder = root / album / song
        folder.mkdir(parents=True)
        write_sound(folder / "audio.wav", 4)
        (folder / "track.toml").write_text(f'title = {json.dumps(title)}\nartist = "Ava"\n')
        (folder / "lyrics.lrc").write_text(f"[00:00.10]First {HOSTILE}\n[00:02.00]Second\n[00:99:99]odd\n")
    return root


@contextmanager
def serving(browser: Browser, library: Path, **options: Any) -> Iterator[VideoServer]:
    """Run a server whose tasks take a minute, by a fast clock; the page is left before the server stops."""
    with serve(**{"time_scale": 20, "library": library, "render_seconds": 60.0, **options}) as server:
        yield server
        browser.driver.get("about:blank")


@pytest.fixture(scope="module")
def rendering(started: Browser, library: Path) -> Iterator[VideoServer]:
    """Run a server that really renders, small pictures."""
    options = {"time_scale": 1, "render_seconds": "real", "size": (160, 96), "rate": None}
    with serving(started, library, **options) as server:
        yield server


@pytest.fixture
def simulating(started: Browser, library: Path) -> Iterator[VideoServer]:
    """Run a server whose tasks take a minute, by a fast clock."""
    with serving(started, library) as server:
        yield server


def opened(browser: Browser, server: VideoServer, part: str = "library", **options: Any) -> None:
    """Open a part of the page in a browser that remembers nothing; a page left before is closed for good."""
    browser.driver.get("about:blank")
    browser.show(f"{server.url}/#{part}", **options)
    browser.until("return document.querySelector('.song') !== null")


def click(browser: Browser, selector: str) -> None:
    """Click what a selector finds, as a person does."""
    from selenium.webdriver.common.by import By  # noqa: PLC0415  only this session has it installed

    browser.until("return document.querySelector(arguments[0]) !== null", selector)
    browser.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
    browser.driver.find_element(By.CSS_SELECTOR, selector).click()


def order(browser: Browser, selector: str = ".song button[aria-label^='Make']", **fields: str) -> None:
    """Order what a button offers."""
    click(browser, selector)
    browser.until("return document.getElementById('order').open")
    for name, value in fields.items():
        browser.run("document.querySelector(`#order [name=${arguments[0]}]`).value = arguments[1]", name, value)
    click(browser, "#order-submit")


def test_a_video_is_ordered_made_and_played(browser: Browser, rendering: VideoServer) -> None:
    """From a song to its playing video, without a reload, and with one charge."""
    opened(browser, rendering)
    browser.run("window.same = true")
    order(browser, author="Nova", brand="Acme")
    browser.until("return document.querySelector('.task .play') !== null")
    assert browser.run(STATUSES) == ["finished"]
    click(browser, ".task .play")
    browser.until("const on = document.querySelector('.task video')?.played; return on?.length && on.end(0) > 0.2")
    video = "const video = document.querySelector('.task video'); return [video.videoWidth, video.videoHeight]"
    assert browser.run(video) == [160, 96]
    assert browser.run("return window.same")
    assert rendering.stats()["charged"] == 1
    name = browser.run("return document.querySelector('.task a[download]').download")
    assert name.endswith(".mp4")
    href = browser.run("return document.querySelector('.task a[download]').href")
    assert (
        browser.run("return fetch(arguments[0]).then((one) => one.headers.get('Content-Type'))", href)
        == "video/mp4"
    )
    rendering.reset()


def test_an_album_is_ordered_within_the_rate_limit(browser: Browser, library: Path) -> None:
    """All songs of an album become videos, which are seen to progress and to end."""
    clock = HeldClock(at_least=100.0)
    with serving(browser, library, clock=clock, render_seconds=200.0) as server:
        opened(browser, server)
        order(browser, ".album[aria-label=Tides] > header button")
        browser.until("return document.querySelectorAll('.task').length === 2")
        browser.until("return document.querySelector('.task progress')?.value > 0.1")
        assert "%" in browser.run("return document.querySelector('.task .took').textContent")
        clock.let_go()
        browser.until(f"return (() => {{ {STATUSES} }})().every(word => word === 'finished')")
        assert browser.run("return document.getElementById('running').hidden")
        assert browser.run("return document.querySelector('[data-state=success]').textContent") == "Finished 2"


def test_what_a_client_buys_is_seen_too(browser: Browser, simulating: VideoServer) -> None:
    """A task of any client appears in an open page; after a reset it is gone."""
    opened(browser, simulating, "videos")
    content = {"model": "suno/music-video", "input": {"task_id": "m9", "suno_id": HOSTILE, "author": HOSTILE[:50]}}
    request = urllib.request.Request(
        f"{simulating.url}/api/v1/client/job/CreateTask",
        data=json.dumps(content).encode(),
        headers={"x-api-key": simulating.api_key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["code"] == 200
    assert browser.until("return document.querySelector('.task b')?.textContent") == HOSTILE
    simulating.reset()
    browser.until("return document.querySelector('.task') === null")


def test_a_refused_order_says_why(browser: Browser, library: Path) -> None:
    """Without credits the dialog comes back with the reason; nothing is ordered twice."""
    with serving(browser, library, credits=2.0) as server:
        opened(browser, server)
        order(browser, ".album[aria-label=Tides] > header button")
        problem = browser.until("return document.getElementById('order-problem').textContent")
        assert problem.startswith("1 video ordered, then: Insufficient Credits")
        assert browser.run("return document.getElementById('order-title').textContent")
        assert server.stats()["charged"] == 1


def test_a_lost_answer_is_not_sent_again(started: Browser, simulating: VideoServer) -> None:
    """If the answer to an order is lost, the page says so, and the task that was made is seen."""
    from suno_video_async.local import Fault  # noqa: PLC0415

    browser = started
    simulating.set_faults(Fault(on="CreateTask", kind="drop-after", calls=(1,)))
    opened(browser, simulating)
    order(browser)
    browser.until("return document.getElementById('said').textContent.includes('the answer was lost')")
    browser.until("return document.querySelectorAll('.task').length === 1")
    assert simulating.stats()["requests"]["CreateTask"] == 1
    browser.said()  # the browser reports the lost answer, too


def test_a_song_plays_with_its_lyrics(browser: Browser, rendering: VideoServer) -> None:
    """A song plays, its lyrics follow it, and what `library check` says of it is there."""
    opened(browser, rendering)
    browser.run("document.getElementById('audio').defaultPlaybackRate = 0.1")  # or a slow test would see its end
    click(browser, ".song .round")
    browser.until("return document.getElementById('audio').currentTime > 0.05")
    assert browser.run("return document.querySelector('.song.on .round').ariaPressed") == "true"
    click(browser, "#player-lyrics")
    browser.until("return document.querySelector('.lyric[aria-current]') !== null")
    text = browser.run("return document.getElementById('lyrics').innerText")
    assert HOSTILE in text
    assert "Warnings" in text
    click(browser, ".lyric[data-start='2']")
    browser.until("return document.getElementById('audio').currentTime >= 2")
    browser.until("return document.querySelector('.lyric[aria-current]').innerText.includes('Second')")


def test_text_stays_text(browser: Browser, rendering: VideoServer) -> None:
    """A title that looks like HTML is shown as it is."""
    opened(browser, rendering)
    assert HOSTILE in browser.run("return [...document.querySelectorAll('.song b')].map(one => one.textContent)")
    assert browser.run("return document.querySelector('img[src=x]')") is None


def test_search(browser: Browser, rendering: VideoServer) -> None:
    """Words find songs by any of their texts; / leads to the search."""
    opened(browser, rendering)
    browser.driver.find_element("tag name", "body").send_keys("/")
    browser.driver.switch_to.active_element.send_keys("water high")
    browser.until("return document.getElementById('found').textContent === '1 of 3 songs'")
    assert browser.run("return document.querySelector('.song b').textContent") == "High Water"


def test_the_page_comes_back_to_a_server_that_was_away(started: Browser, library: Path) -> None:
    """When the server is gone the page says so, and goes on when there is one again."""
    browser = started
    with reserved_port() as port:
        with serve(library=library, render_seconds=60.0, port=port) as server:
            opened(browser, server)
        browser.until("return !document.getElementById('lost').hidden")
        with serving(browser, library, port=port):
            browser.until("return document.getElementById('lost').hidden")
    browser.said()  # the browser reports the failed requests


def test_copies_for_developers(browser: Browser, library: Path) -> None:
    """The key comes only when it is asked for, and goes to the clipboard."""
    with serving(browser, library) as server:
        opened(browser, server, "developers")
        browser.driver.execute_cdp_cmd(
            "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
        )
        assert server.api_key not in browser.run("return document.documentElement.outerHTML")
        for button, expected in (
            ("#copy-key", f"export CRUN_BASE_URL={server.url} CRUN_API_KEY={server.api_key}"),
            ("#copy-catalog", "task_id,suno_id,author,brand,title\n"),
        ):
            browser.run(
                "const [button, texts] = [document.querySelector(arguments[0]), window.texts = []];"
                "new MutationObserver(() => texts.push(button.textContent)).observe(button, {childList: true})",
                button,
            )
            click(browser, button)
            browser.until("return window.texts.includes('Copied')")  # which it says for a moment only
            copied: str = browser.run("return navigator.clipboard.readText()")
            assert copied.startswith(expected)
        assert server.api_key not in browser.run("return document.documentElement.outerHTML")
        browser.until("return document.querySelector('#books .figures') !== null")


@pytest.mark.parametrize(("width", "dark"), SIZES)
def test_everyone_can_use_it(browser: Browser, simulating: VideoServer, width: int, dark: bool) -> None:
    """axe-core finds nothing, and nothing has to be scrolled sideways, in all parts and dialogs."""
    opened(browser, simulating, width=width, dark=dark)
    order(browser)
    click(browser, "#theme")
    click(browser, "#theme")
    for part in ("library", "videos", "developers"):
        browser.run(PART, part)
        browser.until("return !document.getElementById('part-' + arguments[0]).hidden", part)
        if part == "developers":
            browser.until("return document.querySelector('#books table') !== null")
        assert browser.violations() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.run(PART, "library")
    click(browser, ".song .round")
    for button, dialog in (("Lyrics", "lyrics"), ("Make", "order")):
        click(browser, f".song button[aria-label^={button}]")
        browser.until("return document.getElementById(arguments[0]).open", dialog)
        if dialog == "lyrics":
            browser.until("return document.querySelector('.lyric') !== null")
        assert browser.violations() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width
        click(browser, f"#{dialog} .close")


def test_without_a_mouse(browser: Browser, simulating: VideoServer) -> None:
    """From the address bar to an ordered video with Tab, Enter and Escape; the focus comes back from a dialog."""
    from selenium.webdriver.common.keys import Keys  # noqa: PLC0415

    opened(browser, simulating)
    walked = list[str]()

    def focused() -> Any:
        return browser.driver.switch_to.active_element

    browser.driver.find_element("tag name", "body").send_keys(Keys.TAB)
    for _ in range(30):
        walked.append(focused().get_attribute("aria-label") or focused().text or focused().get_attribute("id"))
        if walked[-1].startswith("Make a video of"):
            break
        focused().send_keys(Keys.TAB)
    assert walked[:6] == [
        "Skip to the content",
        "Library",
        "Videos",
        "Developers",
        "Light or dark colours",
        "Search the library",
    ]
    focused().send_keys(Keys.ENTER)
    browser.until("return document.activeElement.name === 'author'")
    focused().send_keys(Keys.ESCAPE)
    browser.until("return !document.getElementById('order').open")
    assert focused().get_attribute("aria-label").startswith("Make a video of")
    focused().send_keys(Keys.ENTER)
    browser.until("return document.activeElement.name === 'author'")
    focused().send_keys("Ava", Keys.ENTER)
    browser.until("return document.querySelectorAll('.task').length === 1")
    assert simulating.tasks()["video"][0]["param"]["input"]["author"] == "Ava"


def test_nothing_breaks_the_policy(browser: Browser, rendering: VideoServer) -> None:
    """What the page does is within its policy, and what it must not do is stopped by it."""
    opened(browser, rendering)
    for part in ("videos", "developers", "library"):
        browser.run(PART, part)
    assert browser.said() == []
    stopped: Any = browser.driver.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective));"
        "const script = document.createElement('script');"
        "try { script.textContent = 'window.broken = 1'; document.head.append(script); }"
        "catch { done('require-trusted-types-for'); }"
    )
    assert stopped in ("script-src-elem", "require-trusted-types-for")
    assert browser.run("return window.broken") is None
    browser.said()
