"""What the tests of a limit in a file share."""

from __future__ import annotations

from pathlib import Path

import pytest
from blockbuster import BlockBuster


@pytest.fixture
def files_in_place(no_blocking_calls: BlockBuster) -> None:
    """Let `inline` open files: virtual time has no threads."""
    for function in no_blocking_calls.functions.values():
        function.can_block_in("suno_video_async/_util/aio.py", {"inline", "in_place"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file that does not exist yet."""
    return tmp_path / "limit.db"
