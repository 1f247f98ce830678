"""Make the pictures of `gallery.md`: `python docs/make_gallery.py` renders songs and keeps one frame of each."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
from attrs import evolve
from PIL import Image

from suno_video_async.lyricvideo.library import BuiltinLibrary, LibraryTrack
from suno_video_async.lyricvideo.lyrics import LyricLine, LyricWord, parse_lrc
from suno_video_async.lyricvideo.render import RenderJob, render
from suno_video_async.lyricvideo.sizes import SIZES
from suno_video_async.lyricvideo.songs import picture
from suno_video_async.lyricvideo.songs.covers import draw_cover

IMAGES = Path(__file__).parent / "images" / "gallery"
#: The longer side of a kept picture, in pixels, and of one that is taller than wide.
LONGEST, TALLEST = 640, 720
FPS = 10
#: Songs of this page's own in scripts that the built-in ones do not have: title, artist, lines.
WRITTEN: dict[str, tuple[str, str, Sequence[str]]] = {
    "ja": (
        "港の灯り",
        "ノヴァ・キー",
        (
            "夜の風が帆をたたむ",
            "港の灯りが、ひとつずつ消えていく",
            "もう少しだけ、ここにいて",
            "波の歌を聞かせてください",
            "朝が来るまで歩いていこう",
        ),
    ),
    "zh": (
        "港口的灯",
        "新港乐队",
        (
            "晚风轻轻收起了帆",
            "港口的灯，一盏一盏地熄灭了",
            "再陪我一会儿，就在这里",
            "让海浪为我们唱首歌",
            "一直走到天亮",
        ),
    ),
    "ko": (
        "항구의 불빛",
        "노바 키",
        (
            "밤바람이 돛을 접어요",
            "항구의 불빛이 하나둘씩 꺼져 가네요",
            "조금만 더 여기 있어 줘요",
            "파도의 노래를 들려줘요",
            "아침이 올 때까지 걸어가요",
        ),
    ),
    "mixed": (
        "Ships · Кораблі · 船",
        "Nova Quay & ليل الرمال",
        (
            "Every ship has a name of its own",
            "Тихо світять ліхтарі",
            "أغنية البحر واحدة",
            "Καλημέρα, море, 海よ",
            "One song, many harbours",
        ),
    ),
    "long": (
        "Everything That the Harbour Master Wrote Down in the Book of the Year",
        "Nova Quay with the Choir of the Seven Islands",
        (
            "Listen",
            "And the lamps along the water kept on burning through the night, though nobody was there to count the"
            " boats that came back home",
            "One by one",
            "Donauschifffahrtsgesellschaftskapitänsmützenabzeichen",
        ),
    ),
}

#: Greetings in the scripts that other fonts than the package's own draw: a title, and two lines.
GREETINGS: dict[str, tuple[str, str, str]] = {
    "he": ("שלום", "שלום עולם", "לילה טוב ותודה"),
    "th": ("สวัสดี", "สวัสดีชาวโลก", "ราตรีสวัสดิ์ ขอบคุณ"),
    "lo": ("ສະບາຍດີ", "ສະບາຍດີຊາວໂລກ", "ຂອບໃຈ"),
    "km": ("សួស្តី", "សួស្តីពិភពលោក", "អរគុណ រាត្រីសួស្តី"),
    "my": ("မင်္ဂလာပါ", "မင်္ဂလာပါ ကမ္ဘာ", "ကျေးဇူးတင်ပါတယ်"),
    "hi": ("नमस्ते", "नमस्ते दुनिया", "शुभ रात्रि और धन्यवाद"),
    "bn": ("নমস্কার", "নমস্কার পৃথিবী", "শুভ রাত্রি, ধন্যবাদ"),
    "ta": ("வணக்கம்", "வணக்கம் உலகம்", "இனிய இரவு, நன்றி"),
    "te": ("నమస్కారం", "నమస్కారం ప్రపంచం", "శుభ రాత్రి, ధన్యవాదాలు"),
    "gu": ("નમસ્તે", "નમસ્તે દુનિયા", "શુભ રાત્રિ, આભાર"),
    "pa": ("ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "ਸਤ ਸ੍ਰੀ ਅਕਾਲ ਦੁਨੀਆ", "ਸ਼ੁਭ ਰਾਤ, ਧੰਨਵਾਦ"),
    "kn": ("ನಮಸ್ಕಾರ", "ನಮಸ್ಕಾರ ಜಗತ್ತು", "ಶುಭ ರಾತ್ರಿ, ಧನ್ಯವಾದ"),
    "ml": ("നമസ്കാരം", "നമസ്കാരം ലോകം", "ശുഭ രാത്രി, നന്ദി"),
    "si": ("ආයුබෝවන්", "ආයුබෝවන් ලෝකය", "සුභ රාත්‍රියක්, ස්තුතියි"),
    "ka": ("გამარჯობა", "გამარჯობა მსოფლიო", "ღამე მშვიდობისა, მადლობა"),
    "hy": ("Բարեւ", "Բարեւ աշխարհ", "Բարի գիշեր, շնորհակալություն"),
    "am": ("ሰላም", "ሰላም ለዓለም", "መልካም ሌሊት አመሰግናለሁ"),
    "emoji": ("Hello 👋🏽", "Hello 👨\u200d👩\u200d👧 ❤\ufe0f", "Good night 🌙 ⭐\ufe0f 🇩🇪"),
}
#: Seconds of their songs.
SHORT = 8.0


def greeting(language: str, audio: Path) -> Image.Image:
    """A frame of a short, silent song in a script."""
    title, *texts = GREETINGS[language]
    lines = tuple(LyricLine(1.0 + 3 * number, text) for number, text in enumerate(texts))
    return shown_at(3.0, title, lines, audio, language)


def translation(audio: Path) -> Image.Image:
    """A frame of a song whose lines have a transcription and a translation."""
    words = (LyricWord(1.0, "波の"), LyricWord(2.0, "うた"), LyricWord(4.0, ""))
    lines = (
        LyricLine(1.0, "波のうた", words, ("nami no uta", "The song of the waves")),
        LyricLine(5.0, "港の灯り", (), ("minato no akari", "The lights of the harbour")),
    )
    return shown_at(1.8, "波のうた", lines, audio, "ja")


def stamped(audio: Path) -> Image.Image:
    """A frame of a song in LRC whose words have stamps in square brackets, while the third one is sung."""
    lrc = "[00:01.00]Every [00:01.60]ship [00:02.20]has [00:02.80]a [00:03.10]name[00:04.00]"
    return shown_at(2.5, "Names", parse_lrc(lrc).lines, audio, "en")


def shown_at(at: float, title: str, lines: tuple[LyricLine, ...], audio: Path, language: str) -> Image.Image:
    """Render a song and return its picture at a time in seconds; all of its letters must be drawn."""
    job = RenderJob(
        audio=audio,
        cover=picture("harbour"),
        title=title,
        artist="Nova Quay",
        brand="Acme Records",
        lyrics=lines,
        width=960,
        height=540,
        fps=FPS,
        language=language,
    )
    video = audio.parent / "video.mp4"
    missing = render(job, video).missing_glyphs
    if missing:
        raise SystemExit(f"no font has {missing}: install fonts-noto-core and fonts-noto-color-emoji")
    return picture_at(video, at)


def silence(path: Path) -> Path:
    """Write a short, silent song."""
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 22_050, 0, "NONE", ""))
        sound.writeframes(bytes(2 * round(22_050 * SHORT)))
    return path


def picture_at(video: Path, wanted: float) -> Image.Image:
    """The picture of a video at a time in seconds."""
    with av.open(str(video)) as file:
        pictures: Any = file.decode(video=0)
        shown: Any = None
        for picture in pictures:
            if shown is not None and (picture.time or 0.0) > wanted:
                break
            shown = picture
        image: Image.Image = shown.to_image()
        return image


def written(name: str, like: LibraryTrack) -> LibraryTrack:
    """A song of `WRITTEN` over the sound of another, each letter or word with a time."""
    title, artist, texts = WRITTEN[name]
    lines = list[LyricLine]()
    for number, text in enumerate(texts):
        start = 4.0 + 6 * number
        parts = [f"{word} " for word in text.split(" ")] if " " in text else list(text)
        parts[-1] = parts[-1].strip()
        words = (LyricWord(start + 3.0 * at / len(parts), part) for at, part in enumerate(parts))
        lines.append(LyricLine(start, text, tuple(words)))
    return evolve(like, title=title, artist=artist, lyrics=tuple(lines), language=name)


def frame(track: LibraryTrack, size: tuple[int, int], audio: Path, cover: Path, at: int) -> Image.Image:
    """Render a track and return its picture while the words of a line are sung, or in the middle of the song."""
    job = RenderJob(
        audio=audio,
        cover=cover,
        title=track.title,
        artist=track.artist,
        brand="Acme Records",
        lyrics=track.lyrics,
        width=size[0],
        height=size[1],
        fps=FPS,
        language=track.language,
    )
    video = audio.parent / "video.mp4"
    render(job, video)
    line = track.lyrics[at] if track.lyrics else None
    wanted = line.words[len(line.words) // 2].start + 0.4 if line else 0.45 * track.duration
    return picture_at(video, wanted)


def keep(picture: Image.Image, name: str) -> None:
    """Write a picture small."""
    longest = LONGEST if picture.width >= picture.height else TALLEST
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    picture.save(IMAGES / f"{name}.jpg", quality=82, optimize=True, progressive=True)
    print(name)


def main() -> None:
    """Make all pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for old in IMAGES.glob("*.jpg"):
        old.unlink()
    library = BuiltinLibrary()
    tracks = library.tracks()
    song, wide = tracks[0], SIZES["landscape"]
    instrumental = next(track for track in tracks if not track.lyrics)
    by_language = {track.language: track for track in tracks if track.lyrics}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def take(
            name: str, track: LibraryTrack, size: tuple[int, int], *, at: int = 2, cover: Path | None = None
        ) -> None:
            path = cover or library.cover(track, folder)
            keep(frame(track, size, library.audio(track, folder), path, at), name)

        def drawn(title: str) -> Path:
            path = folder / f"{title}.jpg"
            draw_cover(title, path)
            return path

        for name, size in SIZES.items():
            take(name, song, size, at=3)
            take(f"instrumental-{name}", instrumental, size)
        for language in ("pt", "uk", "el", "ar", "vi"):
            take(f"language-{language}", by_language[language], wide, at=3)
        for name in ("ja", "zh", "ko"):
            take(f"language-{name}", written(name, song), wide, at=1)
        short = silence(folder / "silence.wav")
        for language in GREETINGS:
            keep(greeting(language, short), f"script-{language}")
        keep(translation(short), "translation")
        keep(stamped(short), "words")
        take("mixed", written("mixed", song), wide, cover=picture("islands"))
        take("long", written("long", song), wide, at=1, cover=drawn("The Book of the Year"))
        take("portrait-ar", by_language["ar"], SIZES["portrait"], at=3)
        take("portrait-ja", written("ja", song), SIZES["portrait"], at=1)
        take("square-long", written("long", song), SIZES["square"], at=1, cover=drawn("Listen"))


if __name__ == "__main__":
    main()
