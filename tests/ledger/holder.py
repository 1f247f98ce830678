"""A process that holds a ledger open for writing until it is told to leave, or killed."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.ledger.support import opened

if __name__ == "__main__":
    held = opened(Path(sys.argv[1]))
    print("open", flush=True)
    sys.stdin.read()
    held.close()
