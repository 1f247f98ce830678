"""How fast lyric videos are made: changed frames only, every frame, and the encoder's own limit.

Run `python -m benchmarks.render [--seconds 180] [--runs 3]`. Each measurement is a process of its own, and
the ways alternate, so that a busy moment of the machine hits all of them. The limit is x264 at the same
preset and quality on one picture that never changes, a frame of our own video, without sound: what a renderer
would reach whose drawing costs nothing. Times are of the work, without the loading of Python and its modules.
"""

# ruff: noqa: PLC0415 - run as a file, the package is not on the path until `main`

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

SIZES = ((1280, 720), (1920, 1080))
WAYS = ("changed", "every", "static")
TARGETS = {"every": 2.0, "static": 1.5}
FPS = 30
THREADS = 2
WORDS = (
    "We left the lamps on in the hall",
    "And the river took the road",
    "All the letters on the wall say nothing that we did not know",
    "Come back slowly",
    "Every window holds a morning",
    "Carry me over, carry me home",
)


def make_song(path: Path, seconds: float) -> None:
    """Write an MP3 of a slowly changing chord with some noise, as an encoder meets in practice."""
    import av
    import numpy as np

    rate = 44100
    noise = np.random.default_rng(5)
    output: Any = av.open(str(path), "w")
    with output:
        stream = output.add_stream("libmp3lame", rate=rate)
        stream.bit_rate = 192_000
        stream.codec_context.layout = "stereo"
        for start in range(0, round(seconds * rate), rate):
            count = min(rate, round(seconds * rate) - start)
            at = (start + np.arange(count)) / rate
            chord = sum(
                np.sin(2 * np.pi * pitch * at * (1 + int(at[0]) // 4 % 3 / 8)) for pitch in (110, 165, 220, 277)
            )
            sides = 0.12 * chord + 0.03 * noise.standard_normal((2, count))
            frame = av.AudioFrame.from_ndarray(sides.astype(np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def measure(way: str, folder: Path, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Make one video; runs in a child process."""
    _imports()  # what is measured is the work, not how long Python loads
    started, spent = time.perf_counter(), time.process_time()
    target = folder / f"{way}-{size[1]}.mp4"
    frames = _static(target, size, seconds) if way == "static" else _ours(way, folder, target, size, seconds)
    wall, cpu = time.perf_counter() - started, time.process_time() - spent
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1024 if sys.platform == "darwin" else 1
    return {
        "wall": wall,
        "cpu": cpu,
        "fps": frames / wall,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit / 1024,
        "file_mb": target.stat().st_size / 1e6,
    }


def _imports() -> None:
    import suno_video_async.local.render  # noqa: F401


def _ours(way: str, folder: Path, target: Path, size: tuple[int, int], seconds: float) -> int:
    from suno_video_async.local.lyrics import LyricLine
    from suno_video_async.local.render import RenderJob, render

    lyrics = tuple(LyricLine(2.0 + 4 * at, WORDS[at % len(WORDS)]) for at in range(int((seconds - 3) / 4)))
    job = RenderJob(
        audio=folder / "song.mp3",
        cover=folder / "cover.jpg",
        title="Lamps in the Hall",
        artist="River Road",
        brand="Benchmark",
        lyrics=lyrics,
        width=size[0],
        height=size[1],
        fps=FPS,
        every_frame=way == "every",
    )
    return render(job, target, threads=THREADS).frames


def _static(target: Path, size: tuple[int, int], seconds: float) -> int:
    """Encode one picture again and again, with the renderer's own encoder settings."""
    import av

    from suno_video_async.local.render.encode import CRF, PRESET

    with av.open(str(target.with_name(f"changed-{size[1]}.mp4"))) as ours:
        frame = next(ours.decode(video=0))
    frame.pict_type = 0
    frames = math.ceil(seconds * FPS)
    output: Any = av.open(str(target), "w")
    with output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": PRESET, "crf": str(CRF)})
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.codec_context.thread_type, stream.codec_context.thread_count = "FRAME", THREADS
        for index in range(frames):
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return frames


def checks(path: Path, seconds: float) -> dict[str, Any]:
    """How far picture and sound are from the song's length, and whether the index comes first."""
    import av

    with av.open(str(path)) as source:
        streams = (source.streams.video[0], source.streams.audio[0])
        lengths = [float((stream.duration or 0) * (stream.time_base or 0)) for stream in streams]
    names: list[bytes] = []
    with path.open("rb") as data:
        while len(head := data.read(8)) == 8:
            length, name = struct.unpack(">I4s", head)
            names.append(name)
            data.seek(length - 8, 1)
    return {
        "duration_error_ms": max(abs(length - seconds) for length in lengths) * 1000,
        "moov_first": names.index(b"moov") < names.index(b"mdat"),
    }


def run_child(way: str, folder: Path, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """Measure in a fresh process; its last line is the result."""
    command = [sys.executable, __file__, "--child", way, str(folder), f"{size[0]}x{size[1]}"]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode:
        sys.exit(f"the measurement {way} at {size[1]}p failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def benchmark(seconds: float, runs: int, folder: Path) -> dict[str, Any]:
    """All ways at all sizes, alternating; medians."""
    from suno_video_async.local.songs.covers import draw_cover

    make_song(folder / "song.mp3", seconds)
    draw_cover("dunes", folder / "cover.jpg")
    report: dict[str, Any] = {"seconds": seconds, "runs": runs, "sizes": {}}
    for size in SIZES:
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for _ in range(runs):
            for way in WAYS:
                found[way].append(run_child(way, folder, size, seconds))
        rows = {
            way: {key: statistics.median(one[key] for one in results) for key in results[0]}
            for way, results in found.items()
        }
        # The ratio of each round, then the median: what slows the machine cancels out.
        ratios = {
            way: statistics.median(
                ours["fps"] / other["fps"] for ours, other in zip(found["changed"], found[way], strict=True)
            )
            for way in TARGETS
        }
        report["sizes"][f"{size[0]}x{size[1]}"] = {
            "ways": rows,
            "ratios": ratios,
            "checks": {way: checks(folder / f"{way}-{size[1]}.mp4", seconds) for way in ("changed", "every")},
        }
    return report


def problems(report: dict[str, Any]) -> list[str]:
    """What misses its target, in words."""
    found: list[str] = []
    for size, result in report["sizes"].items():
        for way, least in TARGETS.items():
            if result["ratios"][way] < least:
                found.append(f"{size}: {result['ratios'][way]:.2f} times {way}, at least {least} is wanted")
        for way, check in result["checks"].items():
            if check["duration_error_ms"] > 50:
                found.append(f"{size} {way}: {check['duration_error_ms']:.0f} ms off the song's length")
            if not check["moov_first"]:
                found.append(f"{size} {way}: mdat stands before moov")
    return found


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    names = {"changed": "changed frames only", "every": "every frame", "static": "x264, one still frame"}
    print(f"{report['seconds']:.0f} s at {FPS} fps, {THREADS} encoder threads, medians of {report['runs']}")
    heads = f"{'fps':>6} {'wall s':>7} {'CPU s':>6} {'MB RSS':>7} {'MB file':>8} {'off ms':>7}  moov first"
    print(f"{'size':>10}  {'way':<22} {heads}")
    for size, result in report["sizes"].items():
        for way, row in result["ways"].items():
            check = result["checks"].get(way)
            tail = f"{check['duration_error_ms']:7.1f}  {check['moov_first']}" if check else f"{'-':>7}  -"
            facts = f"{row['fps']:6.0f} {row['wall']:7.2f} {row['cpu']:6.1f}"
            facts += f" {row['rss_mb']:7.0f} {row['file_mb']:8.2f}"
            print(f"{size:>10}  {names[way]:<22} {facts} {tail}")
        ratios = ", ".join(f"{value:.2f} times {names[way]}" for way, value in result["ratios"].items())
        print(f"{size:>10}  changed frames only: {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, folder, size = options.child
        width, height = (int(side) for side in size.split("x"))
        print(json.dumps(measure(way, Path(folder), (width, height), options.seconds)))
        return
    if options.seconds < 10 or options.runs < 1:
        parser.error("use at least 10 seconds and one run")
    with tempfile.TemporaryDirectory() as folder:
        report = benchmark(options.seconds, options.runs, Path(folder))
    missed = problems(report)
    show(report)
    print(json.dumps({"benchmark": "render", "ok": not missed, "problems": missed, **report}))
    if missed:
        sys.exit("\n".join(["the benchmark misses its targets:", *missed]))


if __name__ == "__main__":
    # Run as a file, the package beside this folder is not on the path yet.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
