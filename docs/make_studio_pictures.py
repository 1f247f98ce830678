"""Makes the pictures of the studio: its page in headless Chromium, over a local server that renders the songs.

Run it in a clone: `python -m docs.make_studio_pictures`; it needs selenium, chromium and chromedriver. It writes
`docs/images/studio-*.jpg`.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image

from suno_video_async.testing import serve
from tests.browser.chromium import Browser, chromium

IMAGES = Path(__file__).parent / "images"
#: Pixels of the rendered videos: they are seen small.
SIZE = (640, 360)
FINISHED = "return document.querySelectorAll('.badge.st-success').length >= arguments[0]"


def picture(browser: Browser, name: str) -> None:
    """Write what the window shows."""
    time.sleep(0.8)  # until covers are there, and what moves has moved
    image = Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())).convert("RGB")
    path = IMAGES / f"studio-{name}.jpg"
    image.save(path, "JPEG", quality=80, optimize=True, progressive=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


def order(browser: Browser, name: str, author: str) -> None:
    """Order what a button with this beginning offers."""
    browser.run("document.querySelector(`button[aria-label^='${arguments[0]}']`).click()", name)
    browser.run("document.querySelector('#order [name=author]').value = arguments[0]", author)
    browser.run("document.getElementById('order-submit').click()")
    browser.until("return !document.getElementById('order').open")


def wait_for(browser: Browser, videos: int) -> None:
    """Return when some videos are finished."""
    while not browser.run(FINISHED, videos):
        time.sleep(1)


def main() -> None:
    """Write the pictures."""
    with serve(time_scale=1, render_seconds="real", size=SIZE, rate=None) as server, chromium() as driver:
        browser = Browser(driver)
        browser.show(f"{server.url}/", height=820)
        browser.until("return document.querySelector('.song') !== null")
        for song in ("Harbour Lights", "Ilhas de Sal", "Паперовий", "Μπλε Πρωί", "Đèn Lồng"):
            order(browser, f"Make a video of {song}", "Nova Quay")
            time.sleep(0.5)
        wait_for(browser, 2)
        browser.run("location.hash = 'library'")
        browser.run("document.querySelector('.song .round').click()")
        browser.until("return document.getElementById('audio').currentTime > 9")
        picture(browser, "library")
        browser.show(f"{server.url}/?#videos", height=820, dark=True)
        browser.until("return document.querySelector('.task .play') !== null")
        browser.run("document.querySelectorAll('.task .play')[0].click()")
        browser.until("return document.querySelector('.task video')?.currentTime > 9")
        picture(browser, "videos")
        browser.show(f"{server.url}/?phone", width=390, height=820)
        browser.until("return document.querySelector('.song') !== null")
        browser.run("document.querySelector('.song .round').click()")
        browser.run("document.getElementById('player-lyrics').click()")
        browser.until("return document.querySelectorAll('.lyric[aria-current]').length > 0")
        picture(browser, "phone")
        driver.get("about:blank")


if __name__ == "__main__":
    main()
