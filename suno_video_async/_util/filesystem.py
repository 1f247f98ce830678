"""Facts about a machine's file systems and its current boot."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path

#: File systems whose locks and syncs cannot be trusted across machines, or between a virtual machine and its host.
_SHARED = frozenset(
    {
        *("9p", "acfs", "afpfs", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "drvfs", "fakeowner", "fuse"),
        *("gfs2", "glusterfs", "gpfs", "grpcfuse", "lustre", "mvfs", "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs"),
        *("osxfs", "panfs", "prl_fs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs"),
    }
)
#: What runs in user space is mostly the network; these keep their files on a local disk.
_LOCAL_FUSE = frozenset(
    f"fuse.{name}" for name in ("bindfs", "cryfs", "encfs", "fuse-overlayfs", "gocryptfs", "mergerfs")
)
_MOUNTS = "/proc/self/mounts"
#: How that table writes spaces, tabs, newlines and backslashes.
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def network_file_system(path: Path, mounts: str = _MOUNTS) -> str | None:
    """Return the kind of network file system that `path` is on, as far as this system tells."""
    resolved, best = str(path.resolve()), ("", "")
    for point, kind in _mounted(mounts):
        if (resolved + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, kind)
    shared = best[1] in _SHARED or (best[1].startswith("fuse.") and best[1] not in _LOCAL_FUSE)
    return best[1] if shared else None


def is_mount_point(path: Path, mounts: str = _MOUNTS) -> bool:
    """Whether something is mounted exactly on `path`, such as a single file in a container."""
    resolved = str(path.resolve())
    return any(point == resolved for point, _ in _mounted(mounts))


def _mounted(mounts: str) -> Iterator[tuple[str, str]]:
    """Yield the points and kinds of what is mounted, in order; nothing where this system does not tell."""
    try:
        table = Path(mounts).read_bytes()  # a name is bytes, and some of them end a line of text
    except OSError:
        return
    for line in table.split(b"\n"):
        _, point, kind, *_ = [*line.split(b" "), b"", b"", b""]
        name = _ESCAPED.sub(lambda code: bytes([int(code[1], 8) & 0xFF]), point)
        yield os.fsdecode(name), os.fsdecode(kind)


def boot_id() -> str:
    """Return an id of the machine's current boot; monotonic times of different boots are not comparable."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # Rounded, since the wall clock is set now and then; a mistake costs one period.
        return f"{platform.node()} {round((time.time() - time.monotonic()) / 600)}"


def file_uri(path: Path) -> str:
    """Return a path as a URI, from the current folder where it is relative."""
    return path.absolute().as_uri()


def create_private(path: Path) -> None:
    """Make sure that a file exists; a new one is readable and writable for its owner alone, whatever the umask.

    Raises:
        OSError: it does not exist and cannot be created.

    """
    try:
        descriptor = private(str(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return
    os.close(descriptor)


def private(path: str, flags: int) -> int:
    """Open a new file for its owner alone, as an opener for `open`."""
    descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)
    return descriptor


def private_if_new(path: str, flags: int) -> int:
    """Open a file, as an opener for `open`: a new one for its owner alone, another with the mode that it has."""
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o600)
