"""The page on the architecture names what is there, and its picture shows the imports as they are."""

from __future__ import annotations

import pkgutil
import re
import runpy
from pathlib import Path

import pytest

from tests.docs.examples import ROOT

PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "suno_video_async"
NAMES = sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", PAGE)))
PATHS = sorted({path for path in re.findall(r"`([\w./-]+)`", PAGE) if re.search(r"/|\.(py|md)$", path)})


def test_the_picture_is_of_these_imports() -> None:
    """After an import has moved, it is drawn again: `python docs/make_layers.py`."""
    script = runpy.run_path(str(ROOT / "docs" / "make_layers.py"))
    assert Path(script["PICTURE"]).read_text(encoding="utf-8") == script["draw"]()


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith((".py", ".md", ".toml"))])
def test_a_named_function_exists(name: str) -> None:
    """A dotted name is one of the package."""
    root = "" if name.startswith(PACKAGE.name) else f"{PACKAGE.name}."
    assert pkgutil.resolve_name(root + name)


@pytest.mark.parametrize("path", PATHS)
def test_a_named_path_exists(path: str) -> None:
    """A path is one of the package, or of one of its folders that the same line names, or of the repository."""
    line = next(line for line in PAGE.splitlines() if f"`{path}`" in line)
    folders = [PACKAGE / folder for folder in re.findall(r"`(\w+)/`", line)]
    assert any((folder / path).exists() for folder in (PACKAGE, ROOT, *folders))
