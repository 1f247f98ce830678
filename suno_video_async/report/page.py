"""A report as one self-contained HTML file: no network, and no other files except the videos."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from attrs import asdict, frozen

from suno_video_async._util.look import look
from suno_video_async._util.netaddr import without_secrets
from suno_video_async.ledger.model import MICRO
from suno_video_async.models import RateLimit
from suno_video_async.report import sections
from suno_video_async.report.commands import Commands
from suno_video_async.report.facts import Facts, Item, title_of
from suno_video_async.report.pace import durations, time_line
from suno_video_async.report.videos import File

#: Marks a file as a report of this program, which another report may replace.
GENERATOR = "suno-video report"
#: Maximum characters of one field, for table and search.
MOST_TEXT = 400
_COLUMNS = (
    *(
        "id",
        "title",
        "author",
        "brand",
        "state",
        "where",
        "suno",
        "task",
        "video",
        "credits",
        "submitted",
        "ended",
    ),
    *("took", "sends", "href", "size", "place", "url", "kind", "words", "extra"),
)
_LONGEST_URL = 2_000
_SLOT = re.compile(r"\{\{(\w+)\}\}")


@frozen(kw_only=True)
class Page:
    """Everything a page is rendered from.

    Attributes:
        rate: the limit that the time line is drawn against, if there is one.
        read_rate: the limit of polls, if they have their own.
        refresh: seconds after which the page loads itself again; None if it will not be written again.
        files: the videos on disk, by the rows' numbers.
        stills: JPEGs of them, likewise.

    """

    facts: Facts
    commands: Commands
    rate: RateLimit | None
    files: Mapping[int, File]
    stills: Mapping[int, bytes]
    read_rate: RateLimit | None = None
    refresh: float | None = None


def render(page: Page) -> str:
    """Return the HTML of a report."""
    css, script = look() + _resource("page.css"), _resource("page.js")
    slots = {
        "generator": GENERATOR,
        "style_hash": _hash(css),
        "script_hash": _hash(script),
        "css": css,
        "js": script,
        "title": sections.escaped(page.facts.ledger.name),
        "body": sections.body(page.facts, page.commands, page.rate, page.read_rate, page.files),
        "data": _embedded(data(page)),
        "stills": _embedded({number: base64.b64encode(jpeg).decode() for number, jpeg in page.stills.items()}),
    }
    # In one pass: inserted text is never expanded again.
    return _SLOT.sub(lambda slot: slots[slot[1]], _resource("page.html"))


def data(page: Page) -> dict[str, Any]:
    """Return what the page's script draws, as JSON values."""
    facts = page.facts
    took = durations(facts.took)
    return {
        "at": facts.at,
        "refresh": page.refresh,
        "total": facts.total,
        "rate": None if page.rate is None else {"requests": page.rate.requests, "per": page.rate.per},
        "line": asdict(time_line(facts.sent, facts.ended, window=0.0 if page.rate is None else page.rate.per)),
        "took": None if took is None else asdict(took),
        "columns": _COLUMNS,
        "rows": [_row(item, page.files.get(item.row.id)) for item in facts.items],
    }


def totals(facts: Facts) -> dict[str, Any]:
    """Return a ledger's totals as one JSON object."""
    took = durations(facts.took)
    return {
        "total": facts.total,
        **{state.value: facts.states.get(state, 0) for state in sections.STATES},
        "made": facts.made,
        "credits": facts.spent / MICRO,
        "credits_without_video": facts.wasted / MICRO,
        "credits_reserved": facts.reserved / MICRO,
        "credits_per_video": None if facts.price is None else round(facts.price / MICRO, 6),
        "to_buy": facts.to_buy,
        "median_s": None if took is None else round(took.median, 3),
        "p90_s": None if took is None else round(took.most, 3),
        "first_submitted": _moment(facts.sent[0]) if facts.sent else None,
        "last_ended": _moment(facts.ended[-1]) if facts.ended else None,
    }


def _row(item: Item, file: File | None) -> list[Any]:
    row, track = item.row, item.row.track
    kind, code, words = row.error or (None, None, None)
    title = title_of(track)
    extra = "; ".join(f"{name}: {value}" for name, value in track.extra.items() if value and value != title)

    return [
        *(row.id, _short(title), _short(track.author), _short(track.brand), row.state.value, _short(row.location)),
        *(_short(track.suno_id), _short(track.task_id), _short(row.video_task_id)),
        *(row.cost / MICRO if row.cost else None, _rounded(item.submitted), _rounded(item.ended)),
        *(_rounded(item.took), item.sends),
        *((file.href, file.size) if file else (None, None)),
        row.uri,
        _link(row.url),
        *(_short(f"{kind} {code}" if code is not None else kind), _short(words), _short(extra)),
    ]


def _short(text: str | None) -> str | None:
    return text[:MOST_TEXT] if text else None


def _link(url: str | None) -> str | None:
    """Return a URL that may be published: http or https, without a signature that grants access; else None."""
    fit = url is not None and re.match(r"https?://", url) and len(url) < _LONGEST_URL
    return url if fit and url == without_secrets(url or "") else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # a clock that ran fast
        return f"{seconds:.0f}"


def _embedded(value: object) -> str:
    """Return JSON that cannot close its enclosing element, whatever it contains."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: nothing that an encoding could break
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return resources.files("suno_video_async.report").joinpath(name).read_text(encoding="utf-8")
