"""How fast lyric videos are made: by our renderer, by moviepy, by ffmpeg, and at the encoder's own limit.

Each measurement is a process of its own, and the ways alternate, so that a busy moment of the machine hits all of
them: the ratios of a round are what counts, and their medians are told. Times are of the work, without the loading
of Python and its modules; `cpu` ratios compare processor time a frame, which other processes disturb less.

- every: our renderer at a constant frame rate.
- static: the limit of whoever encodes every frame: x264 at the same preset and quality on one picture that never
  changes, without sound. Drawing would cost nothing there.
- pair: two videos at once in one process, as the server makes them.
- moviepy, ass: `peers/moviepy_lyrics.py` and `peers/ffmpeg_ass.py`, where those programs are installed. They take
  many minutes, so they run in the first round only; `--moviepy-seconds` gives moviepy a shorter song, and frames a
  second are compared.
- --long SECONDS: a very long song, with lyrics and without, and what memory it takes beside the short one.

Usage: python -m benchmarks.render [--seconds 180] [--runs 3] [--moviepy-seconds 180] [--long 7200]
"""

# ruff: noqa: PLC0415 - run as a file, the package is not on the path until `main`

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen

SIZES = ((1280, 720), (1920, 1080))
FPS = 30
THREADS = 2
#: What is measured once.
SLOW = ("moviepy", "ass")
#: How many times as fast as another way ours is to be, by the picture's height.
TARGETS = {
    "moviepy": {720: 30.0, 1080: 40.0},
    "every": {720: 2.4, 1080: 2.4},
    "static": {720: 1.8, 1080: 1.8},
}
#: How many times as much two videos at once get done as one.
PAIR = 1.1
#: Megabytes of memory that one video may take, and that a very long song may take more than a short one.
MEMORY, LONGER = 450, 60
WORDS = (
    "We left the lamps on in the hall",
    "And the river took the road",
    "All the letters on the wall say nothing that we did not know",
    "Come back slowly",
    "Every window holds a morning",
    "Carry me over, carry me home",
)
TITLE, ARTIST, BRAND = "Lamps in the Hall", "River Road", "Benchmark"
NAMES = {
    "changed": "changed frames only",
    "every": "every frame",
    "static": "x264, one still frame",
    "pair": "two videos at once",
    "moviepy": "moviepy script",
    "ass": "ffmpeg, ASS file",
    "wave": "no lyrics",
    "long-changed": "very long",
    "long-wave": "very long, no lyrics",
}


@frozen
class Task:
    """One measurement: a way to make a video of so many seconds, at a size, with the files of a folder."""

    way: str
    folder: Path
    size: tuple[int, int]
    seconds: float

    @property
    def target(self) -> Path:
        return self.folder / f"{self.way}-{self.size[1]}.mp4"

    @property
    def song(self) -> Path:
        return self.folder / ("long.mp3" if self.way.startswith("long-") else "song.mp3")

    @property
    def scaled(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


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


def repeat_song(song: Path, path: Path, times: int) -> None:
    """Write a long song: the packets of a short one, again and again."""
    import av

    output: Any = av.open(str(path), "w")
    with output:
        stream = None
        at = 0
        for _ in range(times):
            with av.open(str(song)) as source:
                stream = stream or output.add_stream_from_template(source.streams.audio[0])
                for packet in source.demux(audio=0):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = stream, at, at
                        at += packet.duration or 0
                        output.mux(packet)


def lines_of(seconds: float) -> list[tuple[float, str]]:
    """The lyrics of a song of this length: a line every four seconds."""
    return [(2.0 + 4 * at, WORDS[at % len(WORDS)]) for at in range(int((seconds - 3) / 4))]


def write_lrc(path: Path, seconds: float) -> None:
    """Write the lyrics for the peers."""
    stamped = (f"[{int(at // 60):02}:{at % 60:05.2f}]{text}" for at, text in lines_of(seconds))
    path.write_text("\n".join(stamped) + "\n", encoding="utf-8")


def write_still(path: Path, cover: Path, size: tuple[int, int]) -> None:
    """Write our own still picture for the ffmpeg program."""
    import av
    import numpy as np

    from suno_video_async.lyricvideo.render.backdrop import open_cover, paint_backdrop
    from suno_video_async.lyricvideo.render.layout import lay_out
    from suno_video_async.lyricvideo.render.text import Typesetter

    words = (TITLE, ARTIST, BRAND)
    planes = paint_backdrop(open_cover(cover).image, lay_out(*size, lyrics=True), words, Typesetter())
    flat = np.concatenate([plane.reshape(-1) for plane in (planes.y, planes.u, planes.v)])
    shaped = flat.reshape(size[1] * 3 // 2, size[0])
    frame: Any = av.VideoFrame.from_ndarray(shaped, format="yuv420p")
    frame.to_image().save(path)


def measure(task: Task) -> dict[str, Any]:
    """Make one video; runs in a child process."""
    import suno_video_async.lyricvideo.render  # noqa: F401 - what is measured is the work, not how long Python loads

    started, spent = time.perf_counter(), time.process_time()
    frames = _static(task) if task.way == "static" else _pair(task) if task.way == "pair" else _ours(task)
    wall, cpu = time.perf_counter() - started, time.process_time() - spent
    # Linux counts in kilobytes, macOS in bytes.
    unit = 1024 if sys.platform == "darwin" else 1
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit / 1024
    return {"frames": frames, "wall": wall, "cpu": cpu, "rss_mb": rss}


def _ours(task: Task, *, target: Path | None = None, threads: int = THREADS) -> int:
    from suno_video_async.lyricvideo.lyrics import LyricLine
    from suno_video_async.lyricvideo.render import RenderJob, render

    lines = () if task.way.endswith("wave") else lines_of(task.seconds)
    job = RenderJob(
        audio=task.song,
        cover=task.folder / "cover.webp",
        title=TITLE,
        artist=ARTIST,
        brand=BRAND,
        lyrics=tuple(LyricLine(at, text) for at, text in lines),
        width=task.size[0],
        height=task.size[1],
        fps=FPS,
        every_frame=task.way == "every",
    )
    return render(job, target or task.target, threads=threads).frames


def _pair(task: Task) -> int:
    """Two at once, with one encoder thread each, as the server has it."""
    targets = (task.target, task.target.with_suffix(".second.mp4"))
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(_ours, task, target=target, threads=1) for target in targets]
        return sum(one.result() for one in made)


def _static(task: Task) -> int:
    """Encode one picture again and again, with the renderer's own encoder settings."""
    import av

    from suno_video_async.lyricvideo.render.encode import CRF, PRESET

    with av.open(str(task.folder / f"changed-{task.size[1]}.mp4")) as ours:
        frame = next(ours.decode(video=0))
    frame.pict_type = 0
    frames = math.ceil(task.seconds * FPS)
    output: Any = av.open(str(task.target), "w")
    with output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": PRESET, "crf": str(CRF)})
        stream.width, stream.height, stream.pix_fmt = *task.size, "yuv420p"
        stream.codec_context.thread_type, stream.codec_context.thread_count = "FRAME", THREADS
        for index in range(frames):
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return frames


def command_of(task: Task) -> list[str]:
    """The command line of a measurement, whose last line of output is its result."""
    peers = Path(__file__).parent / "peers"
    font = Path(__file__).parent.parent / "suno_video_async/lyricvideo/render/fonts/Inter.ttf"
    lyrics, cover = task.folder / "lyrics.lrc", task.folder / "cover.webp"
    if task.way == "moviepy":
        words: list[object] = [
            peers / "moviepy_lyrics.py",
            task.song,
            cover,
            lyrics,
            font,
            task.target,
            task.scaled,
        ]
        return [sys.executable, *map(str, [*words, task.seconds])]
    if task.way == "ass":
        words = [peers / "ffmpeg_ass.py", "ffmpeg", task.song, task.folder / f"still-{task.size[1]}.png"]
        return [sys.executable, *map(str, [*words, lyrics, font, task.target, task.scaled])]
    words = [__file__, "--child", task.way, task.folder, task.scaled, "--seconds", task.seconds]
    return [sys.executable, *map(str, words)]


def run(task: Task) -> dict[str, Any]:
    """Measure in a fresh process."""
    # In the folder of the measurement: moviepy writes files of its own into the working one.
    done = subprocess.run(
        command_of(task), cwd=task.folder, capture_output=True, text=True, check=False, timeout=7200
    )
    if done.returncode:
        sys.exit(f"the measurement {task.way} at {task.size[1]}p failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    frames = found.pop("frames", task.seconds * FPS)
    return {
        **found,
        "fps": frames / found["wall"],
        "cpu_ms_a_frame": 1000 * found["cpu"] / frames,
        "file_mb": task.target.stat().st_size / 1e6,
    }


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


def _medians(results: list[dict[str, Any]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in results) for key in results[0]}


def at_size(
    folder: Path, size: tuple[int, int], seconds: float, runs: int, moviepy_seconds: float
) -> dict[str, Any]:
    """All ways at one size, alternating."""
    lengths = dict.fromkeys(("changed", "every", "static", "pair"), seconds)
    if shutil.which("ffmpeg"):
        write_still(folder / f"still-{size[1]}.png", folder / "cover.webp", size)
        lengths["ass"] = seconds
    if moviepy_seconds and find_spec("moviepy"):
        lengths["moviepy"] = moviepy_seconds
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in lengths}
    for number in range(runs):
        for way, results in found.items():
            if number == 0 or way not in SLOW:
                results.append(run(Task(way, folder, size, lengths[way])))

    def ratio(way: str, key: str) -> float:
        """How much less of `key` ours takes, or more; what slows the machine hits both of a round."""
        pairs = zip(found["changed"], found[way], strict=False)
        return float(statistics.median(ours[key] / other[key] for ours, other in pairs))

    others = [way for way in found if way != "changed"]
    return {
        "ways": {way: _medians(results) for way, results in found.items()},
        "ratios": {way: 1 / ratio(way, "fps") if way == "pair" else ratio(way, "fps") for way in others},
        "cpu_ratios": {way: 1 / ratio(way, "cpu_ms_a_frame") for way in others if way != "pair"},
        "checks": {way: checks(folder / f"{way}-{size[1]}.mp4", seconds) for way in ("changed", "every")},
    }


def very_long(folder: Path, seconds: float, times: int) -> dict[str, Any]:
    """A song of a few minutes and the same many times over, with lyrics and without: memory."""
    repeat_song(folder / "song.mp3", folder / "long.mp3", times)
    tasks = [Task(way, folder, SIZES[0], seconds) for way in ("changed", "wave")]
    tasks += [Task(f"long-{way}", folder, SIZES[0], seconds * times) for way in ("changed", "wave")]
    return {"seconds": seconds * times, "ways": {task.way: run(task) for task in tasks}}


def problems(report: dict[str, Any]) -> list[str]:
    """What misses its target, in words."""
    found: list[str] = []
    for size, result in report["sizes"].items():
        height = int(size.partition("x")[2])
        for way, by_height in TARGETS.items():
            least = by_height[height]
            if (value := result["ratios"].get(way, math.inf)) < least:
                found.append(f"{size}: {value:.2f} times {NAMES[way]}, at least {least} is wanted")
        if result["ratios"]["pair"] < PAIR:
            found.append(f"{size}: two at once do {result['ratios']['pair']:.2f} times as much, not {PAIR}")
        if result["ways"]["changed"]["rss_mb"] > MEMORY:
            found.append(f"{size}: {result['ways']['changed']['rss_mb']:.0f} MB of memory, not {MEMORY}")
        for way, check in result["checks"].items():
            if check["duration_error_ms"] > 20:
                found.append(f"{size} {way}: {check['duration_error_ms']:.0f} ms off the song's length")
            if not check["moov_first"]:
                found.append(f"{size} {way}: mdat stands before moov")
    ways = report.get("long", {}).get("ways", {})
    for way in [name for name in ways if name.startswith("long-")]:
        more = ways[way]["rss_mb"] - ways[way.removeprefix("long-")]["rss_mb"]
        if more > LONGER:
            found.append(f"{NAMES[way]}: {more:.0f} MB more than the short one, not {LONGER}")
    return found


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    print(
        f"{report['seconds']:.0f} s at {FPS} fps, {THREADS} encoder threads, medians of {report['runs']};", end=" "
    )
    print(f"{report['busy']:.1f} processes a core were running before")
    heads = f"{'fps':>6} {'wall s':>7} {'CPU s':>6} {'MB RSS':>7} {'MB file':>8}"
    print(f"{'size':>10}  {'way':<22} {heads}")

    def row(size: str, way: str, found: dict[str, float]) -> None:
        facts = f"{found['fps']:6.0f} {found['wall']:7.1f} {found['cpu']:6.1f} {found['rss_mb']:7.0f}"
        print(f"{size:>10}  {NAMES[way]:<22} {facts} {found['file_mb']:8.2f}")

    for size, result in report["sizes"].items():
        for way, found in result["ways"].items():
            row(size, way, found)
        for way, value in result["ratios"].items():
            cpu = f"; {result['cpu_ratios'][way]:.2f} by processor time" if way in result["cpu_ratios"] else ""
            said = (
                "two at once: as much work as one, times" if way == "pair" else f"times as fast as {NAMES[way]}:"
            )
            print(f"{size:>10}  {said} {value:.2f}{cpu}")
        errors = ", ".join(f"{check['duration_error_ms']:.0f} ms" for check in result["checks"].values())
        print(f"{size:>10}  off the song's length: {errors}")
    if "long" in report:
        for way, found in report["long"]["ways"].items():
            row(f"{SIZES[0][1]}p", way, found)


def benchmark(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that is asked for."""
    from suno_video_async.lyricvideo.songs import picture

    make_song(folder / "song.mp3", options.seconds)
    write_lrc(folder / "lyrics.lrc", options.seconds)
    shutil.copy(picture("dunes"), folder / "cover.webp")
    moviepy = options.seconds if options.moviepy_seconds is None else options.moviepy_seconds
    report: dict[str, Any] = {
        "seconds": options.seconds,
        "runs": options.runs,
        "moviepy_seconds": moviepy,
        "busy": os.getloadavg()[0] / (os.cpu_count() or 1),
        "sizes": {
            f"{width}x{height}": at_size(folder, (width, height), options.seconds, options.runs, moviepy)
            for width, height in SIZES
        },
    }
    if options.long:
        report["long"] = very_long(folder, options.seconds, max(2, round(options.long / options.seconds)))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--moviepy-seconds", type=float, help="of its song; 0 leaves it out")
    parser.add_argument("--long", type=float, default=0.0, help="seconds of a very long song; 0 leaves it out")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        way, folder, size = options.child
        width, height = (int(side) for side in size.split("x"))
        print(json.dumps(measure(Task(way, Path(folder), (width, height), options.seconds))))
        return
    if options.seconds < 10 or options.runs < 1:
        parser.error("use at least 10 seconds and one run")
    with tempfile.TemporaryDirectory() as folder:
        report = benchmark(options, Path(folder))
    missed = problems(report)
    show(report)
    print(json.dumps({"benchmark": "render", "ok": not missed, "problems": missed, **report}))
    if missed:
        sys.exit("\n".join(["the benchmark misses its targets:", *missed]))


if __name__ == "__main__":
    # Run as a file, the package beside this folder is not on the path yet.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
