"""What others leave in a database for the holder of a ledger: tracks, notes; and who may add them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from attrs import evolve

from suno_video_async import CatalogError, LedgerError, Loaded, Track
from suno_video_async import load as load_into
from suno_video_async.errors import AnotherKeyError, LedgerInUse
from suno_video_async.ledger.model import all_rows
from suno_video_async.ledger.postgres import ledger as ledger_module
from suno_video_async.ledger.postgres import reader, tables
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.session import Session
from suno_video_async.ledger.shared import Note, SharedLedger
from tests.ledger.support import FINGERPRINT, PROVIDER, names_in, track
from tests.support.postgres import named

pytestmark = pytest.mark.services


async def load(source: Any, address: str, **options: Any) -> Loaded:
    """Load, and leave the ledgers' names out: they are made up."""
    return evolve(await load_into(source, address, **options), ledgers=())


def names(address: str) -> list[str]:
    """Return the tracks of a ledger, beside its writer."""
    return names_in(PostgresLedger(address).reader())


def new_name() -> str:
    """Return the name of a ledger that does not exist yet."""
    return f"test-{uuid4().hex[:12]}"


def some(*suno_ids: str, **extra: str) -> list[Track]:
    """Return tracks that no other test has: a track is in one ledger of a database."""
    return [Track(task_id=f"m-{uuid4().hex}", suno_id=suno_id, extra=extra) for suno_id in suno_ids]


@pytest.fixture
def tracks() -> list[Track]:
    """Return three tracks."""
    return some("a", "b", "c")


def stage(database: str, address: str, *rows: tuple[Any, ...]) -> None:
    """Do what a team's own INSERT does."""
    schema = PostgresLedger(address)._schema
    with psycopg.connect(database, autocommit=True) as session:
        for values in rows:
            session.execute(
                f'INSERT INTO "{schema}".incoming (task_id, suno_id, author, brand) VALUES (%s, %s, %s, %s)',
                values,
            )


def staged(database: str, address: str) -> list[Any]:
    """Return what is left in the table."""
    schema = PostgresLedger(address)._schema
    with psycopg.connect(database, autocommit=True) as session:
        return session.execute(f'SELECT suno_id, problem FROM "{schema}".incoming ORDER BY id').fetchall()


def test_a_ledger_is_loaded_while_another_process_holds_it(
    ledger: PostgresLedger, address: str, tracks: list[Track]
) -> None:
    """The holder finds the rows as its own; what it has is not added again."""
    assert asyncio.run(load(tracks[:2], address)) == Loaded(rows=2, new=2)
    assert asyncio.run(load(tracks, address)) == Loaded(rows=3, new=1, known=2)
    assert [row.track.suno_id for row in all_rows(ledger)] == ["a", "b", "c"]
    assert ledger.has_unclaimed()
    for one in tracks:
        assert not ledger.claim(one, location="").repeated
    assert not ledger.has_unclaimed()


@pytest.mark.parametrize("is_loaded", [True, False], ids=["committed", "rolled back"])
def test_a_track_is_claimed_while_it_is_being_loaded(
    database: str, address: str, ledger: PostgresLedger, tracks: list[Track], *, is_loaded: bool
) -> None:
    """The claim waits for the transaction that has its row, and there is one row whatever becomes of that."""
    one, schema = tracks[0], ledger._schema
    waits = "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'transactionid')"
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(database, autocommit=True) as watching,
        psycopg.connect(database) as loading,
    ):
        loading.execute(
            f'INSERT INTO "{schema}".rows (key, task_id, suno_id, author, brand, extra, place, since, run, state)'
            " VALUES (%s, %s, %s, '', '', '{}', 'loaded', 0, 0, 'planned')",
            (one.key, one.task_id, one.suno_id),
        )
        claimed = thread.submit(ledger.claim, one, location="row 1")
        while not claimed.done() and watching.execute(waits).fetchone() != (True,):
            pass
        assert not claimed.done()
        loading.commit() if is_loaded else loading.rollback()
        claim = claimed.result()
    assert (claim.repeated, claim.row.location) == (False, "row 1")
    assert [(row.id, row.location) for row in all_rows(ledger)] == [(claim.row.id, "row 1")]
    assert ledger.claim(one, location="").repeated


def test_a_ledger_that_was_only_loaded_is_of_the_key_that_opens_it_first(
    address: str, tracks: list[Track]
) -> None:
    """Until then it is of no account."""
    asyncio.run(load(tracks, address))
    ledger = PostgresLedger(address)
    ledger.open(provider=PROVIDER, fingerprint=FINGERPRINT)
    ledger.close()
    with pytest.raises(AnotherKeyError):
        ledger.open(provider=PROVIDER, fingerprint="another")


def test_each_row_goes_into_the_ledger_that_it_names(database: str) -> None:
    """An address without a ledger's name loads several; a row that names none is reported."""
    one, other = new_name(), new_name()
    rows = [
        *some("a", ledger=one),
        *some("b", ledger=other),
        *some("c", ledger=one),
        *some("d", ledger="No Name!"),
    ]
    problems = list[CatalogError]()
    rows += some("e")
    loaded = asyncio.run(load(rows, database, on_problem=problems.append))
    assert loaded == Loaded(rows=5, new=3, unreadable=2)
    assert names(named(database, one)) == ["a planned", "c planned"]
    assert names(named(database, other)) == ["b planned"]
    assert [problem.message for problem in problems] == [
        "'No Name!' is not a ledger's name",
        "names no ledger in a column 'ledger'",
    ]


def test_a_row_for_another_ledger_is_not_loaded_into_a_named_one(database: str) -> None:
    """A music task belongs to one account: its track could only be refused there."""
    name = new_name()
    problems = list[CatalogError]()
    rows = [*some("a", ledger="other"), *some("b", ledger=name), *some("c")]
    loaded = asyncio.run(load(rows, named(database, name), on_problem=problems.append))
    assert loaded == Loaded(rows=3, new=2, unreadable=1)
    assert "its ledger is 'other'" in str(problems[0])


def test_a_track_that_another_ledger_of_the_database_has_is_not_added(database: str, tracks: list[Track]) -> None:
    """It is reported with that ledger's name: nothing is bought for two ledgers."""
    one, other = new_name(), new_name()
    asyncio.run(load(tracks[:1], named(database, one)))
    problems = list[CatalogError]()
    loaded = asyncio.run(load(tracks, named(database, other), on_problem=problems.append))
    assert loaded == Loaded(rows=3, new=2, elsewhere={one: 1})
    assert [str(problem) for problem in problems] == [f"track 1: the ledger {one} has a already"]
    assert names(named(database, other)) == ["b planned", "c planned"]


def test_a_ledger_of_another_service_does_not_count(database: str, tracks: list[Track]) -> None:
    """What a local server has sold is not made by the provider."""
    addresses = [named(database), named(database)]
    for provider, address in zip(["127.0.0.1", "https://api.example"], addresses, strict=True):
        ledger = PostgresLedger(address)
        ledger.open(provider=provider, fingerprint=FINGERPRINT)
        ledger.close()
        assert asyncio.run(load(tracks, address)) == Loaded(rows=3, new=3)


def test_two_loads_at_once_add_each_track_once(database: str) -> None:
    """Also to ledgers that do not exist yet, and to two of them."""
    tracks = some(*map(str, range(300)))
    addresses = [named(database)] * 2 + [named(database)] * 2
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(lambda address: asyncio.run(load(tracks, address)), addresses))
    assert sum(one.new for one in loaded) == 300


def test_what_the_team_inserts_is_taken_in_by_the_holder(
    database: str, address: str, ledger: PostgresLedger
) -> None:
    """What cannot be taken stays, with its problem; the rest is a row as any other."""
    task = f"m-{uuid4().hex}"
    stage(database, address, (f" {task} ", "a", "Ava", None), (task, " ", None, None), (task, "b", None, ""))
    assert ledger.take_in() == 3
    assert [(row.track.suno_id, row.track.author, row.track.brand) for row in all_rows(ledger)] == [
        ("a", "Ava", None),
        ("b", None, None),
    ]
    ((suno_id, problem),) = staged(database, address)
    assert suno_id == " "
    assert "suno_id" in problem
    assert ledger.take_in() == 0


def test_what_another_ledger_has_stays_in_the_table(
    database: str, address: str, ledger: PostgresLedger, tracks: list[Track]
) -> None:
    """It says which one."""
    other = new_name()
    asyncio.run(load(tracks[:1], named(database, other)))
    stage(database, address, *((one.task_id, one.suno_id, None, None) for one in tracks))
    assert ledger.take_in() == 3
    assert staged(database, address) == [("a", f"the ledger {other} has this track")]


def test_the_columns_of_an_inserted_row(database: str, address: str, ledger: PostgresLedger) -> None:
    """Numbers are carried along as text; what is not an object cannot be."""
    task = f"m-{uuid4().hex}"
    with psycopg.connect(database, autocommit=True) as session:
        for suno_id, extra in [("a", '{"isrc": "X", "year": 1999}'), ("b", "[1]")]:
            session.execute(
                f'INSERT INTO "{ledger._schema}".incoming (task_id, suno_id, extra) VALUES (%s, %s, %s)',
                (task, suno_id, extra),
            )
    ledger.take_in()
    (row,) = all_rows(ledger)
    assert row.track.extra == {"isrc": "X", "year": "1999"}
    assert staged(database, address) == [("b", "extra must be an object, not list")]


def test_notes_for_the_holder(address: str, ledger: PostgresLedger) -> None:
    """Anyone may leave one; the same is kept once, until it is done with."""
    assert isinstance(ledger, SharedLedger)
    other = PostgresLedger(address)
    other.open_to_load()
    for _ in range(2):
        other.leave_note("decision", {"verb": "drop", "row": 1})
    other.leave_note("callback", {"nonce": "0" * 32, "task_id": "v1"})
    other.close()
    first, second = ledger.notes()
    assert first == Note(first.id, "decision", {"verb": "drop", "row": 1})
    ledger.settle_note(first.id)
    assert ledger.notes() == [second]


def test_who_is_refused_is_told_that_it_may_try_again(address: str, ledger: PostgresLedger) -> None:
    """It is an error of its own, so that a worker waits for its turn."""
    with pytest.raises(LedgerInUse) as caught:
        PostgresLedger(address).open(provider=PROVIDER, fingerprint=FINGERPRINT)
    assert caught.value.temporary


def test_a_ledger_is_opened_once(address: str, ledger: PostgresLedger) -> None:
    """To load it, too."""
    with pytest.raises(LedgerError, match="in use"):
        ledger.open_to_load()


def test_an_old_ledger_is_brought_up_to_date_by_a_load(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a program holds it that may not know the new tables."""
    with monkeypatch.context() as patch:
        for module in (reader, ledger_module):
            patch.setattr(module, "MIGRATIONS", tables.MIGRATIONS[:1])
        old = PostgresLedger(address)
        old.open(provider=PROVIDER, fingerprint=FINGERPRINT)
        old.claim(track(), location="")
    with pytest.raises(LedgerInUse):
        PostgresLedger(address).open_to_load()
    old.close()
    new = PostgresLedger(address)
    new.open_to_load()
    assert new.schema_version() == new.newest_schema
    new.close()


def test_what_is_loaded_by_copy_is_what_was_given(address: str) -> None:
    """Separators, quotes, backslashes and line breaks survive; a session may load several batches."""
    odd = ["tab\there", "line\nbreak", r"\N", r"back\slash", '"quoted"', "ユーモア", "a,b"]
    ledger = PostgresLedger(address)
    ledger.open_to_load()
    for text in odd:
        given = Track(task_id=f"m-{uuid4().hex}", suno_id="a", author=ascii(text), extra={"note": text})
        assert ledger.add([(given, text)]).new == 1
        assert ledger.add([(given, text)]).new == 0
    found = [(row.track.author, row.track.extra["note"], row.location) for row in all_rows(ledger)]
    ledger.close()
    assert found == [(ascii(text), text, text) for text in odd]


def test_a_value_that_cannot_be_copied_leaves_the_ledger_as_it_was(address: str) -> None:
    """The whole batch is refused, with its reason, and the next one is taken."""
    one, other = some("a", "b")
    ledger = PostgresLedger(address)
    ledger.open_to_load()
    with pytest.raises(LedgerError, match="NUL"):
        ledger.add([(one, "line 1"), (other, "line \0")])
    assert ledger.add([(one, "line 1")]).new == 1
    ledger.close()


def test_who_stops_in_the_middle_of_a_copy_holds_up_no_other(
    database: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load waits for its turn only once its rows are there, and is quick then."""
    one, other = PostgresLedger(address), PostgresLedger(named(database))
    for ledger in (one, other):
        ledger.open_to_load()
    other._select("SELECT set_config('lock_timeout', '10s', false)")
    copy, began = Session.copy_in, list[str]()

    def stopped(session: Session, statement: str, rows: Any) -> None:
        if not began:
            began.append(statement)
            assert other.add([(track, "") for track in some("b")]).new == 1
        copy(session, statement, rows)

    monkeypatch.setattr(Session, "copy_in", stopped)
    assert one.add([(track, "") for track in some("a")]).new == 1
    for ledger in (one, other):
        ledger.close()
