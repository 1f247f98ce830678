"""The browser that all tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.browser.chromium import Browser


@pytest.fixture(scope="session")
def started() -> Iterator[Browser]:
    """Return a browser, which all tests share."""
    from tests.browser.chromium import Browser, chromium  # noqa: PLC0415  only this session has it installed

    with chromium() as driver:
        yield Browser(driver)


@pytest.fixture
def browser(started: Browser) -> Iterator[Browser]:
    """Return the browser; whatever a page complains about fails its test."""
    started.said()
    yield started
    assert started.said() == []
