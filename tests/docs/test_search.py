"""Words that people search for lead to the page that answers them."""

from __future__ import annotations

import re

import pytest

from tests.docs.examples import ROOT


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("webhook", "how-to/callbacks.md"),
        ("excel", "how-to/tables.md"),
        ("pandas", "how-to/tables.md"),
        ("docker", "how-to/installation.md"),
        ("concurrent", "how-to/convert-a-catalog.md"),
        ("cron", "how-to/scheduled.md"),
        ("pipx", "how-to/installation.md"),
        ("fastapi", "how-to/fastapi.md"),
    ],
)
def test_a_word_is_on_its_page(word: str, page: str) -> None:
    """The search of the documentation, which knows titles and text, finds it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    headings = " ".join(re.findall(r"^#+ (.*)$", text, re.MULTILINE)).lower()
    assert word in (text.lower() if word == "pipx" else headings)
