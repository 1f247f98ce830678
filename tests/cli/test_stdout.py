"""A stdout that takes no more: a full disk, or a reader that has left."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import pytest

from suno_video_async.cli.output import Output
from tests.cli.conftest import Home

FULL = "suno-video: stdout or a file cannot be written: No space left on device\n"


class Stdout(io.StringIO):
    """Takes some lines, then none."""

    def __init__(self, error: OSError, lines: int = 1) -> None:
        super().__init__()
        self._error, self._left = error, lines

    def write(self, text: str) -> int:
        if not self._left:
            raise self._error
        self._left -= 1
        return super().write(text)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--help"], ["completion", "bash"], ["doctor", "--offline"]])
def test_a_full_disk_is_an_error_in_one_line(home: Home, arguments: list[str]) -> None:
    """What stdout cannot take is reported as that, and not as a defect of the program."""
    with open("/dev/full", "w") as full:  # noqa: PTH123
        command = home.child_arguments(*arguments)
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=home.folder)
    assert (ran.returncode, ran.stderr) == (1, FULL)


def test_a_reader_that_left_does_not_change_the_exit_code(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """`suno-video doctor | head -1` says nothing on stderr, and ends as without `head`."""
    expected = home.run("doctor", "--offline").code
    monkeypatch.setattr(sys, "stdout", Stdout(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    ran = home.run("doctor", "--offline")
    assert (ran.code, ran.err) == (expected, "")


def test_what_was_bought_follows_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results of a command that buys are not lost with their reader."""
    monkeypatch.setattr(sys, "stdout", Stdout(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    output = Output(as_json=True)
    output.keeps = True
    for number in range(3):
        output.result({"number": number}, human=lambda: None)
    assert capsys.readouterr().err.splitlines() == [
        "stdout cannot be written (Broken pipe): the remaining results follow here",
        '{"number": 1}',
        '{"number": 2}',
    ]
    assert output.gone


def test_a_csv_file_on_a_full_disk_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that does not fit is not silently cut off."""
    monkeypatch.setattr(sys, "stdout", Stdout(OSError(errno.ENOSPC, "No space left on device"), 0))
    with pytest.raises(OSError, match="No space left"):
        Output(as_json=True).text("a,b\n")
