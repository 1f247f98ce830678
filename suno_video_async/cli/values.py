"""What an option is given, read as a click callback: a value, or an error that says what was expected."""

from __future__ import annotations

import math
from typing import Literal

import click

from suno_video_async.clock import SystemClock
from suno_video_async.download.filenames import NameTemplate
from suno_video_async.models import RateLimit


def _rate_or(ctx: click.Context, param: click.Parameter, value: str | None, *words: str) -> RateLimit | str | None:
    """Read `20/10`, or one of the words that are allowed besides."""
    if value is None or value in words:
        return value
    try:
        return RateLimit.parse(value)
    except ValueError:
        besides = "".join(f", or {word}" for word in words)
        problem = f"a rate is REQUESTS/SECONDS, such as 20/10{besides}, not {value!r}"
        raise click.BadParameter(problem, ctx, param) from None


def parse_rate(ctx: click.Context, param: click.Parameter, value: str | None) -> object:
    """Read `20/10`, as a click callback."""
    return _rate_or(ctx, param, value)


def parse_rate_or_none(ctx: click.Context, param: click.Parameter, value: str) -> object:
    """Read `20/10` or `unlimited`, as a click callback."""
    return _without_limit(_rate_or(ctx, param, value, "unlimited"))


def parse_rate_auto_or_none(ctx: click.Context, param: click.Parameter, value: str) -> object:
    """Read `20/10`, `auto` or `unlimited`, as a click callback."""
    return _without_limit(_rate_or(ctx, param, value, "auto", "unlimited"))


def parse_rate_or_auto(ctx: click.Context, param: click.Parameter, value: str | None) -> object:
    """Read `20/10` or `auto`, as a click callback."""
    return _rate_or(ctx, param, value, "auto")


def _without_limit(rate: RateLimit | str | None) -> RateLimit | str | None:
    return None if rate == "unlimited" else rate


def public_url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a URL for callbacks, as a click callback."""
    if value is None:
        return None
    from suno_video_async.callbacks import checked_public_url  # noqa: PLC0415  few commands are given one

    try:
        return checked_public_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def above_zero(ctx: click.Context, param: click.Parameter, value: str | float | None) -> float | None:
    """Read a number above 0, as a click callback."""
    if value is None:
        return None
    number = _number(value)
    if not (number > 0 and math.isfinite(number)):
        raise click.BadParameter(f"expected a number above 0, not {str(value)!r}", ctx, param)
    return number


def not_negative(ctx: click.Context, param: click.Parameter, value: str | float | None) -> float | None:
    """Read a number that is 0 or more, as a click callback."""
    if value is None:
        return None
    number = _number(value)
    if not (number >= 0 and math.isfinite(number)):
        raise click.BadParameter(f"expected 0 or a number above it, not {str(value)!r}", ctx, param)
    return number


def _number(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def read_time_scale(ctx: click.Context, param: click.Parameter, value: str | float) -> float:
    """Read a scale that a clock can have, as a click callback."""
    number = above_zero(ctx, param, value) or 1.0
    try:
        SystemClock(number)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return number


def parse_in_flight(ctx: click.Context, param: click.Parameter, value: str) -> int | Literal["auto"]:
    """Read a number of videos, or `auto`, as a click callback."""
    return "auto" if value == "auto" else int(click.IntRange(min=1)(value, param, ctx))


def read_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Read `portrait` or `1080x1920`, as a click callback."""
    from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, size_of  # noqa: PLC0415  few commands need it

    pair = size_of(value)
    if pair is None:
        raise click.BadParameter(f"expected {SIZES_IN_WORDS}, not {value!r}", ctx, param)
    return pair


def read_template(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Read a template of file names, as a click callback."""
    try:
        return NameTemplate(value).text
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
