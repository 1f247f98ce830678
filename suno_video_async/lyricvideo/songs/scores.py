"""Words and notes of the built-in songs, all written for this project. Pure data: imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from attrs import frozen

Lead = Literal["pluck", "bell", "flute", "lute", "keys"]
Drums = Literal["none", "brush", "pulse", "waltz", "half", "frame"]
Phrase = tuple[tuple[int | None, float], ...]
"""Notes as (step of the scale above the root, or None for a rest; beats)."""

MAJOR: Final = (0, 2, 4, 5, 7, 9, 11)
MINOR: Final = (0, 2, 3, 5, 7, 8, 10)
DORIAN: Final = (0, 2, 3, 5, 7, 9, 10)
LYDIAN: Final = (0, 2, 4, 6, 7, 9, 11)
HIJAZ: Final = (0, 1, 4, 5, 7, 8, 10)
PENTATONIC: Final = (0, 2, 4, 7, 9)


@frozen
class Score:
    """The notes of a song: tempo, key, one chord a bar (a step of the scale), and the melody's phrases."""

    bpm: float
    beats: int
    root: int
    """The tonic as a MIDI note, in the octave of the pad."""
    scale: tuple[int, ...]
    chords: tuple[int, ...]
    phrases: tuple[Phrase, ...]
    lead: Lead
    drums: Drums
    warmth: float
    """How fast the pad's overtones fall: 1 bright, 2 dark."""
    intro: int = 2
    """Bars before the first line of lyrics."""
    line_bars: float = 1.0
    outro: int = 2
    lines: int = 8

    @property
    def bar(self) -> float:
        """Seconds a bar."""
        return self.beats * 60.0 / self.bpm

    @property
    def bars(self) -> int:
        return self.intro + round(self.lines * self.line_bars) + self.outro

    @property
    def seconds(self) -> float:
        """The length with the last chord's decay."""
        return round(self.bars * self.bar + 1.6, 2)

    def line_start(self, number: int) -> float:
        """When a line of lyrics is sung."""
        return round((self.intro + number * self.line_bars) * self.bar, 3)

    def word_starts(self, number: int, words: int) -> tuple[float, ...]:
        """When each word of a line is sung, and when the last one ends: along the notes of the melody."""
        start, beat = self.line_start(number), self.bar / self.beats
        at, end, onsets = 0.0, 0.0, list[float]()
        for step, length in self.phrases[number % len(self.phrases)]:
            if step is not None:
                onsets.append(at)
                end = at + length
            at += length
        onsets.append(min(end, self.line_bars * self.beats))
        places = (word * (len(onsets) - 1) / words for word in range(words + 1))
        return tuple(round(start + beat * _between(onsets, place), 3) for place in places)


def _between(values: Sequence[float], place: float) -> float:
    """The value at a place, which may lie between two."""
    whole = min(int(place), len(values) - 2)
    return values[whole] + (place - whole) * (values[whole + 1] - values[whole])


@frozen
class Song:
    """One built-in track."""

    task_id: str
    suno_id: str
    title: str
    artist: str
    language: str
    tags: str
    cover: str
    """The name of its picture."""
    score: Score
    words: tuple[str, ...]


SONGS: Final = (
    Song(
        "task_harbour01",
        "suno_8f3c2b7a51d94e06",
        "Harbour Lights",
        "Nova Quay",
        "en",
        "dream pop, slow, warm",
        "harbour",
        Score(
            bpm=84,
            beats=4,
            root=57,
            scale=MAJOR,
            chords=(0, 5, 3, 4),
            phrases=(
                ((4, 1), (5, 0.5), (4, 0.5), (2, 1), (None, 1)),
                ((2, 0.5), (4, 0.5), (7, 1.5), (5, 0.5), (4, 1)),
                ((5, 1), (4, 0.5), (2, 0.5), (0, 1), (None, 1)),
                ((1, 0.5), (2, 0.5), (4, 1.5), (3, 0.5), (1, 1)),
            ),
            lead="pluck",
            drums="half",
            warmth=1.6,
        ),
        (
            "The harbour keeps its lanterns low",
            "And counts the boats it used to know",
            "A rope, a bell, a turning tide",
            "Your coat still warm against my side",
            "Stay until the lights go out",
            "Stay until the gulls come round",
            "Every ship that finds the shore",
            "Leaves a little wanting more",
        ),
    ),
    Song(
        "task_harbour01",
        "suno_c04d9e18a7f2463b",
        "Harbour Lights (Night Ferry)",
        "Nova Quay",
        "en",
        "ambient, piano, nocturne",
        "aurora",
        Score(
            bpm=66,
            beats=4,
            root=54,
            scale=MINOR,
            chords=(0, 5, 2, 6),
            phrases=(
                ((7, 1.5), (6, 0.5), (4, 2)),
                ((4, 0.5), (6, 0.5), (7, 1), (9, 2)),
                ((9, 1.5), (8, 0.5), (6, 1), (4, 1)),
                ((3, 1), (4, 1), (2, 2)),
            ),
            lead="keys",
            drums="none",
            warmth=2.0,
            intro=1,
            outro=1,
        ),
        (
            "The last boat hums across the bay",
            "It carries all we did not say",
            "The windows draw a golden thread",
            "From what we were to what's ahead",
            "Night ferry, take the long way home",
            "Nobody here is quite alone",
            "The harbour lights are small and slow",
            "They wave to us, and then they go",
        ),
    ),
    Song(
        "task_islands02",
        "suno_5a71e0d39b8c4f22",
        "Ilhas de Sal",
        "Mar Adentro",
        "pt",
        "bossa, acoustic, sunny",
        "islands",
        Score(
            bpm=126,
            beats=4,
            root=60,
            scale=MAJOR,
            chords=(0, 0, 1, 1, 4, 4, 0, 5),
            phrases=(
                ((2, 1.5), (4, 0.5), (5, 1), (4, 1), (2, 1.5), (1, 0.5), (0, 2)),
                ((1, 1.5), (3, 0.5), (5, 1), (3, 1), (1, 1.5), (2, 0.5), (3, 2)),
                ((4, 0.5), (5, 0.5), (6, 1), (8, 1), (6, 1), (5, 1), (4, 1), (3, 2)),
                ((2, 1), (4, 1), (2, 0.5), (1, 1.5), (0, 4)),
            ),
            lead="pluck",
            drums="brush",
            warmth=1.3,
            line_bars=2.0,
        ),
        (
            "Acordei com o mar na janela",
            "E um barco de vela amarela",
            "Trago sal no cabelo e na voz",
            "E um caminho de espuma entre nós",
            "Ilha a ilha, eu volto para ti",
            "Cada onda me diz que é aqui",
            "Se a maré nos levar devagar",
            "Deixa o dia acabar de cantar",
        ),
    ),
    Song(
        "task_forest03",
        "suno_e92b6c40d1574a8f",
        "Паперовий ліс",
        "Тиха Стежка",
        "uk",
        "folk, waltz, music box",
        "forest",
        Score(
            bpm=104,
            beats=3,
            root=62,
            scale=DORIAN,
            chords=(0, 0, 3, 0, 6, 3, 4, 0),
            phrases=(
                ((4, 1), (5, 1), (4, 1), (7, 2), (6, 1)),
                ((5, 1), (4, 1), (3, 1), (4, 3)),
                ((6, 1), (7, 1), (8, 1), (7, 1), (5, 1), (3, 1)),
                ((4, 1), (3, 1), (1, 1), (0, 3)),
            ),
            lead="bell",
            drums="waltz",
            warmth=1.8,
            line_bars=2.0,
        ),
        (
            "У паперовому лісі падає сніг",
            "Місяць торкається білих доріг",
            "Тихо ступає олень між тінями",
            "Світить ліхтар у долоні твоїй",
            "Іди за мною, не бійся, іди",
            "Ми залишаємо теплі сліди",
            "Вітер гортає дерева, мов книжку",
            "Ніч засинає, як кішка, у ліжку",
        ),
    ),
    Song(
        "task_morning04",
        "suno_17d8f5a2c3e04b96",
        "Μπλε Πρωί",
        "Νότια Αύρα",
        "el",
        "indie pop, morning, island",
        "morning",
        Score(
            bpm=114,
            beats=4,
            root=59,
            scale=LYDIAN,
            chords=(0, 1, 0, 5, 3, 4, 0, 1),
            phrases=(
                ((4, 0.5), (5, 0.5), (7, 1), (6, 1), (4, 1), (5, 2), (None, 2)),
                ((5, 0.5), (6, 0.5), (8, 1), (7, 1), (5, 1), (4, 2), (None, 2)),
                ((7, 1), (9, 1), (8, 1), (7, 1), (5, 2), (4, 2)),
                ((2, 1), (4, 1), (5, 1), (4, 1), (1, 2), (0, 2)),
            ),
            lead="lute",
            drums="pulse",
            warmth=1.2,
            intro=1,
            line_bars=2.0,
            outro=1,
        ),
        (
            "Ξυπνάει το νησί στο φως",
            "Κι ο ήλιος κάθεται στα σκαλιά",
            "Μια βάρκα φεύγει σιωπηλά",
            "Κι αφήνει πίσω μια γραμμή",
            "Μπλε πρωί, κράτησέ με εδώ",
            "Μπλε πρωί, μάθε μου να ζω",
            "Όσα δεν είπαμε χθες βράδυ",
            "Τα λέει το κύμα στο λιμάνι",
        ),
    ),
    Song(
        "task_dunes05",
        "suno_b6093fd7e81c4a55",
        "كثبان القمر",
        "ليل الرمال",
        "ar",
        "desert, oud, night",
        "dunes",
        Score(
            bpm=76,
            beats=4,
            root=50,
            scale=HIJAZ,
            chords=(0, 0, 3, 0, 6, 3, 1, 0),
            phrases=(
                ((7, 0.5), (8, 0.5), (9, 1), (8, 0.5), (7, 1.5)),
                ((6, 0.5), (7, 0.5), (8, 0.5), (7, 0.5), (5, 1), (4, 1)),
                ((4, 0.5), (5, 0.5), (7, 1), (5, 0.5), (4, 0.5), (3, 1)),
                ((2, 0.5), (3, 0.5), (2, 0.5), (1, 0.5), (0, 2)),
            ),
            lead="lute",
            drums="frame",
            warmth=1.7,
            intro=1,
        ),
        (
            "يا ليل الرمال خذني معك",
            "فالنجم يعرف أين أذهب",
            "على الكثبان ضوءٌ خفيف",
            "والريح تكتب ما لا يُقال",
            "امشِ معي حتى الصباح",
            "فالدرب أجمل حين نغني",
            "قلبي خيمةٌ بابها مفتوح",
            "وصوتك ماءٌ في الطريق",
        ),
    ),
    Song(
        "task_dunes05",
        "suno_3ce47a90b25d4f18",
        "كثبان القمر (موسيقى)",
        "ليل الرمال",
        "ar",
        "desert, flute, instrumental",
        "moon",
        Score(
            bpm=72,
            beats=4,
            root=52,
            scale=HIJAZ,
            chords=(0, 1, 0, 6),
            phrases=(
                ((4, 2), (5, 0.5), (4, 0.5), (3, 1)),
                ((1, 1), (2, 1), (4, 2)),
                ((7, 1.5), (8, 0.5), (7, 1), (5, 1)),
                ((4, 0.5), (3, 0.5), (1, 1), (0, 2)),
            ),
            lead="flute",
            drums="none",
            warmth=1.9,
            intro=1,
            outro=1,
            lines=6,
        ),
        (),
    ),
    Song(
        "task_lantern06",
        "suno_f12a8e6b07c94d3e",
        "Đèn Lồng Trên Sông",
        "Hạ Vân",
        "vi",
        "ballad, zither, river",
        "lanterns",
        Score(
            bpm=76,
            beats=4,
            root=55,
            scale=PENTATONIC,
            chords=(0, 3, 1, 2),
            phrases=(
                ((5, 1), (6, 0.5), (7, 0.5), (6, 1), (5, 1)),
                ((4, 0.5), (5, 0.5), (6, 1), (4, 2)),
                ((3, 1), (4, 0.5), (5, 0.5), (7, 2)),
                ((6, 0.5), (5, 0.5), (3, 1), (2, 2)),
            ),
            lead="pluck",
            drums="brush",
            warmth=1.9,
            intro=1,
            outro=1,
        ),
        (
            "Đèn lồng trôi nhẹ trên sông",
            "Mang theo điều ước trong lòng",
            "Gió đưa hương lúa về đây",
            "Trăng nghiêng bên một nhành cây",
            "Em ơi, đêm nay thật dài",
            "Hát cho nhau nghe ngày mai",
            "Bao nhiêu ánh sáng trên đời",
            "Cũng không bằng em mỉm cười",
        ),
    ),
    Song(
        "task_circle07",
        "suno_60bd4f9c8a1e4712",
        "Kreis und Linie",
        "Haus Siebzehn",
        "de",
        "electronic, minimal, upbeat",
        "bauhaus",
        Score(
            bpm=118,
            beats=4,
            root=57,
            scale=DORIAN,
            chords=(0, 0, 3, 3, 6, 6, 4, 4),
            phrases=(
                ((0, 0.5), (2, 0.5), (4, 0.5), (7, 0.5), (6, 1), (4, 1), (2, 0.5), (4, 0.5), (2, 3)),
                ((3, 0.5), (5, 0.5), (7, 0.5), (10, 0.5), (9, 1), (7, 1), (5, 4)),
                ((6, 0.5), (8, 0.5), (10, 1), (8, 0.5), (6, 0.5), (4, 1), (6, 4)),
                ((4, 0.5), (6, 0.5), (8, 1), (7, 1), (6, 1), (4, 1), (1, 1), (0, 2)),
            ),
            lead="keys",
            drums="pulse",
            warmth=1.1,
            intro=1,
            line_bars=2.0,
            outro=1,
        ),
        (
            "Ein Kreis, ein Punkt, ein roter Strich",
            "Die Stadt erwacht und zeichnet mich",
            "Im Takt der Bahn, im Takt der Zeit",
            "Fällt blaues Licht auf gelbes Kleid",
            "Geradeaus und dann nach Haus",
            "Wir malen uns die Wege aus",
            "Und wenn die Farbe nicht mehr reicht",
            "Dann wird der Abend federleicht",
        ),
    ),
)
