"""The parts of a report that work without its script: totals, cost, what needs a decision, what failed."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from suno_video_async.batch.witness import Evidence
from suno_video_async.ledger.model import MICRO
from suno_video_async.ledger.states import State
from suno_video_async.models import RateLimit
from suno_video_async.report.commands import Commands
from suno_video_async.report.facts import MOST_LISTED, Facts, Item, title_of
from suno_video_async.report.pace import Durations, durations
from suno_video_async.report.reasons import MOST_NAMED, MOST_SHOWN, Reason, Way
from suno_video_async.report.videos import File

#: Maximum unknown rows shown with their commands; a command lists the others.
MOST_UNKNOWN = 50

#: In the order in which they are shown.
STATES = (
    State.DOWNLOADED,
    State.SUCCEEDED,
    State.SUBMITTED,
    State.SUBMITTING,
    State.PLANNED,
    State.UNKNOWN,
    State.FAILED,
    State.REFUSED,
)
_WORDS = {
    State.DOWNLOADED: "on disk",
    State.SUCCEEDED: "made, not on disk",
    State.SUBMITTED: "being made",
    State.SUBMITTING: "being submitted",
    State.PLANNED: "to be bought",
    State.UNKNOWN: "unknown",
    State.FAILED: "failed",
    State.REFUSED: "refused",
}
_NEXT = {
    Way.RETRY: "Another try costs credits again; without the option, nothing is bought again.",
    Way.AGAIN: "Nothing was bought: the same command tries again, and nothing is paid for twice.",
    Way.NEVER: "Given up by hand: no command buys it again.",
}


def escaped(text: str) -> str:
    """Return text as HTML."""
    # A lone surrogate, from a file name that is not UTF-8, cannot be encoded.
    return html.escape(text.encode(errors="replace").decode())


def body(
    facts: Facts,
    commands: Commands,
    rate: RateLimit | None,
    read_rate: RateLimit | None,
    files: Mapping[int, File],
) -> str:
    """Return the page's body, without what its script draws."""
    took = durations(facts.took)
    missing = [item for item in facts.items if (file := files.get(item.row.id)) and file.size is None]
    parts = [
        _head(facts),
        '<main id="main">',
        _hero(facts),
        _unknown(facts, commands),
        _reasons(facts.reasons, commands),
        _open(facts, commands, missing),
        _charts(facts, _pace(rate, read_rate), took),
        _gallery(facts),
        "</main>",
        _foot(facts),
    ]
    return "\n".join(part for part in parts if part)


def _head(facts: Facts) -> str:
    return (
        '<a class="skip" href="#tracks">Skip to the videos</a><header class="bar"><div class="brand">'
        '<span class="mark" aria-hidden="true"></span>'
        f'<bdi>{escaped(facts.ledger.name)}</bdi></div><div class="tools">{_time(facts.at)}'
        '<button id="theme" type="button" hidden aria-label="Light or dark"><span aria-hidden="true">◐</span>'
        "</button></div></header>"
    )


def _hero(facts: Facts) -> str:
    total, made = facts.total, facts.made
    share = f"{100 * made // total} %" if total else "–"
    are = f"{_many(total, 'video')} {'is' if total == 1 else 'are'} made"
    words = f"{made:,} of {are}" if made < total else f"All {are}" if total > 1 else "The video is made"
    if not total:
        words = "Nothing was submitted yet"
    return (
        f'<section class="hero"><h1>{words}</h1>{_bar(facts)}<dl class="figures">'
        + "".join(
            f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd><dd class="more">{more}</dd></div>'
            for kind, name, value, more in _figures(facts, share)
        )
        + "</dl></section>"
    )


def _bar(facts: Facts) -> str:
    """Return the states as one bar: SVG, since the page allows no styles in attributes."""
    total, x, parts, keys = facts.total or 1, 0.0, list[str](), list[str]()
    for state in STATES:
        if count := facts.states.get(state, 0):
            width = 1000 * count / total
            parts.append(f'<rect class="s-{state.value}" x="{x:.3f}" y="0" width="{width:.3f}" height="10"/>')
            keys.append(f'<li><i class="dot s-{state.value}"></i>{count:,} {_WORDS[state]}</li>')
            x += width
    return (
        '<svg class="states" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f'{"".join(parts)}</svg><ul class="keys">{"".join(keys)}</ul>'
    )


def _figures(facts: Facts, share: str) -> Iterator[tuple[str, str, str, str]]:
    states = facts.states
    yield "", "Made", share, f"{states.get(State.DOWNLOADED, 0):,} on disk"
    unknown = len(facts.unknown)
    yield (
        ("alert" if unknown else ""),
        "Unknown",
        f"{unknown:,}",
        "may have been paid for" if unknown else "nothing to settle",
    )
    failed, refused = states.get(State.FAILED, 0), states.get(State.REFUSED, 0)
    yield (
        ("bad" if failed + refused else ""),
        "Failed",
        f"{failed + refused:,}",
        (f"{failed:,} failed, {refused:,} refused" if refused else "tasks without a video"),
    )
    wasted = f", {_credits(facts.wasted)} without a video" if facts.wasted else ""
    yield "", "Credits spent", _credits(facts.spent), f"{_credits(facts.reserved)} set aside{wasted}"
    price = facts.price
    yield "", "A video", "–" if price is None else _credits(price), "credits on average"
    left = "" if price is None or not facts.to_buy else f"about {_credits(price * facts.to_buy)} credits more"
    yield "", "Left to buy", f"{facts.to_buy:,}", left or ("no price known" if facts.to_buy else "nothing")


def _unknown(facts: Facts, commands: Commands) -> str:
    if not facts.unknown:
        return ""
    shown = facts.unknown[:MOST_UNKNOWN]
    more = len(facts.unknown) - len(shown)
    rest = f"<p>And {more:,} more: {_command(commands.list_unknown())}</p>" if more else ""
    return (
        f'<section class="notice alert" id="unknown"><h2>{_many(len(facts.unknown), "row")} may have been paid'
        " for</h2>"
        "<p>The answer to the submission was lost, so it is not known whether a video was bought. Nothing is sent"
        " again automatically. Check your account: is there a task for the track?</p>"
        f"{''.join(map(_evidence, facts.evidence))}"
        f"{''.join(_unknown_row(item, commands, opened=item is shown[0]) for item in shown)}{rest}</section>"
    )


def _evidence(evidence: Evidence) -> str:
    rows = ", ".join(map(str, evidence.rows[:MOST_NAMED])) + (", …" if len(evidence.rows) > MOST_NAMED else "")
    return f'<p class="evidence">Rows {rows}: {len(evidence.rows):,} unknown; {escaped(str(evidence))}.</p>'


def _unknown_row(item: Item, commands: Commands, *, opened: bool) -> str:
    row, track = item.row, item.row.track
    adopt, resend, drop = commands.settle(row)
    names = (title_of(track), track.author, track.brand)
    signed = " · ".join(f"<bdi>{_short(part)}</bdi>" for part in names if part)
    reason = row.reason or "no reason known"
    if row.state is State.SUBMITTING:
        reason = "in flight while a convert is running; unknown if it was interrupted"
    task = f" Its task may be <code>{escaped(row.video_task_id)}</code>." if row.video_task_id else ""
    return (
        f'<details class="row"{" open" if opened else ""}><summary><b>Row {row.id}</b>'
        f" <bdi>{escaped(track.suno_id)}</bdi>"
        f'{signed and " "}<span class="muted">{signed}</span> {_time(row.since)}</summary>'
        f'<p dir="auto">{_short(reason)}{task} <span class="muted">{_short(row.location)}</span></p>'
        '<dl class="ways">'
        f"<dt>There is a task: follow it, at no cost</dt><dd>{_command(adopt)}</dd>"
        f"<dt>There is none: buy it with the next convert</dt><dd>{_command(resend)}</dd>"
        f"<dt>Give it up</dt><dd>{_command(drop)}</dd></dl></details>"
    )


def _reasons(reasons: Iterable[Reason], commands: Commands) -> str:
    cards = "".join(_reason(reason, commands) for reason in reasons)
    return (
        f'<section id="failures"><h2>What stopped the others</h2><div class="stack">{cards}</div></section>'
        if cards
        else ""
    )


def _reason(reason: Reason, commands: Commands) -> str:
    code = f" {reason.code}" if reason.code is not None else ""
    more = ", …" if reason.count > MOST_NAMED else ""
    cost = f" · {_credits(reason.cost)} credits" if reason.cost else ""
    command = commands.after(reason)
    return (
        f'<article class="reason s-{reason.state.value}"><h3><span class="count">{reason.count:,}</span>'
        f' <span class="badge s-{reason.state.value}">{_WORDS[reason.state]}</span>'
        f" <code>{escaped(reason.kind[:80])}{code}</code></h3>"
        f'<p class="words" dir="auto">{_short(reason.words) or "no reason given"}</p>'
        f'<p class="muted">Rows {", ".join(map(str, reason.rows))}{more}{cost}</p>'
        f"<p>{_NEXT[reason.way]}</p>{_command(command) if command else ''}</article>"
    )


def _open(facts: Facts, commands: Commands, missing: list[Item]) -> str:
    parts = list[str]()
    waiting = [
        (facts.states.get(State.SUBMITTED, 0), "bought and not finished: the same command follows"),
        (facts.states.get(State.SUCCEEDED, 0), "made and not on disk: the same command downloads"),
        (facts.states.get(State.PLANNED, 0), "not bought yet: the same command buys"),
    ]
    lines = "".join(_waiting(count, words) for count, words in waiting if count)
    if lines:
        parts.append(f"<ul>{lines}</ul>{_command(commands.convert())}")
    if missing:
        named = ", ".join(str(item.row.id) for item in missing[:MOST_NAMED])
        more = ", …" if len(missing) > MOST_NAMED else ""
        fetch = commands.fetch(missing)
        parts.append(
            f'<p class="missing">{_many(len(missing), "video")} cannot be found where the ledger says'
            f" (rows {named}{more}). The service keeps videos for about 14 days:</p>"
            + (_command(fetch) if fetch else "")
        )
    return f'<section class="notice"><h2>To continue</h2>{"".join(parts)}</section>' if parts else ""


def _waiting(count: int, words: str) -> str:
    return f"<li>{count:,} {'is' if count == 1 else 'are'} {words} {'it' if count == 1 else 'them'}.</li>"


def _charts(facts: Facts, pace: str, took: Durations | None) -> str:
    undated = f" For {_many(facts.undated, 'task')}, the end was not recorded." if facts.undated else ""
    pace += undated
    spread = (
        "How long tasks took is not known."
        if took is None
        else f"Half of {_many(len(facts.took), 'task')} took at most <b>{_seconds(took.median)}</b>, nine of ten"
        f" at most <b>{_seconds(took.most)}</b>, the longest {_seconds(took.longest)}."
    )
    return (
        '<section class="charts"><figure class="card"><figcaption><h2>Submissions and completions</h2>'
        "</figcaption>"
        f'<div class="chart" id="line" hidden></div><p class="muted">{pace}</p></figure>'
        '<figure class="card"><figcaption><h2>How long a video takes</h2></figcaption>'
        f'<div class="chart" id="spread" hidden></div><p class="muted">{spread}</p></figure></section>'
    )


def _pace(rate: RateLimit | None, read_rate: RateLimit | None) -> str:
    if read_rate is not None:
        return _paces(rate, read_rate)
    if rate is None:
        return "There is no limit on requests."
    limit = rate.requests / rate.per * 60
    return (
        f"The limit is {rate.requests} requests in any {rate.per:g} s, {limit:g} a minute. A video needs at least"
        f" two: its submission and one poll. So at most {limit / 2:g} videos a minute can be made."
    )


def _paces(rate: RateLimit | None, read_rate: RateLimit) -> str:
    """Say what the limits allow if polls have their own: each video needs one request of either kind."""
    reads = read_rate.requests / read_rate.per * 60
    limit = reads if rate is None else min(reads, rate.requests / rate.per * 60)
    of = (
        "There is no limit on submissions"
        if rate is None
        else f"The limit is {_many(rate.requests, 'submission')} in any {rate.per:g} s"
    )
    return (
        f"{of}, and {_many(read_rate.requests, 'poll')} in any {read_rate.per:g} s. A video needs one of each. So"
        f" at most {limit:g} videos a minute can be made."
    )


def _gallery(facts: Facts) -> str:
    cut = (
        f'<p class="muted">The first {MOST_LISTED:,} of {facts.total:,} rows are listed; all count above.</p>'
        if facts.total > len(facts.items)
        else ""
    )
    return (
        f'<section id="tracks" tabindex="-1"><h2>Videos</h2>{cut}<div id="browser" hidden></div>'
        "<noscript><p>The list and the gallery of the videos need JavaScript; the rest is above.</p></noscript>"
        "</section>"
    )


def _foot(facts: Facts) -> str:
    return (
        f"<footer><p>Read from <bdi>{escaped(str(facts.ledger))}</bdi> {_time(facts.at)}"
        f" at <bdi>{_short(facts.provider)}</bdi>. This page is one file: it contacts no server,"
        " and plays the videos from where they are on disk.</p></footer>"
    )


def _command(command: str) -> str:
    return f'<pre class="cmd" dir="ltr"><code>{escaped(command)}</code></pre>'


def _time(seconds: float) -> str:
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):  # a clock that ran fast
        return f"<time>{seconds:.0f}</time>"
    return f'<time datetime="{moment.isoformat()}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def _short(text: str) -> str:
    return escaped(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…")


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _credits(micro: float) -> str:
    return f"{micro / MICRO:,.2f}".rstrip("0").rstrip(".")


def _seconds(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
