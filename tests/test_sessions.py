"""The tests that sessions and pages name are there: a renamed one would be left out in silence."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOXFILE = ROOT / "noxfile.py"
EXAMPLE = ROOT / "tests" / "example_project"
PAGES = [ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*/*.md"), *(ROOT / ".github").rglob("*.yml")]


def named_tests() -> Iterator[str]:
    """Yield each test, or folder of tests, that is named somewhere."""
    for node in ast.walk(ast.parse(NOXFILE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("tests/"):
            yield node.value
    mutmut = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    for argument in mutmut["pytest_add_cli_args_test_selection"]:
        yield argument.rpartition("=")[2]
    for page in PAGES:
        yield from re.findall(r"(?<![\w/])tests/[\w./]*\w/?(?:::\w+(?:\[[^\]\s]*\])?)?", page.read_text("utf-8"))


NAMED = sorted({*named_tests()})


@pytest.mark.parametrize("path", sorted({one.partition("::")[0] for one in NAMED}))
def test_every_path_that_is_named_is_there(path: str) -> None:
    """A session would fail or run nothing, and a page would send its reader nowhere."""
    assert (ROOT / path).exists()


def test_every_test_that_is_named_is_collected() -> None:
    """The ids of single tests, with their parameters, are those that pytest knows."""
    wanted = [one for one in NAMED if "::" in one]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(wanted) >= 3
    assert [one for one in wanted if one not in done.stdout] == []


def test_the_example_projects_files_are_there() -> None:
    """All of an application's tests are run against the wheel, each in one mode of pytest-asyncio."""
    tree = ast.parse(NOXFILE.read_text(encoding="utf-8"))
    values = {ast.unparse(node.targets[0]): node.value for node in tree.body if isinstance(node, ast.Assign)}
    modes = ast.literal_eval(values["EXAMPLE_TESTS"])
    assert sorted(modes) == ["auto", "strict"]
    named = sorted(name for files in modes.values() for name in files)
    assert named == sorted(path.name for path in EXAMPLE.glob("test_*.py"))
