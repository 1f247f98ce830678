"""Completion, asked as a shell asks for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT, Home

#: Asks the script's function as bash does on a Tab, for the last of the words.
ASK = """
eval "$(suno-video completion bash)"
complete -p suno-video
for words in "suno-video con" "suno-video submit --dr"; do
    read -r -a COMP_WORDS <<< "$words"
    COMPREPLY=()
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _suno_video_completion suno-video
    printf '%s\\n' "${COMPREPLY[@]}"
done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes(home: Home) -> None:
    """In a real bash the script's function completes verbs and options."""
    command = home.folder / "bin" / "suno-video"
    command.parent.mkdir()
    run = "from suno_video_async.cli import main; main()"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{run}" "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", ASK],
        cwd=home.folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    complete, *found = ran.stdout.splitlines()
    assert "-F _suno_video_completion suno-video" in complete
    assert (found, ran.stderr) == (["convert", "--dry-run"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(home: Home, shell: str) -> None:
    """It names the command and the variable by which the command is asked."""
    ran = home.run("completion", shell)
    assert ran.code == 0
    assert "suno-video" in ran.out
    assert f"_SUNO_VIDEO_COMPLETE={shell}_complete" in ran.out
