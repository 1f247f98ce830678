"""The workflow files run the gates that there are, with actions that nobody can change behind our back."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

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


def test_a_release_has_the_notes_of_its_version(tmp_path: Path) -> None:
    """The notes are what the changelog says of the version, and of no other."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\s+(awk .*)$", text, re.MULTILINE)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [0.10.0]\nnew\n\n## [0.1.0] - 2026\nfirst\n\n## [0.0.1]\nold\n"
    )
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env={**os.environ, "TAG": "v0.1.0"}, check=True)
    assert (tmp_path / "notes.md").read_text().strip() == "first"


def test_a_link_of_the_package_index_leads_somewhere() -> None:
    """Each link of the README becomes a whole one, and what it leads to is in the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([^)]+)\)", text)
    for rule in project["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    found = re.findall(r"\]\(([^)]+)\)", text)
    assert len(found) == len(linked) > 5
    assert all(link.startswith("https://") for link in found)
    assert all((ROOT / link.partition("#")[0]).exists() for link in linked if not link.startswith("https://"))


# What builds a release


def test_a_release_is_built_by_tools_with_hashes() -> None:
    """Nothing is installed for a release but what is named with its hashes."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    installs = re.findall(r"pip install .*", text)
    assert installs
    assert set(installs) == {"pip install --require-hashes --requirement .github/requirements/release.txt"}
    tools = (ROOT / ".github" / "requirements" / "release.txt").read_text(encoding="utf-8")
    pinned = re.findall(
        r"^([\w.-]+)==\S+(?: ; [^\\]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", tools, re.MULTILINE
    )
    assert len(pinned) == tools.count("==") - tools.count(" == ")
    assert {"build", "hatchling", "nox", "uv"} <= set(pinned)


def test_the_tools_of_the_build_do_for_the_project() -> None:
    """The version of the backend that is pinned is one that pyproject.toml accepts."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tools = (ROOT / ".github" / "requirements" / "release.txt").read_text(encoding="utf-8")
    for requirement in map(Requirement, project["build-system"]["requires"]):
        (version,) = re.findall(rf"^{requirement.name}==(\S+)", tools, re.MULTILINE)
        assert version in requirement.specifier


def test_what_is_published_was_tried_elsewhere() -> None:
    """The dependencies of the trial never meet the folder that is published."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = dict(re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", text.partition("\njobs:\n")[2], re.MULTILINE))
    assert {name for name, job in jobs.items() if "upload-artifact" in job} == {"build"}
    assert "nox --sessions build" in jobs["build"]
    assert "wheel" not in jobs["build"]
    assert "needs: [gates, build, try]" in jobs["publish"]
