"""Reading a catalog in each format: rows a second of processor time, and the peak memory of the process.

Each file has the same rows; a third of the authors have letters beyond ASCII, a third a comma.

Usage: python -m benchmarks.reading [--rows 100000]
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from suno_video_async import CatalogFile, Track

FORMATS = ("csv", "jsonl", "json", "xlsx", "parquet")
AUTHORS = ("Ava", "Zoë Bärlund", "Nova Quay, Ltd")


def rows(count: int) -> list[dict[str, str]]:
    """Return the rows of a catalog."""
    chance = random.Random(7)
    return [
        {
            "task_id": f"task_{number // 2:08d}",
            "suno_id": f"suno_{chance.getrandbits(64):016x}",
            "author": chance.choice(AUTHORS),
            "brand": "Acme Records",
            "title": f"Song {number}",
        }
        for number in range(count)
    ]


def write(folder: Path, catalog: Sequence[dict[str, str]]) -> None:
    """Write the rows in every format."""
    import openpyxl  # noqa: PLC0415  the processes that are measured do without what they do not read
    import pyarrow as arrow  # noqa: PLC0415
    import pyarrow.parquet as parquet  # noqa: PLC0415

    with (folder / "catalog.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(catalog[0]))
        writer.writeheader()
        writer.writerows(catalog)
    lines = [json.dumps(row, ensure_ascii=False) for row in catalog]
    (folder / "catalog.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "catalog.json").write_text(f"[{','.join(lines)}]", encoding="utf-8")
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in [list(catalog[0]), *(list(row.values()) for row in catalog)]:
        sheet.append(row)
    book.save(folder / "catalog.xlsx")
    parquet.write_table(arrow.Table.from_pylist(list(catalog)), folder / "catalog.parquet")


def read(path: Path) -> dict[str, float]:
    """Read a catalog in this process, and return what it took."""
    began = time.process_time()
    tracks = sum(isinstance(row.track, Track) for row in CatalogFile(path).rows())
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"tracks": tracks, "rows_per_s": round(tracks / took), "peak_mb": round(peak, 1)}


def main() -> int:
    """Measure every format in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.write is not None:
        write(given.write, rows(given.rows))
        return 0
    if given.read is not None:
        print(json.dumps(read(given.read)))
        return 0
    again = [
        sys.executable,
        "-m",
        "benchmarks.reading",
        "--rows",
        f"{given.rows}",
    ]  # a child's peak begins at ours
    figures, complete = dict[str, dict[str, float]](), True
    print(f"{'format':8} {'rows/s':>9} {'peak MB':>9}")
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([*again, "--write", temporary], check=True)
        for name in FORMATS:
            command = [*again, "--read", f"{temporary}/catalog.{name}"]
            found = figures[name] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            complete = complete and found["tracks"] == given.rows
            print(f"{name:8} {found['rows_per_s']:>9,} {found['peak_mb']:>9}", flush=True)
    print(json.dumps({"reading": figures}))
    return 0 if complete else 1


if __name__ == "__main__":
    raise SystemExit(main())
