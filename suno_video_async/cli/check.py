"""One look of `suno-video doctor` at one thing, and what it came to."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import frozen

Status: TypeAlias = "Literal['ok', 'warn', 'fail', 'skip']"


@frozen
class Check:
    """What one look came to.

    Attributes:
        name: what was looked at.
        status: how it is; `skip` where nobody looked.
        text: what was found, in one line.
        fix: what to do where it is not well.

    """

    name: str
    status: Status
    text: str
    fix: str | None = None


def ok(name: str, text: str) -> Check:
    """Return what is as it should be."""
    return Check(name, "ok", text)


def warn(name: str, text: str, fix: str | None) -> Check:
    """Return what a run may get along with."""
    return Check(name, "warn", text, fix)


def fail(name: str, text: str, fix: str | None) -> Check:
    """Return what no run can get along with."""
    return Check(name, "fail", text, fix)


def skip(name: str, text: str) -> Check:
    """Return what was not looked at, and why."""
    return Check(name, "skip", text)
