"""Facts about a machine's file systems and its current boot."""

from __future__ import annotations

import platform
import time
from pathlib import Path

#: File systems whose locks and syncs cannot be trusted across machines.
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "fuse.sshfs"})


def network_file_system(path: Path, mounts: str = "/proc/self/mounts") -> str | None:
    """Return the kind of network file system that `path` is on, as far as this system tells."""
    try:
        table = Path(mounts).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    resolved, best = str(path.resolve()), ("", "")
    for line in table.splitlines():
        _, point, kind, *_ = [*line.split(" "), "", "", ""]
        point = point.replace("\\040", " ")
        if (resolved + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1] if best[1] in _NETWORK else None


def boot_id() -> str:
    """Return an id of the machine's current boot; monotonic times of different boots are not comparable."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        # Rounded, since the wall clock is set now and then; a mistake costs one period.
        return f"{platform.node()} {round((time.time() - time.monotonic()) / 600)}"
