"""A lyric video as a good user of moviepy 2 writes it: all that stands still is one picture, lines are text clips.

A peer for benchmarks: python moviepy_lyrics.py SONG COVER LYRICS.lrc FONT OUT.mp4 WIDTHxHEIGHT SECONDS. Prints one JSON line.
The line that is sung stands among those around it, bright, and fades in; there is no scrolling, which would cost
moviepy more. The encoder's settings are those of our own renderer. Do not slow it down.
"""

import json
import re
import resource
import sys
import time

import numpy as np
from moviepy import AudioFileClip, CompositeVideoClip, ImageClip, TextClip, vfx
from PIL import Image, ImageDraw, ImageFilter, ImageFont

FPS = 30


def still(cover_path, title, artist, font, width, height):
    """Draw the blurred background, the cover, the title and the artist once, with Pillow."""
    cover = Image.open(cover_path).convert("RGB")
    picture = cover.resize((width, width)).crop((0, (width - height) // 2, width, (width + height) // 2))
    picture = picture.filter(ImageFilter.GaussianBlur(height / 18)).point(lambda value: value * 0.4)
    side = int(0.556 * height)
    left, top = int(0.1 * width), int(0.132 * height)
    corners = Image.new("L", (side, side), 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, side, side), int(0.026 * height), fill=255)
    picture.paste(cover.resize((side, side)), (left, top), corners)
    draw = ImageDraw.Draw(picture)
    middle = left + side / 2
    draw.text((middle, top + side + 0.07 * height), title, "white", ImageFont.truetype(font, int(0.048 * height)), "mm")
    draw.text((middle, top + side + 0.13 * height), artist, "#bbb", ImageFont.truetype(font, int(0.028 * height)), "mm")
    return np.asarray(picture)


def main():
    song, cover, lyrics, font, target, size, seconds = sys.argv[1:]
    width, height = map(int, size.split("x"))
    started = time.perf_counter()
    lines = []
    for line in open(lyrics, encoding="utf-8"):
        stamp = re.match(r"\[(\d+):(\d+\.\d+)\](.*)", line)
        lines.append((int(stamp[1]) * 60 + float(stamp[2]), stamp[3].strip()))
    audio = AudioFileClip(song).subclipped(0, float(seconds))
    lines = [line for line in lines if line[0] < audio.duration]
    ends = [start for start, _ in lines[1:]] + [audio.duration]

    x, y, step = int(0.52 * width), int(0.42 * height), int(0.13 * height)
    style = {"font": font, "font_size": int(0.045 * height), "method": "caption", "size": (int(0.43 * width), step)}
    bright = [TextClip(text=text, color="white", **style) for _, text in lines]
    dim = [TextClip(text=text, color="white", **style).with_opacity(0.37) for _, text in lines]
    clips = [ImageClip(still(cover, "Lamps in the Hall", "River Road", font, width, height), duration=audio.duration)]
    for number, ((start, _), end) in enumerate(zip(lines, ends)):
        for slot in (-2, -1, 0, 1, 2):
            if 0 <= number + slot < len(lines):
                clip = (bright if slot == 0 else dim)[number + slot]
                clip = clip.with_start(start).with_duration(end - start).with_position((x, y + slot * step))
                clips.append(clip.with_effects([vfx.CrossFadeIn(0.4)]) if slot == 0 else clip)
    video = CompositeVideoClip(clips, size=(width, height)).with_audio(audio)
    video.write_videofile(
        target,
        fps=FPS,
        codec="libx264",
        preset="veryfast",
        audio_codec="aac",
        audio_bitrate="192k",
        ffmpeg_params=["-crf", "20", "-pix_fmt", "yuv420p"],
        threads=2,
        logger=None,
    )
    wall = time.perf_counter() - started
    audio.close()
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
    unit = 1024 if sys.platform == "darwin" else 1
    rss = (own.ru_maxrss + others.ru_maxrss) / unit / 1024
    print(json.dumps({"frames": round(audio.duration * FPS), "wall": wall, "cpu": cpu, "rss_mb": rss}))


if __name__ == "__main__":
    main()
