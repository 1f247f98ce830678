"""A lyric video by the ffmpeg program: one still picture, and lyrics that scroll as an ASS file.

A peer for benchmarks: python ffmpeg_ass.py FFMPEG SONG STILL.png LYRICS.lrc FONT OUT.mp4 WIDTHxHEIGHT. Prints one JSON line.
The still picture has background, cover and titles, drawn before. Lines move up with every line that is sung.
The encoder's settings are those of our own renderer. Do not slow it down.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

FPS = 30
HEAD = """[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}
WrapStyle: 0

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, Bold, Alignment, MarginL, MarginR, MarginV, Outline, Shadow, Encoding
Style: Line,Inter,{size},&H00FFFFFF,-1,4,0,0,0,0,0,1

[Events]
Format: Layer, Start, End, Style, Text
"""


def stamp(seconds):
    hundredths = round(seconds * 100)
    return f"{hundredths // 360000}:{hundredths // 6000 % 60:02}:{hundredths // 100 % 60:02}.{hundredths % 100:02}"


def main():
    program, song, still, lyrics, font, target, size = sys.argv[1:]
    width, height = map(int, size.split("x"))
    started = time.perf_counter()
    lines = []
    for line in open(lyrics, encoding="utf-8"):
        match = re.match(r"\[(\d+):(\d+\.\d+)\](.*)", line)
        lines.append((int(match[1]) * 60 + float(match[2]), match[3].strip()))
    ends = [start for start, _ in lines[1:]] + [lines[-1][0] + 10]
    x, y, step = int(0.52 * width), int(0.42 * height), int(0.107 * height)
    events = []
    for number, ((start, _), end) in enumerate(zip(lines, ends)):
        for slot in range(-4, 6):
            if not 0 <= number + slot < len(lines):
                continue
            now = "00" if slot == 0 else "A0"
            was = "00" if slot == -1 else "A0"
            top = y + slot * step
            move = f"\\move({x},{top + step},{x},{top},0,620)\\alpha&H{was}&\\t(0,620,\\alpha&H{now}&)"
            events.append(f"Dialogue: 0,{stamp(start)},{stamp(end)},Line,{{{move}}}{lines[number + slot][1]}")
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "lyrics.ass")
        with open(script, "w", encoding="utf-8") as file:
            file.write(HEAD.format(width=width, height=height, size=int(0.062 * height)) + "\n".join(events) + "\n")
        subprocess.run(
            [program, "-v", "error", "-y", "-loop", "1", "-framerate", str(FPS), "-i", still, "-i", song]
            + ["-vf", f"format=yuv420p,ass={script}:fontsdir={os.path.dirname(font)}", "-shortest"]
            + ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-threads", "2", "-c:a", "aac"]
            + ["-b:a", "192k", "-movflags", "+faststart", target],
            check=True,
        )
    wall = time.perf_counter() - started
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1024 if sys.platform == "darwin" else 1
    print(json.dumps({"wall": wall, "cpu": others.ru_utime + others.ru_stime, "rss_mb": others.ru_maxrss / unit / 1024}))


if __name__ == "__main__":
    main()
