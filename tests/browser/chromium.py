"""A headless Chromium of its own for tests and benchmarks."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

#: No display, no sandbox (a container's root has none), nothing that asks the network by itself.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--autoplay-policy=no-user-gesture-required",
)
#: Seconds that a page may need for anything.
PATIENCE = 300


def missing() -> str | None:
    """Return what is not installed, or None."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(absent)}: apt-get install chromium chromium-driver" if absent else None


@cache
def _axe() -> str:
    """Return the script of axe-core; this package brings it, and is not needed for anything else."""
    found = find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        raise RuntimeError("axe-core is missing: pip install --no-deps axe-playwright-python")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


@contextmanager
def chromium(width: int = 1280, height: int = 900) -> Generator[webdriver.Chrome, None, None]:
    """Run a browser without a past."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or ""))
        try:
            driver.set_page_load_timeout(PATIENCE)
            yield driver
        finally:
            driver.quit()


class Browser:
    """One page in a browser, and what a person does with it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def show(self, page: Path | str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file, or a URL, in a window of its own size and wait until it can be used."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(page.resolve().as_uri() if isinstance(page, Path) else page)
        self.until("return document.documentElement.dataset.ready !== undefined")

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: object) -> Any:
        """Run a script until what it returns is true."""
        return WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(script, *arguments)
        )

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong with the page, for people who see, hear or move otherwise."""
        self.run(_axe())
        found: list[str] = self.driver.execute_async_script(
            "const done = arguments[0];"
            "const where = (one) => one.nodes.map((node) => node.target.join(' ')).join(', ');"
            "axe.run(document).then((all) => done(all.violations.map((one) => `${one.id}: ${where(one)}`)),"
            " (why) => done([String(why)]))"
        )
        return found

    def said(self) -> list[dict[str, Any]]:
        """Return what the page's console has heard since it was asked last."""
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]
