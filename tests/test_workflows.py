"""The workflow files run the gates that there are, with actions that nobody can change behind our back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
USES = re.compile(r"^\s*(?:- )?uses:\s*(.*)$", re.MULTILINE)


def uses() -> list[str]:
    """Return every `uses:` of the workflows."""
    return [found for path in WORKFLOWS for found in USES.findall(path.read_text(encoding="utf-8"))]


def test_there_are_actions_to_look_at() -> None:
    """The pattern finds what the files have."""
    lines = [line for path in WORKFLOWS for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(uses()) == sum("uses:" in line for line in lines) >= 5


@pytest.mark.parametrize("action", sorted(set(uses())))
def test_every_action_is_pinned(action: str) -> None:
    """A foreign action is named by a whole commit, with its version beside it for people."""
    assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nothing_is_allowed_by_default(path: Path) -> None:
    """A workflow begins with no permissions; each job asks for its own, and ends after some minutes."""
    text = path.read_text(encoding="utf-8")
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    jobs = re.split(r"^  [\w-]+:\n", text.partition("\njobs:\n")[2], flags=re.MULTILINE)[1:]
    assert jobs
    for job in jobs:
        assert "    permissions:" in job
        assert "    timeout-minutes:" in job or "    uses: ./" in job


def test_every_gate_has_its_job() -> None:
    """What `nox` runs by default is what the workflow runs, on every Python that the noxfile names."""
    noxfile = (ROOT / "noxfile.py").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (gates,) = re.findall(r"^nox\.options\.sessions = \[(.*)\]$", noxfile, re.MULTILINE)
    (sessions,) = re.findall(r"session: \[(.*)\]", workflow)
    (pythons,) = re.findall(r"^PYTHONS = \[(.*)\]$", noxfile, re.MULTILINE)
    assert {*sessions.split(", "), "tests"} == set(gates.replace('"', "").split(", "))
    assert f"python: [{pythons}]" in workflow
