"""What a power cut cannot take back: the order of syncs and sends, as the system calls show it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import frozen

import suno_video_async
from tests.cli.serving import served
from tests.support.keys import KEY
from tests.support.processes import PATIENCE

ROOT = Path(suno_video_async.__file__).parent.parent
STRACE = shutil.which("strace")
WATCHED = "trace=fsync,fdatasync,pwrite64,connect,sendto,sendmsg,write,rename,renameat,renameat2,link,linkat"


def _why_not() -> str | None:
    if sys.platform != "linux" or STRACE is None:
        return "needs strace, on Linux"
    tried = subprocess.run([STRACE, "-o", "/dev/null", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "strace may not trace here"


@frozen
class Call:
    """One system call: its name, and its arguments and result as strace prints them."""

    name: str
    said: str


def read_calls(trace: str) -> Sequence[Call]:
    """Return the calls in order: a sync stands where it was over, everything else where it began."""
    calls, begun = list[Call](), dict[tuple[str, str], str]()
    for line in trace.splitlines():
        pid, _, rest = line.partition(" ")
        if again := re.match(r"<\.\.\. (\w+) resumed>(.*)", rest.strip()):
            name = again[1]
            said = begun.pop((pid, name), "") + again[2]
            if name in {"fsync", "fdatasync"}:
                calls.append(Call(name, said))
        elif call := re.match(r"(\w+)\((.*)", rest.strip()):
            if call[2].endswith("<unfinished ...>"):
                begun[pid, call[1]] = call[2]
            if not call[2].endswith("<unfinished ...>") or call[1] not in {"fsync", "fdatasync"}:
                calls.append(Call(call[1], call[2]))
    return calls


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Call]:
    """Return the calls of a process that buys one video and downloads it."""
    if (reason := _why_not()) is not None:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("power")
    trace = folder / "trace"
    with served() as server:
        watched = [STRACE or "", "-f", "-y", "-s", "9000", "-e", WATCHED, "-o", str(trace)]
        places = [str(folder / "l.db"), str(folder / "videos")]
        done = subprocess.run(
            [*watched, sys.executable, "-m", "tests.ledger.one_submission", server.url, KEY, *places],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert done.stdout == "['downloaded']\n", done.stderr
    return read_calls(trace.read_text(errors="replace"))


def index(calls: Sequence[Call], pattern: str, *, after: int = -1) -> int:
    """Return where the first call after `after` is that matches."""
    found = (
        n
        for n, call in enumerate(calls)
        if n > after and re.search(pattern, f"{call.name} {call.said}", re.DOTALL)
    )
    return next(found)


def is_synced(calls: Sequence[Call], end: int) -> bool:
    """Whether every write to the ledger's log before `end` was synced before it."""
    log = [n for n, call in enumerate(calls[:end]) if "l.db-wal>" in call.said]
    return calls[log[-1]].name in {"fsync", "fdatasync"} and calls[log[-1]].said.endswith("= 0")


def test_submitting_is_on_disk_before_a_byte_leaves(calls: Sequence[Call]) -> None:
    """That a row is being submitted is written and synced first; only a free question goes before it."""
    written = index(calls, r"pwrite64 .*l\.db-wal>.*submitting")
    synced = index(calls, r"f(data)?sync .*l\.db-wal>", after=written)
    asked = index(calls, "(sendto|sendmsg|write) .*GET .*balance")
    sent = index(calls, "(sendto|sendmsg|write) .*POST .*CreateTask")
    assert asked < written < synced < sent
    assert is_synced(calls, sent)


def test_submitted_is_on_disk_before_the_task_is_followed(calls: Sequence[Call]) -> None:
    """The task's id is written and synced before anything else is asked of the service."""
    sent = index(calls, "(sendto|sendmsg|write) .*POST .*CreateTask")
    written = index(calls, r"pwrite64 .*l\.db-wal>.*submitted", after=sent)
    synced = index(calls, r"f(data)?sync .*l\.db-wal>", after=written)
    asked = index(calls, "(sendto|sendmsg|write) .*GET .*TaskInfo")
    assert sent < written < synced < asked


def test_a_video_is_on_disk_before_it_has_its_name(calls: Sequence[Call]) -> None:
    """The file is synced under its temporary name, then gets its own, then is written down."""
    synced = index(calls, r"fsync .*s1\.mp4\.part>")
    renamed = index(calls, r"(rename|link)\w* .*s1\.mp4\.part")
    written = index(calls, r"pwrite64 .*l\.db-wal>.*downloaded", after=renamed)
    assert synced < renamed < written


def test_the_name_is_on_disk_before_it_is_written_down(calls: Sequence[Call]) -> None:
    """The folder is synced after the renaming, or a power cut leaves a row `downloaded` without its file."""
    renamed = index(calls, r"(rename|link)\w* .*s1\.mp4\.part")
    synced = index(calls, r"fsync \d+<[^>]*/videos>", after=renamed)
    assert synced < index(calls, r"pwrite64 .*l\.db-wal>.*downloaded", after=renamed)
