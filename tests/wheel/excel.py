"""The extra `excel` alone: a catalog in that format is read."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import openpyxl

from suno_video_async import CatalogFile, Track


def main(path: Path) -> None:
    """Write a catalog and read it."""
    assert find_spec("pyarrow") is None, "another extra is installed: this checks nothing"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (("Task ID", "Suno ID"), ("music", "song")):
        sheet.append(cells)
    book.save(path)
    (row,) = CatalogFile(path).rows()
    assert row.track == Track(task_id="music", suno_id="song"), row
    print("the extra excel alone: fine")


with tempfile.TemporaryDirectory() as folder:
    main(Path(folder, "c.xlsx"))
