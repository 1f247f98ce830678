"""Scores to sound: a small additive synthesiser, a reverb and a limiter, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from suno_video_async.lyricvideo.songs.scores import Lead, Phrase, Score

RATE: Final = 44100
Wave = npt.NDArray[np.float32]

# Overtones of each lead as (multiple, loudness, decay a second); the pad's follow from the score's warmth.
_TIMBRES: Final[dict[Lead, tuple[tuple[float, float, float], ...]]] = {
    "pluck": ((1, 1.0, 2.6), (2, 0.55, 4.0), (3, 0.30, 5.5), (4, 0.18, 7.0), (5, 0.10, 9.0), (6, 0.05, 12.0)),
    "bell": ((1, 1.0, 1.7), (2.0, 0.35, 2.8), (3.01, 0.28, 4.2), (5.43, 0.16, 6.5), (8.2, 0.06, 11.0)),
    "flute": ((1, 1.0, 0.25), (2, 0.30, 0.3), (3, 0.12, 0.4), (4, 0.04, 0.5)),
    "lute": (
        (1, 0.8, 3.0),
        (2, 0.75, 3.8),
        (3, 0.55, 5.0),
        (4, 0.34, 6.2),
        (5, 0.24, 7.6),
        (6, 0.16, 9.0),
        (7, 0.10, 11.0),
        (8, 0.07, 13.0),
    ),
    "keys": ((1, 1.0, 1.5), (2, 0.42, 2.4), (3, 0.16, 3.8), (4, 0.12, 5.0), (7, 0.05, 12.0)),
}


def synthesise(score: Score, *, seed: int) -> Wave:
    """Play a score; returns stereo samples of shape (2, n) at `RATE`, loudness about -16 dB."""
    noise = np.random.default_rng(seed)
    dry: Wave = np.zeros((2, round(score.seconds * RATE)), np.float32)
    wet = np.zeros_like(dry)
    _pad(score, dry, wet)
    _bass(score, dry)
    _melody(score, dry, wet)
    _drums(score, dry, wet, noise)
    room = _reverb(wet, noise)
    room *= np.float32(0.32)
    return _master(dry + room)


def _pitch(score: Score, step: int) -> float:
    octave, place = divmod(step, len(score.scale))
    semitones = score.root + 12 * octave + score.scale[place] - 69
    return 440.0 * math.exp2(semitones / 12)


def _chord(step: int) -> tuple[int, ...]:
    """A triad on a step; in five-note scales the same steps make an open chord."""
    return (step, step + 2, step + 4)


def _times(seconds: float) -> Wave:
    return np.arange(max(1, int(seconds * RATE)), dtype=np.float32) / np.float32(RATE)


def _sine(frequency: float, times: Wave, phase: float = 0.0) -> Wave:
    sine: Wave = np.sin(np.float32(2 * np.pi * frequency) * times + np.float32(phase))
    return sine


def _swell(length: int, attack: float, release: float) -> Wave:
    """Up in `attack` seconds, down in the last `release`, smooth at both."""
    envelope: Wave = np.ones(length, np.float32)
    for count, part in ((attack, slice(None)), (release, slice(None, None, -1))):
        samples = min(length, max(1, int(count * RATE)))
        ramp = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, samples, dtype=np.float32))
        envelope[part][:samples] *= ramp
    return envelope


def _add(target: Wave, sound: Wave, start: float, left: float, right: float) -> None:
    at = int(start * RATE)
    sound = sound[: max(0, target.shape[1] - at)]
    target[0, at : at + sound.size] += np.float32(left) * sound
    target[1, at : at + sound.size] += np.float32(right) * sound


def _pad(score: Score, dry: Wave, wet: Wave) -> None:
    held: dict[int, tuple[Wave, Wave]] = {}
    length = score.bar + 0.7
    for bar in range(score.bars):
        step = 0 if bar >= score.bars - 1 else score.chords[bar % len(score.chords)]
        if step not in held:
            held[step] = _pad_chord(score, step, length)
        for side, sound in enumerate(held[step]):
            level = 0.055
            _add(dry, sound, bar * score.bar, level * (1 - side), level * side)
            _add(wet, sound, bar * score.bar, level * 0.7 * (1 - side), level * 0.7 * side)


def _pad_chord(score: Score, step: int, length: float) -> tuple[Wave, Wave]:
    """One chord, each side tuned a little apart, so that it is wide."""
    times = _times(length)
    envelope = _swell(times.size, 0.55, 0.75)
    sides: list[Wave] = []
    for detune in (0.9984, 1.0016):
        sound = np.zeros_like(times)
        for number, note in enumerate(_chord(step)):
            pitch = _pitch(score, note)
            pitch *= 0.5 if pitch > 420 else 1.0
            for overtone in range(1, 6):
                loud = overtone**-score.warmth
                sound += np.float32(loud) * _sine(pitch * overtone * detune, times, 1.7 * number + overtone)
        sides.append(sound * envelope)
    return sides[0], sides[1]


def _bass(score: Score, dry: Wave) -> None:
    beat = 60.0 / score.bpm
    hits = ((0.0, 1.6), (beat * 2.5, 1.0)) if score.beats == 4 else ((0.0, 1.4),)
    for bar in range(score.bars):
        step = 0 if bar >= score.bars - 1 else score.chords[bar % len(score.chords)]
        pitch = _pitch(score, step) / 2
        while pitch > 98:
            pitch /= 2
        for offset, beats in hits if bar >= 1 else hits[:1]:
            _add(dry, _bass_note(round(pitch, 3), round(beats * beat, 3)), bar * score.bar + offset, 0.17, 0.17)


@cache
def _bass_note(pitch: float, seconds: float) -> Wave:
    times = _times(seconds)
    sound = _sine(pitch, times) + 0.32 * _sine(2 * pitch, times) + 0.10 * _sine(3 * pitch, times)
    decay = np.exp(-1.3 * times)
    return np.asarray(sound * decay * _swell(times.size, 0.012, 0.09), np.float32)


def _notes(score: Score) -> Iterator[tuple[float, int, float]]:
    """(start in beats, step, beats) of the melody: a phrase for each line, from the first line on."""
    phrases: list[Phrase] = list(score.phrases)
    beats = score.line_bars * score.beats
    for line in range(score.lines):
        at = score.intro * score.beats + line * beats
        end = at + beats
        # The second half answers a third higher.
        lift = 2 if line >= score.lines // 2 and line % 4 == 0 else 0
        for step, length in phrases[line % len(phrases)]:
            if step is not None and at < end:
                yield at, step + lift, min(length, end - at)
            at += length
    yield (score.bars - 1) * score.beats, len(score.scale), float(score.beats)


def _melody(score: Score, dry: Wave, wet: Wave) -> None:
    beat = 60.0 / score.bpm
    ring = 0.12 if score.lead == "flute" else 1.4
    for number, (at, step, beats) in enumerate(_notes(score)):
        pitch = _pitch(score, step)
        while pitch > 900:
            pitch /= 2
        sound = _lead_note(score.lead, round(pitch, 3), round(beats * beat + ring, 3))
        accent = 0.16 if at % score.beats < 0.01 else 0.135
        sway = 0.16 * (-1) ** number
        _add(dry, sound, at * beat, accent * (1 - sway), accent * (1 + sway))
        _add(wet, sound, at * beat, accent * 0.8, accent * 0.8)
        if score.lead in {"pluck", "bell"}:
            # A soft echo, a beat and a half later on the other side.
            _add(wet, sound, (at + 1.5) * beat, accent * 0.3 * (1 + sway), accent * 0.3 * (1 - sway))


@cache
def _lead_note(lead: Lead, pitch: float, seconds: float) -> Wave:
    times = _times(min(seconds, 3.4))
    sound = np.zeros_like(times)
    bend = np.float32(0.0)
    if lead == "flute":
        depth = np.clip((times - 0.25) * 3, 0, 1) * np.float32(0.09)
        bend = depth * _sine(5.1, times)
    for multiple, loud, decay in _TIMBRES[lead]:
        if pitch * multiple < 15000:
            phase = np.float32(2 * np.pi * pitch * multiple) * times + np.float32(multiple) * bend
            sound += np.float32(loud) * np.sin(phase) * np.exp(np.float32(-decay) * times)
    attack = {"flute": 0.09, "keys": 0.008, "bell": 0.004}.get(lead, 0.003)
    return np.asarray(sound * _swell(times.size, attack, 0.12), np.float32)


# Each kit as (beat, what, loudness), within a bar.
_KITS: Final[dict[str, tuple[tuple[float, str, float], ...]]] = {
    "none": (),
    "half": (
        (0, "kick", 0.9),
        (2, "snare", 0.6),
        (2.5, "kick", 0.5),
        *((b / 2, "hat", 0.35 if b % 2 else 0.5) for b in range(8)),
    ),
    "brush": (
        (0, "kick", 0.55),
        (2.5, "kick", 0.4),
        (1, "snare", 0.3),
        (3, "snare", 0.35),
        *((b / 2, "hat", 0.6 if b in {0, 3, 6} else 0.25) for b in range(8)),
    ),
    "pulse": (
        *((float(b), "kick", 0.75) for b in range(4)),
        *((b + 0.5, "hat", 0.5) for b in range(4)),
        (1, "snare", 0.35),
        (3, "snare", 0.4),
    ),
    "waltz": ((0, "kick", 0.6), (1, "hat", 0.5), (2, "hat", 0.4)),
    "frame": (
        (0, "drum", 1.0),
        (0.75, "tick", 0.5),
        (1.5, "tick", 0.6),
        (2, "drum", 0.7),
        (2.5, "tick", 0.4),
        (3, "tick", 0.6),
    ),
}


def _drums(score: Score, dry: Wave, wet: Wave, noise: np.random.Generator) -> None:
    kit = {name: _hit(name, noise) for name in ("kick", "snare", "hat", "drum", "tick")}
    beat = 60.0 / score.bpm
    for bar in range(1, score.bars - 1):
        for at, name, loud in _KITS[score.drums]:
            start = bar * score.bar + at * beat
            level = loud * 0.2 * (0.92 + 0.16 * float(noise.random()))
            pan = {"hat": 0.2, "tick": -0.2}.get(name, 0.0)
            _add(dry, kit[name], start, level * (1 - pan), level * (1 + pan))
            if name in {"snare", "tick", "drum"}:
                _add(wet, kit[name], start, level * 0.4, level * 0.4)


def _hit(name: str, noise: np.random.Generator) -> Wave:
    times = _times(0.4)
    hiss = noise.standard_normal(times.size, np.float32)
    if name in {"kick", "drum"}:
        low, sweep, decay = (46.0, 62.0, 9.0) if name == "kick" else (78.0, 34.0, 7.0)
        phase = 2 * np.pi * (low * times + sweep / 28.0 * (1 - np.exp(-28.0 * times)))
        sound = np.sin(phase) * np.exp(-decay * times)
    elif name == "snare":
        soft = np.convolve(hiss, np.ones(4, np.float32) / 4, mode="same")
        sound = 0.55 * soft * np.exp(-17.0 * times) + 0.35 * _sine(186.0, times) * np.exp(-24.0 * times)
    else:
        bright = np.diff(hiss, n=2, prepend=np.zeros(2, np.float32))
        soft = np.convolve(bright, np.array([0.25, 0.5, 0.25], np.float32), mode="same")
        decay = 55.0 if name == "hat" else 90.0
        sound = soft * np.exp(-decay * times) * (0.32 if name == "hat" else 0.6)
    return np.asarray(sound * _swell(times.size, 0.001, 0.05), np.float32)


def _reverb(sound: Wave, noise: np.random.Generator) -> Wave:
    """Convolution with decaying noise, darker as it decays."""
    times = _times(1.9)
    size = _smooth(sound.shape[1] + times.size)
    out = np.empty_like(sound)
    for side in range(2):
        tail = noise.standard_normal(times.size, np.float32)
        dark = np.convolve(tail, np.ones(12, np.float32) / 4, mode="same")
        fade = np.exp(-5.5 * times)
        tail = (tail * np.exp(-9.0 * times) + dark * (1 - np.exp(-6.0 * times))) * fade
        tail[: int(0.012 * RATE)] = 0.0
        tail /= np.float32(np.sqrt(np.sum(tail.astype(np.float64) ** 2)))
        spectrum = np.fft.rfft(sound[side], size) * np.fft.rfft(tail, size)
        out[side] = np.fft.irfft(spectrum, size)[: sound.shape[1]]
    return out


def _smooth(size: int) -> int:
    """The next size that the FFT is fast at."""
    best = 1 << (size - 1).bit_length()
    for three in (3, 9, 5, 15):
        candidate = three << max(0, (-(-size // three) - 1).bit_length())
        best = min(best, candidate) if candidate >= size else best
    return best


def _master(mix: Wave) -> Wave:
    """Even loudness, no clipping, a fade at each end."""
    loud = float(np.sqrt(np.mean(mix.astype(np.float64) ** 2))) or 1.0
    mix = np.asarray(np.tanh(mix * np.float32(0.14 / loud)) / np.float32(0.9), np.float32)
    peak = float(np.abs(mix).max()) or 1.0
    mix *= np.float32(min(1.0, 0.92 / peak))
    return mix * _swell(mix.shape[1], 0.25, 2.6)
