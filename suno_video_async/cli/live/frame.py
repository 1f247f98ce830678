"""Renders a conversion as lines that fit any terminal; pure functions of values.

Each line is truncated to the terminal's width, measured in cells, and the least important lines are dropped if
there is no room: nothing wraps, so that the frame can be redrawn in place, whatever the tracks' names are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import evolve, field, frozen
from rich.cells import cell_len
from rich.text import Text

from suno_video_async.cli.live.state import InFlight
from suno_video_async.models import RateLimit

#: The minimum width for labels, and for a task's id beside its name.
_WIDE = 60
_LABEL, _ID = 9, 13
#: A state's style, and the characters of its part of the bar, in Unicode and in ASCII.
_LOOKS: Mapping[str, tuple[str, str, str]] = {
    "done": ("green", "█", "#"),
    "skipped": ("green dim", "█", "#"),
    "failed": ("red", "▚", "x"),
    "refused": ("red", "▚", "x"),
    "unknown": ("bold red", "▚", "?"),
    "not downloaded": ("red", "▚", "x"),
    "submitted": ("yellow", "▒", "-"),
    "downloading": ("cyan", "▓", "="),
    "in flight": ("blue", "▒", "-"),
    "waiting": ("dim", "░", "."),
    "planned": ("dim", "░", "."),
}


@frozen(kw_only=True)
class Frame:
    """A conversion at one moment; times in seconds of the client's clock.

    Attributes:
        title: what is converted.
        ended: finished tracks.
        total: all tracks, if they can be counted.
        states: the number of tracks in each state.
        elapsed: since the start.
        left: the forecast in words, or None.
        rate: the rate limit.
        used: requests that count against it at present.
        read_rate: that of the reads, if they have their own; `rate` is then for submissions.
        reads_used: reads that count against it at present.
        found: the limits that were found so far, in words.
        requests: all requests so far.
        refused: how many of them were over the limit.
        paused_for: the rest of a pause that the server asked for.
        spent: credits.
        reserved: credits for unsettled submissions.
        budget: the maximum credits.
        slowest: the oldest tasks, the oldest first.
        stuck_after: the age from which a task counts as stuck, if known.
        usual: the age by which most tasks are finished, if known.
        troubles: the latest problems, the newest last.
        word: a last line, such as the effect of an interruption.

    """

    title: str
    ended: int = 0
    total: int | None = None
    states: Mapping[str, int] = field(factory=dict[str, int])
    elapsed: float = 0.0
    left: str | None = None
    rate: RateLimit | None = None
    used: int = 0
    read_rate: RateLimit | None = None
    reads_used: int = 0
    found: str = ""
    requests: int = 0
    refused: int = 0
    paused_for: float = 0.0
    spent: float = 0.0
    reserved: float = 0.0
    budget: float | None = None
    slowest: Sequence[InFlight] = ()
    stuck_after: float | None = None
    usual: float | None = None
    troubles: Sequence[str] = ()
    word: str = ""


def lines(frame: Frame, *, width: int, height: int, letters: bool = False) -> list[Text]:
    """Return a frame as at most `height` lines of at most `width` cells.

    Args:
        frame: what to show.
        width: the terminal's columns.
        height: the available lines.
        letters: draw in ASCII only.

    """
    labelled = width >= _WIDE
    frame = _in_letters(frame) if letters else frame
    blocks = [
        (0, [_progress(frame, width, letters=letters)]),
        (1, _states(frame, width, labelled=labelled)),
        (2, [_labelled("time", _time(frame), width, labelled=labelled)]),
        (3, [_labelled("rate", _rate(frame), width, labelled=labelled)]),
        (4, [_labelled("credits", _credits(frame), width, labelled=labelled)]),
        (6, _slowest(frame, labelled=labelled)),
        (5, _troubles(frame, labelled=labelled)),
        (0, [Text(frame.word, style="yellow")] if frame.word else []),
    ]
    ranked = sorted((rank, at, line) for at, (rank, block) in enumerate(blocks) for line in range(len(block)))
    shown = sorted((at, line) for _, at, line in ranked[: max(1, height)])
    chosen = [blocks[at][1][line] for at, line in shown]
    for text in chosen:
        text.no_wrap = True
        text.truncate(width, overflow="crop" if letters else "ellipsis")
    return chosen


def _in_letters(frame: Frame) -> Frame:
    """Return a frame without characters that the terminal could only write as escapes, which take more cells."""
    return evolve(
        frame,
        title=_letters(frame.title),
        slowest=[evolve(one, name=_letters(one.name)) for one in frame.slowest],
        troubles=[_letters(said) for said in frame.troubles],
    )


def _letters(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _progress(frame: Frame, width: int, *, letters: bool) -> Text:
    """Return the title, a bar of the states, and the number of finished tracks."""
    of = "" if frame.total is None else f"/{frame.total}"
    share = f" {frame.ended / frame.total:4.0%}" if frame.total else ""
    right = f" {frame.ended}{of}{share}"
    title = Text(frame.title, style="bold")
    title.truncate(max(8, width // 3), overflow="crop" if letters else "ellipsis")
    room = width - title.cell_len - 1 - len(right)
    line = title.append(" ")
    if room >= 4:
        line.append_text(_bar(frame.states, room, letters=letters))
    return line.append(right)


def _bar(states: Mapping[str, int], room: int, *, letters: bool) -> Text:
    bar = Text()
    known = [(name, states[name]) for name in _LOOKS if states.get(name)]
    for (name, _), cells in zip(known, _shares([n for _, n in known], room), strict=True):
        style, block, letter = _LOOKS[name]
        bar.append((letter if letters else block) * cells, style=style)
    return bar if known else Text(" " * room)


def _shares(numbers: Sequence[int], room: int) -> list[int]:
    """Divide `room` cells among numbers by their shares, with at least one each if there is room."""
    total = sum(numbers)
    cells = [max(1, n * room // total) for n in numbers]
    exact = [n * room / total for n in numbers]
    while cells and sum(cells) != room:
        step = 1 if sum(cells) < room else -1
        able = [k for k in range(len(cells)) if step > 0 or cells[k] > (1 if room >= len(cells) else 0)]
        most = max(able, key=lambda k: step * (exact[k] - cells[k]))
        cells[most] += step
    return cells


def _states(frame: Frame, width: int, *, labelled: bool) -> list[Text]:
    """Return the states in as many lines as they need."""
    found = [(name, n) for name in _LOOKS if (n := frame.states.get(name))]
    rows, room = [Text()], width - (_LABEL if labelled else 0)
    for name, n in found:
        part = Text.assemble((str(n), "bold"), f" {name}", style=_LOOKS[name][0])
        if rows[-1] and rows[-1].cell_len + 2 + part.cell_len > room:
            rows.append(Text())
        rows[-1].append("  " if rows[-1] else "").append_text(part)
    if not found:
        rows[0].append("starting")
    return [_labelled("tracks" if n == 0 else "", [row], width, labelled=labelled) for n, row in enumerate(rows)]


def _labelled(label: str, parts: Sequence[Text | str], width: int, *, labelled: bool) -> Text:
    """Return as many parts as fit, after a label if there is room for one; the first is always included."""
    line = Text(f"{label:{_LABEL}}" if labelled else "", style="")
    line.stylize("dim")
    first = True
    for part in parts:
        text = part if isinstance(part, Text) else Text(part)
        if not first and line.cell_len + 2 + text.cell_len > width:
            break
        line.append("" if first else "  ").append_text(text)
        first = False
    return line


def _time(frame: Frame) -> list[Text | str]:
    so_far = f"{in_words(frame.elapsed)} so far"
    return [Text(frame.left, style="bold"), so_far] if frame.left else [so_far]


def _rate(frame: Frame) -> list[Text | str]:
    parts = list[Text | str]()
    if frame.paused_for > 0:
        parts.append(Text(f"paused by the server for {in_words(frame.paused_for)}", style="yellow"))
    if frame.rate is not None:
        what = "requests" if frame.read_rate is None else "submissions"
        parts.append(f"{frame.used} of {frame.rate.requests} {what} in {frame.rate.per:g} s")
    if frame.read_rate is not None:
        parts.append(f"{frame.reads_used} of {frame.read_rate.requests} reads in {frame.read_rate.per:g} s")
    if frame.found:
        parts.append(f"limit found: {frame.found}")
    parts.append(f"{frame.requests} in all")
    if frame.refused:
        parts.append(Text(f"{frame.refused} refused", style="yellow"))
    return parts


def _credits(frame: Frame) -> list[Text | str]:
    parts: list[Text | str] = [f"{_amount(frame.spent)} credit{'' if frame.spent == 1 else 's'} spent"]
    if frame.reserved:
        parts.append(f"{_amount(frame.reserved)} reserved")
    if frame.budget is not None:
        parts.append(f"of at most {_amount(frame.budget)}")
    return parts


def _amount(credits_: float) -> str:
    return f"{round(credits_, 2):,g}" if credits_ < 1e5 else f"{credits_:,.0f}"


def _slowest(frame: Frame, *, labelled: bool) -> list[Text]:
    rows = list[Text]()
    for one in frame.slowest:
        stuck = frame.stuck_after is not None and one.seen >= frame.stuck_after
        label = "" if rows else "slowest"
        row = Text(f"{label:{_LABEL}}" if labelled else ("" if rows else "slowest "), style="")
        row.stylize("dim")
        row.append(f"{in_words(one.age)} ", style="bold red" if stuck else "")
        if stuck:
            usual = f" (most take {in_words(frame.usual)})" if frame.usual is not None and labelled else ""
            row.append(f"stuck{usual} ", style="red")
        if labelled:
            row.append(_letters(one.task_id)[:_ID] + " ", style="dim")
        rows.append(row.append(one.name))  # last: a name may be written from right to left
    return rows


def _troubles(frame: Frame, *, labelled: bool) -> list[Text]:
    rows = list[Text]()
    for said in reversed(frame.troubles):
        label = f"{'' if rows else 'trouble':{_LABEL}}" if labelled else ""
        rows.append(Text.assemble((label, "dim"), (said, "red")))
    return rows


def in_words(seconds: float) -> str:
    """Return a duration in words, in two units at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 10:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def about(seconds: float) -> str:
    """Return a forecast in words, rounded to a plausible precision."""
    for most, step in ((60.0, 5.0), (600.0, 30.0), (3600.0, 60.0), (86400.0, 300.0)):
        if seconds < most:
            return in_words(max(step, step * round(seconds / step)))
    return in_words(3600.0 * round(seconds / 3600.0))


def widths(shown: Sequence[Text]) -> list[int]:
    """Return the widths of lines in cells."""
    return [cell_len(text.plain) for text in shown]
