"""What a report of 1,000 and of 10,000 rows takes: to make, on disk, and in headless Chromium.

Each ledger is of a conversion with a few failed, refused and unknown tracks. Its videos are four small files under
many names, of which as many get stills as the command takes by itself. The command runs as a process of its own;
the browser opens the file. Times in the browser are its own: from the navigation until the page has drawn itself
and answers; from a letter in the search until the list is new, the wait for another letter (60 ms) included; and
the CPU of the page's thread for each frame of a scroll from top to bottom in 60 leaps. Runs of both sizes
alternate; figures are medians.

Usage: python -m benchmarks.report [--rows 1000 10000] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.browser.chromium import Browser, chromium, missing
from tests.report.support import lived_in

#: What a page of 10,000 rows may take: megabytes, and seconds until it answers.
MOST_MB, MOST_SECONDS = 30.0, 3.0

_SEARCH = """
const done = arguments[0], box = document.querySelector('input[type=search]'), before = performance.now();
new MutationObserver(() => requestAnimationFrame(() => done(performance.now() - before)))
  .observe(document.querySelector('.found'), { childList: true });
box.value = 'harbour failed'; box.dispatchEvent(new Event('input'));
"""
#: Leaps from the top of the page to its end.
FRAMES = 60
SCROLL = """
const done = arguments[0], frames = FRAMES, height = document.documentElement.scrollHeight;
let n = 0;
const step = () => {
  if (n === frames) return done();
  n += 1;
  scrollTo(0, height * n / frames);
  requestAnimationFrame(step);
};
requestAnimationFrame(step);
""".replace("FRAMES", str(FRAMES))


def make(ledger: Path, page: Path) -> float:
    """Run the command and return the seconds that it took."""
    words = [sys.executable, "-m", "suno_video_async", "report", str(ledger), "-o", str(page), "--json"]
    before = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - before


def look(page: Path) -> dict[str, float]:
    """Open a page in a browser of its own and return its milliseconds."""
    with chromium() as driver:
        browser = Browser(driver)
        browser.show(page)
        interactive = browser.run("return performance.getEntriesByName('interactive')[0].startTime")
        browser.run("document.querySelector('[data-view=list]').click()")
        driver.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
        before = worked(driver)
        driver.execute_async_script(SCROLL)
        frame = (worked(driver) - before) / FRAMES
        search = driver.execute_async_script(_SEARCH)
    return {"interactive_ms": interactive, "search_ms": search, "frame_ms": frame}


def worked(driver: Any) -> float:
    """Return the milliseconds of CPU that the page's thread has used so far."""
    metrics = driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(float(one["value"]) * 1000 for one in metrics if one["name"] == "TaskDuration")


def videos(folder: Path) -> list[Path]:
    """Make some small videos of a minute."""
    import av  # noqa: PLC0415
    import numpy  # noqa: PLC0415

    made = list[Path]()
    for n in range(4):
        path = folder / f"song {n}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=2)
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
            dice = numpy.random.default_rng(n)
            picture = numpy.kron(
                dice.integers(0, 255, (9, 16, 3), dtype=numpy.uint8), numpy.ones((80, 80, 1), "uint8")
            )
            for _ in range(120):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode())
        made.append(path)
    return made


def measure(sizes: list[int], runs: int) -> list[dict[str, Any]]:
    """Return the medians of each size."""
    spent: dict[int, list[dict[str, float]]] = {rows: [] for rows in sizes}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = videos(folder)
        for rows in sizes:
            lived_in(folder / f"{rows}.ledger.db", rows, files=files)
        for number in range(runs):
            for rows in sizes if number % 2 else sizes[::-1]:
                page = folder / f"{rows}.html"
                seconds = make(folder / f"{rows}.ledger.db", page)
                spent[rows].append({"seconds": seconds, "mb": page.stat().st_size / 1e6, **look(page)})
    return [
        {"rows": rows, **{name: statistics.median(run[name] for run in found) for name in found[0]}}
        for rows, found in spent.items()
    ]


def main() -> int:
    """Print the table and a JSON line; return 1 where a bound is missed, or there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    if absent := missing():
        print(f"not found: {absent}")
        return 1
    results = measure(args.rows, args.runs)
    print(
        f"{'rows':>7} {'s to make':>10} {'MB':>6} {'ms to answer':>13} {'ms a search':>12} {'CPU ms a frame':>15}"
    )
    for found in results:
        print(
            f"{found['rows']:>7,} {found['seconds']:>10.2f} {found['mb']:>6.2f} {found['interactive_ms']:>13.0f}"
            f" {found['search_ms']:>12.0f} {found['frame_ms']:>15.1f}"
        )
    print(json.dumps({"report": results}))
    biggest = results[-1]
    return int(biggest["mb"] > MOST_MB or biggest["interactive_ms"] > 1000 * MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
