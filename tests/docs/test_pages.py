"""Every page can be read as it is: its code fits the column, and what it names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.examples import ROOT

WIDEST = 76
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)")


def name_of(page: Path) -> str:
    """Return a page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbers and texts of the lines in fences; a fence is closed by one that is as long or longer."""
    opened = ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.fullmatch(line)
        if fence and opened and fence[1].startswith(opened) and not fence[2].strip():
            opened = ""
        elif fence and not opened:
            opened = fence[1]
        elif opened:
            yield number, line


def test_code_is_found_in_fences_and_nowhere_else() -> None:
    """A fence in a longer one is code, and what follows the longer one is not."""
    text = "before\n````md\n```sh\nls\n```\n````\nafter\n~~~\n`x`\n~~~\n"
    assert [number for number, _ in code_lines(text)] == [3, 4, 5, 9]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_fits_the_column(page: Path) -> None:
    """The widest line of code still shows without a scroll bar."""
    lines = code_lines(page.read_text(encoding="utf-8"))
    assert [(number, line) for number, line in lines if len(line) > WIDEST] == []
