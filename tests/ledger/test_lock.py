"""One writer at a time, over processes and names of the file, and local disks only."""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import suno_video_async.ledger.files as files_module
import suno_video_async.ledger.lock as lock_module
from suno_video_async._util.filesystem import is_mount_point, network_file_system
from suno_video_async.errors import LedgerError
from suno_video_async.ledger.lock import WriterLock, held_by, let_go_in_child
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from tests.ledger.support import opened, row_in

ROOT = Path(lock_module.__file__).parents[2]


@contextmanager
def holder(path: Path) -> Generator[subprocess.Popen[str], None, None]:
    """Let another process write a ledger."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.holder", str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_until_the_first_is_gone(path: Path) -> None:
    """A second writer is told who writes, by process and host, and may write once that one was killed."""
    with holder(path) as first:
        with pytest.raises(LedgerError, match=f"written by process {first.pid} on {platform.node()}: wait for it"):
            opened(path)
        first.kill()
        first.wait()
        opened(path).close()


def test_a_second_ledger_of_the_same_process_is_refused(path: Path) -> None:
    """Two runs within one process are two writers too."""
    first = opened(path)
    with pytest.raises(LedgerError, match=f"written by process {os.getpid()} on "):
        opened(path)
    row_in(first, State.DOWNLOADED)
    first.close()
    opened(path).close()


def test_one_run_at_a_time(ledger: SqliteLedger) -> None:
    """A ledger object that is open is not opened again, and stays open."""
    with pytest.raises(LedgerError, match="in use: one run at a time"):
        ledger.open(provider="p", fingerprint="f")
    assert repr(ledger).endswith("catalog.db open>")
    row_in(ledger, State.DOWNLOADED)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', "\u20ac" * 400])
def test_a_holder_that_left_no_name(path: Path, text: str) -> None:
    """Whatever stands in the lock file, a second writer is refused in words."""
    first = WriterLock(path)
    first.acquire()
    first.path.write_text(text, encoding="utf-8")
    with pytest.raises(LedgerError, match="is being written by another process"):
        WriterLock(path).acquire()
    first.release()
    first.release()  # harmless
    WriterLock(path).acquire()


def test_a_second_name_of_the_file_is_no_second_ledger(path: Path, ledger: SqliteLedger) -> None:
    """A symbolic link to a ledger that is being written is refused like the ledger itself."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    second = SqliteLedger(link)
    try:
        with pytest.raises(LedgerError, match="is being written"):
            second.open(provider="https://api.example.test", fingerprint="0123456789abcdef")
    finally:
        second.close()


def test_a_full_disk_under_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is too full for the lock's few bytes is an error in words, and the lock is let go."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "truncate", full)
        with pytest.raises(LedgerError, match="No space left"):
            opened(path)
    opened(path).close()


# Network file systems

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/me/local\\040disk ext4 rw 0 0
//server/share /srv/my\\040share cifs rw 0 0
me@host: /mnt/far fuse.sshfs rw 0 0
broken

"""


@pytest.fixture
def mounts(tmp_path: Path) -> str:
    """Return the path of a table of mounts."""
    table = tmp_path / "mounts"
    table.write_text(MOUNTS)
    return str(table)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", None),
        ("/var/lib", None),
        ("/home", "nfs4"),
        ("/home/me", "nfs4"),
        ("/home/me/local disk/music", None),
        ("/homework", None),
        ("/srv/my share/deep/er", "cifs"),
        ("/srv", None),
        ("/mnt/far/x", "fuse.sshfs"),
    ],
)
def test_network_file_systems_are_known(mounts: str, folder: str, kind: str | None) -> None:
    """The innermost mount decides, whole folder names count, and spaces in them are read."""
    assert network_file_system(Path(folder), mounts) == kind


@pytest.mark.parametrize(
    "kind",
    [
        *("fuse", "fuse.rclone", "fuse.s3fs", "fuse.x", "virtiofs", "lustre", "9p", "vboxsf", "davfs", "ceph"),
        *("afpfs", "glusterfs", "panfs", "wekafs", "grpcfuse", "smb3"),
    ],
)
def test_file_systems_that_others_write(tmp_path: Path, kind: str) -> None:
    """What runs over a network, or between a machine and its host, is refused by every name that it has."""
    table = tmp_path / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nx /mnt/work {kind} rw 0 0\n")
    assert network_file_system(Path("/mnt/work"), str(table)) == kind


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (rb"a\040b\011c\012d\134e\043f", b"a b\tc\nd\\e#f"),
        ("Müller\u2028\x0b\x0c\x1c\x85".encode(), "Müller\u2028\x0b\x0c\x1c\x85".encode()),
        (b"caf\xe9", b"caf\xe9"),
        (rb"\134040", rb"\040"),
    ],
)
def test_mount_points_with_odd_names(tmp_path: Path, written: bytes, name: bytes) -> None:
    """Escaped, separated as Unicode sees it, or not UTF-8: a name is found as the system has it."""
    table = tmp_path / "mounts"
    table.write_bytes(b"/dev/vda / ext4 rw 0 0\nx /mnt/" + written + b" lustre rw 0 0\ny /mnt/z ext4 rw 0 0\n")
    folder = Path(os.fsdecode(b"/mnt/" + name))
    assert network_file_system(folder / "deeper", str(table)) == "lustre"
    assert is_mount_point(folder, str(table))
    assert network_file_system(Path("/mnt/z"), str(table)) is None


@pytest.mark.parametrize("kind", ["ext4", "btrfs", "zfs", "overlay", "tmpfs", "fuseblk", "fuse.gocryptfs"])
def test_local_file_systems(tmp_path: Path, kind: str) -> None:
    """A local disk is taken, encrypted in user space or not."""
    table = tmp_path / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nx /mnt/work {kind} rw 0 0\n")
    assert network_file_system(Path("/mnt/work"), str(table)) is None


def test_mount_points(mounts: str) -> None:
    """A path is a mount point only as a whole, and with the spaces that it has."""
    assert is_mount_point(Path("/home/me/local disk"), mounts)
    assert not is_mount_point(Path("/home/me"), mounts)
    assert not is_mount_point(Path("/home/me"), mounts + "-none")


def test_no_table_of_mounts(tmp_path: Path) -> None:
    """Where the system does not tell, nothing is refused."""
    assert network_file_system(tmp_path, str(tmp_path / "none")) is None
    (tmp_path / "empty").touch()
    assert network_file_system(tmp_path, str(tmp_path / "empty")) is None


def test_a_ledger_on_a_network_file_system_is_refused(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that would be on NFS is refused before a file is made there."""
    table = tmp_path / "mounts"
    table.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {tmp_path} nfs rw 0 0\n")
    found = functools.partial(network_file_system, mounts=str(table))
    monkeypatch.setattr(files_module, "network_file_system", found)
    with pytest.raises(LedgerError, match=r"on a network file system \(nfs\): use a local disk"):
        opened(path)
    assert list(tmp_path.iterdir()) == [table]


# Windows


@contextmanager
def windows(monkeypatch: pytest.MonkeyPatch, *, held: bool) -> Generator[tuple[ModuleType, list[Any]], None, None]:
    """Load the lock as Windows would, over a fake of what locks there."""
    calls = list[Any]()

    def locking(descriptor: int, mode: str, length: int) -> None:
        calls.append((mode, os.lseek(descriptor, 0, os.SEEK_CUR), length))
        if held:
            raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        patch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK="LK_NBLCK"))
        patch.delattr(os, "pwrite", raising=False)
        spec = importlib.util.spec_from_file_location("windows_lock", lock_module.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module, calls


def test_the_lock_on_windows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There one byte far behind the holder's name is locked, so that others can read who it is."""
    with windows(monkeypatch, held=False) as (module, calls):
        lock = module.WriterLock(path)
        lock.acquire()
        lock.release()
    assert calls == [("LK_NBLCK", 1 << 20, 1)]
    assert f'"pid": {os.getpid()}' in lock.path.read_text()


def test_the_holder_on_windows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There too a second writer is told who writes."""
    first = WriterLock(path)
    first.acquire()
    with (
        windows(monkeypatch, held=True) as (module, _),
        pytest.raises(LedgerError, match=f"process {os.getpid()} on"),
    ):
        module.WriterLock(path).acquire()
    first.release()


def test_who_holds_a_ledger(tmp_path: Path) -> None:
    """It is said without taking the lock and without making its file; nobody holds what nobody has opened."""
    path = tmp_path / "l.db"
    assert held_by(path) is None
    assert list(tmp_path.iterdir()) == []
    lock = WriterLock(path)
    lock.acquire()
    assert held_by(path) == f"process {os.getpid()} on {platform.node()}"
    lock.release()
    assert held_by(path) is None
    lock.acquire()  # looking has left it free
    lock.release()


def test_a_child_keeps_no_lock(tmp_path: Path) -> None:
    """What a fork runs in the child gives all locks back: the child may outlive its parent."""
    path = tmp_path / "l.db"
    lock = WriterLock(path)
    lock.acquire()
    let_go_in_child()
    assert held_by(path) is None
    lock.release()  # once more, which is harmless
