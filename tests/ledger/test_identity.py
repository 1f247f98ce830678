"""Which tracks are one row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from suno_video_async.errors import AlreadyBoughtError
from suno_video_async.ledger import commands
from suno_video_async.ledger.model import LedgerRow, Transition, all_rows
from suno_video_async.ledger.queries import Connection, row_of
from suno_video_async.ledger.sqlite import SqliteLedger
from suno_video_async.ledger.states import State
from suno_video_async.models import Track
from tests.ledger.support import opened, row_in, track

NFC, NFD = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (track(), track()),
        (track(author=None), track(author="")),
        (track(brand=None), track(brand="  ")),
        (track(author=NFC), track(author=NFD)),
        (track(NFC), track(f" {NFD} ")),
        (track(mood="calm"), track(mood="wild")),
    ],
    ids=["same", "no author", "no brand", "author in NFD", "id in NFD", "extra columns"],
)
def test_one_track(memory: SqliteLedger, one: object, other: object) -> None:
    """What is absent, composed differently, spaced differently or a column of the user's makes no second row."""
    first, second = (memory.claim(each, location="") for each in (one, other))  # type: ignore[arg-type]
    assert (first.repeated, second.repeated) == (False, True)
    assert first.row.id == second.row.id
    assert second.changed is None
    assert memory.find(other) == second.row  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [track("s2"), track("S1"), track(author="Ava"), track(brand="Ava"), track(author="ava")],
    ids=["id", "case", "author", "brand", "case of the author"],
)
def test_two_tracks(memory: SqliteLedger, other: object) -> None:
    """Another id, author or brand is another row."""
    memory.claim(track(), location="")
    assert memory.find(other) is None  # type: ignore[arg-type]
    assert not memory.claim(other, location="").repeated  # type: ignore[arg-type]
    assert len(memory.rows()) == 2


def test_a_second_run_finds_the_row(path: Path) -> None:
    """A later run claims the same row, not as repeated, and takes the catalog's new columns and place."""
    ledger = opened(path)
    row = ledger.claim(track(mood="calm"), location="catalog.csv:2").row
    ledger.close()
    again = opened(path)
    claim = again.claim(track(mood="wild"), location="catalog.csv:9")
    again.close()
    assert (claim.repeated, claim.row.id) == (False, row.id)
    assert (claim.row.location, dict(claim.row.track.extra)) == ("catalog.csv:9", {"mood": "wild"})


@pytest.mark.parametrize("state", State)
def test_a_changed_author_is_found(path: Path, state: State) -> None:
    """The same song under another author is found where it is bought or may be, by a later run too."""
    ledger = opened(path)
    row = row_in(ledger, state)
    ledger.close()
    again = opened(path)
    changed = again.claim(track(author="Ava"), location="").changed
    again.close()
    bought = state not in {State.PLANNED, State.REFUSED}
    assert (None if changed is None else changed.id) == (row.id if bought else None)


def test_a_changed_brand_within_a_run(memory: SqliteLedger) -> None:
    """Of two brands in a catalog the second is reported before either is bought; a refused one is in no way."""
    first = memory.claim(track(), location="").row
    assert memory.claim(track(brand="Acme"), location="").changed == first
    memory.begin_attempt(first.id, nonce="n", at=0.0, reserve=0, budget=None)
    memory.move(first.id, Transition(state=State.REFUSED))
    found = memory.claim(track(brand="Umbrella"), location="").changed
    assert found is not None
    assert found.track.brand == "Acme"


def test_a_song_under_many_brands_costs_no_more(memory: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its rows, a track's own is read, and the first of the others."""
    read = list[str]()

    def counted(kept: Sequence[Any], track: Track | None = None) -> LedgerRow:
        row = row_of(kept, track)
        read.append(row.track.brand or "")
        return row

    first = memory.claim(track(brand="b0"), location="").row
    for number in range(1, 10):
        memory.claim(track(brand=f"b{number}"), location="")
    monkeypatch.setattr(commands, "row_of", counted)
    assert memory.claim(track(brand="b9"), location="").changed == first
    assert sorted(read) == ["b0", "b9"]


def test_a_track_that_is_loaded_while_it_is_claimed(memory: SqliteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has committed its row since it was looked for: that one is claimed."""
    one, looked_for = track(), memory._claimed
    loaded = memory._values(one.key, one, "loaded")

    def then_loaded(db: Connection, *what: Any) -> Any:
        found = looked_for(db, *what)
        memory._inserted(db, [loaded], 0)  # changes nothing from the second time on
        return found

    with monkeypatch.context() as patch:
        patch.setattr(memory, "_claimed", then_loaded)
        claim = memory.claim(one, location="row 1")
    assert not claim.repeated
    assert memory.row(claim.row.id) == claim.row
    assert memory.claim(one, location="").repeated
    assert [row.location for row in all_rows(memory)] == ["row 1"]


def test_songs_of_other_tasks_are_no_change(memory: SqliteLedger) -> None:
    """Another music task's track of the same id is a song of its own."""
    row_in(memory, State.SUBMITTED)
    assert memory.claim(track("s2", author="Ava"), location="").changed is None


def test_each_run_of_an_open_ledger_has_its_own_repetitions(memory: SqliteLedger) -> None:
    """What came by in one run did not come by in another, and a new opening is a new run again."""
    first, second = memory.begin_run(), memory.begin_run()
    assert [memory.claim(track(), location="", run=run).repeated for run in (first, first, second, second)] == [
        *(False, True, False, True)
    ]
    assert not memory.claim(track(), location="").repeated
    assert memory.claim(track(author="Ava"), location="", run=first).changed is None


def test_a_song_that_was_bought_meanwhile_is_not_begun(memory: SqliteLedger) -> None:
    """The look at the same song under another author is part of the commit before the send."""
    one, other = (memory.claim(each, location="", run=memory.begin_run()) for each in (track(), track(author="A")))
    assert (one.changed, other.changed) == (None, None)
    memory.begin_attempt(one.row.id, nonce="1", at=0.0, reserve=0, budget=None, rebuy_changed=False)
    with pytest.raises(AlreadyBoughtError, match="another author"):
        memory.begin_attempt(other.row.id, nonce="2", at=0.0, reserve=0, budget=None, rebuy_changed=False)
    memory.begin_attempt(other.row.id, nonce="3", at=0.0, reserve=0, budget=None, rebuy_changed=True)


def test_what_present_runs_have_touched_is_not_left_over(memory: SqliteLedger) -> None:
    """Rows that other runs of the same opening named are theirs."""
    row = row_in(memory, State.SUBMITTED)
    mine, others = memory.begin_run(), memory.begin_run()
    memory.claim(row.track, location="", run=others)
    assert memory.untouched(State.SUBMITTED, runs=(mine, others)) == []
    assert [each.id for each in memory.untouched(State.SUBMITTED, runs=(mine,))] == [row.id]
