"""What to do next with a track, given its row: one pure rule for conversions, `submit` and `plan`."""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Any

from attrs import Attribute, field, frozen

from suno_video_async.ledger.model import LedgerRow, is_given_up
from suno_video_async.ledger.states import State


class Action(Enum):
    """What to do next with a track."""

    BUY = auto()
    """Submit it: it is known not to be bought, or it failed and may be bought again."""
    FOLLOW = auto()
    """Wait for its task, which is bought and not finished."""
    RESOLVE = auto()
    """Find out whether it was bought, and never submit it before that is known."""
    DOWNLOAD = auto()
    """Save its video, which is made."""
    SKIP = auto()
    """Nothing: its video is made, and saved if that was asked for."""
    LEAVE_FAILED = auto()
    """Nothing: it failed too often to be bought again, or a person gave it up."""
    REPORT_CHANGED = auto()
    """Report that the same song is bought under another author or brand; buying it again takes `rebuy_changed`."""


def not_negative(_: object, attribute: Attribute[Any], value: float | None) -> None:
    """Refuse a number below 0, as a validator."""
    if value is not None and not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must not be below 0 or endless, but is {value!r}")


@frozen(kw_only=True)
class Buying:
    """What may be bought.

    Attributes:
        retry_failed: how many failed tasks of a track do not keep it from being bought again.
        rebuy_changed: whether a song is bought again under another author or brand.
        ignore_other_ledgers: whether tracks are bought that another ledger in the catalog's folder holds.
        max_credits: the most to spend over the ledger's whole life; None for no limit.

    """

    retry_failed: int = field(default=0, validator=not_negative)
    rebuy_changed: bool = False
    ignore_other_ledgers: bool = False
    max_credits: float | None = field(default=None, validator=not_negative)


#: What is bought unless something else is asked for: what is missing.
MISSING = Buying()


def decide(
    row: LedgerRow | None, *, changed: bool = False, buying: Buying = MISSING, download: bool = False
) -> Action:
    """Return what to do next with a track.

    Args:
        row: its row; None if the ledger has none yet.
        changed: the same song is bought, or about to be, under another author or brand.
        buying: what may be bought.
        download: whether to save videos.

    """
    if row is not None:
        match row.state:
            case State.SUBMITTED:
                return Action.FOLLOW
            case State.SUBMITTING | State.UNKNOWN:
                return Action.RESOLVE
            case State.SUCCEEDED if download:
                return Action.DOWNLOAD
            case State.SUCCEEDED | State.DOWNLOADED:
                return Action.SKIP
            case _ if row.failures > buying.retry_failed or is_given_up(row):
                return Action.LEAVE_FAILED
            case _:
                pass
    return Action.REPORT_CHANGED if changed and not buying.rebuy_changed else Action.BUY
