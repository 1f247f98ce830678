"""The extra `parquet` alone: a catalog in that format is read."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow
import pyarrow.parquet

from suno_video_async import CatalogFile, Track


def main(path: Path) -> None:
    """Write a catalog and read it."""
    assert find_spec("openpyxl") is None, "another extra is installed: this checks nothing"
    pyarrow.parquet.write_table(pyarrow.table({"task_id": ["music"], "suno_id": ["song"]}), path)
    (row,) = CatalogFile(path).rows()
    assert row.track == Track(task_id="music", suno_id="song"), row
    print("the extra parquet alone: fine")


with tempfile.TemporaryDirectory() as folder:
    main(Path(folder, "c.parquet"))
