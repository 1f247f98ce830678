"""What a conversion would come to, asked of the ledger and the service without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import define, field

from suno_video_async import (
    APIError,
    CatalogError,
    Estimate,
    InvalidRequestError,
    LedgerError,
    ServerError,
    SqliteLedger,
    Track,
    VideoTaskId,
)
from suno_video_async.batch import plan as planning
from suno_video_async.batch.plan import MAX_PROBLEMS, Plan
from suno_video_async.ledger.decision import Buying
from suno_video_async.ledger.model import Transition
from suno_video_async.ledger.states import Cause, State

if TYPE_CHECKING:
    from suno_video_async.engine import Engine

ACCOUNT: dict[str, Any] = {"provider": "127.0.0.1", "fingerprint": "f"}


def refusal(kind: type[APIError], code: int) -> APIError:
    return kind("no", code=code, http_status=200, operation="EstimateTask")


@define
class Service:
    """Answers estimates from a price list; refuses tracks by name; remembers what it was asked."""

    credits: float = 10.0
    refused: dict[str, APIError] = field(factory=dict[str, APIError])
    asked: list[Track | None] = field(factory=list[Track | None])

    @property
    def account(self) -> tuple[str, str]:
        return ACCOUNT["provider"], ACCOUNT["fingerprint"]

    async def estimate(self, track: Track) -> Estimate:
        self.asked.append(track)
        if track.suno_id in self.refused:
            raise self.refused[track.suno_id]
        price = 0.1 + (1 if track.author else 0) + (2 if track.brand else 0)
        return Estimate(estimated_credits=price, balance=self.credits, affordable=price <= self.credits)

    async def balance(self) -> float:
        self.asked.append(None)
        return self.credits


async def plan(service: Service, source: Any, ledger: Any = None, **buying: Any) -> Plan:
    """Plan with a service that stands for an open client's engine."""
    return await planning.plan(cast("Engine", service), source, ledger, Buying(**buying))


def song(suno_id: str, author: str | None = None, brand: str | None = None) -> Track:
    return Track(task_id="m1", suno_id=suno_id, author=author, brand=brand)


def counts(found: Plan) -> dict[str, int]:
    """Return what was counted at all."""
    names = ("new", "done", "submitted", "unknown", "failed", "refused", "changed", "repeated", "bad_rows")
    return {name: getattr(found, name) for name in names if getattr(found, name)}


def put(ledger: SqliteLedger, track: Track, state: State) -> None:
    """Bring a track into a state by the moves that a run makes."""
    row = ledger.claim(track, location="c.csv, line 2").row
    if state is State.PLANNED:
        return
    ledger.begin_attempt(row.id, nonce=f"n{row.id}", at=1.0, reserve=0, budget=None)
    if state is State.SUBMITTING:
        return
    if state in {State.UNKNOWN, State.REFUSED}:
        ledger.move(row.id, Transition(state=state))
        return
    ledger.move(row.id, Transition(state=State.SUBMITTED, video_task_id=VideoTaskId(f"v{row.id}")))
    if state is State.DOWNLOADED:
        ledger.move(row.id, Transition(state=State.SUCCEEDED))
    if state is not State.SUBMITTED:
        ledger.move(row.id, Transition(state=state))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterable[SqliteLedger]:
    """Return a ledger that is open for writing, as that of a running conversion."""
    ledger = SqliteLedger(tmp_path / "c.db", synchronous="OFF")
    ledger.open(**ACCOUNT)
    yield ledger
    ledger.close()


async def test_without_a_ledger_all_is_new() -> None:
    """Without a ledger each track is new once, and costs by its shape."""
    service = Service()
    found = await plan(service, [song("s1"), song("s2"), song("s3", "Ava"), song("s1")])
    assert counts(found) == {"new": 3, "repeated": 1}
    assert (found.estimated_credits, found.balance, found.affordable) == (1.3, 10.0, True)


async def test_each_shape_is_asked_about_once() -> None:
    """However long the catalog, a question is asked for each shape of input: four at most."""
    service = Service(credits=1e6)
    shapes = [(author, brand) for author in (None, "Ava") for brand in (None, "Acme")]
    found = await plan(service, (song(f"s{n}", *shapes[n % 4]) for n in range(1000)))
    assert len(service.asked) == 4
    assert found.new == 1000
    assert found.estimated_credits == 250 * (0.1 + 1.1 + 2.1 + 3.1)


def test_every_state_has_its_count(ledger: SqliteLedger, tmp_path: Path) -> None:
    """Beside the ledger's writer each state of a row counts as what a conversion would do with it."""
    for state in State:
        put(ledger, song(state), state)
    before = ledger.rows()
    found = asyncio.run(plan(Service(), [*(song(state) for state in State), song("more")], tmp_path / "c.db"))
    assert counts(found) == {"new": 2, "done": 2, "submitted": 1, "unknown": 2, "failed": 1, "refused": 1}
    assert found.estimated_credits == 0.3  # the new ones, and the refused one
    assert ledger.rows() == before


def test_an_open_ledger_is_left_open(ledger: SqliteLedger) -> None:
    """A ledger that is given while it is in use is read beside, and still in use afterwards."""
    put(ledger, song("s1"), State.DOWNLOADED)
    found = asyncio.run(plan(Service(), [song("s1")], ledger))
    put(ledger, song("s2"), State.PLANNED)
    assert counts(found) == {"done": 1}


async def test_nothing_to_buy_asks_for_the_balance() -> None:
    """When nothing is missing the balance is asked for by itself."""
    service = Service()
    found = await plan(service, [])
    assert service.asked == [None]
    assert (found.estimated_credits, found.balance, found.affordable) == (0, 10.0, True)


async def test_credits_that_are_not_enough() -> None:
    """A catalog that costs more than the balance is not affordable, one that costs all of it is."""
    assert (await plan(Service(credits=0.2), [song("s1"), song("s2")])).affordable
    assert not (await plan(Service(credits=0.2), [song("s1"), song("s2"), song("s3")])).affordable


def test_a_song_under_another_author(ledger: SqliteLedger, tmp_path: Path) -> None:
    """A song that is bought, or stands further up, under another author is changed; a refused one is not."""
    put(ledger, song("bought"), State.FAILED)
    put(ledger, song("refused"), State.REFUSED)
    put(ledger, song("own", "Ava"), State.SUBMITTED)
    put(ledger, song("own", "Eve"), State.SUBMITTED)
    tracks = [
        *(song("bought", "Ava"), song("refused", "Ava"), song("own", "Ava")),
        *(song("own", "Eva"), song("twice", "Ava"), song("twice", "Eve"), song("twice", "Eve")),
    ]
    found = asyncio.run(plan(Service(), tracks, tmp_path / "c.db"))
    assert counts(found) == {"changed": 3, "new": 2, "submitted": 1, "repeated": 1}


def test_a_dropped_row_counts_as_failed(ledger: SqliteLedger, tmp_path: Path) -> None:
    """What a person gave up counts as failed, and is not in the estimate."""
    put(ledger, song("s1"), State.UNKNOWN)
    ledger.move(1, Transition(state=State.FAILED), cause=Cause.PERSON)
    found = asyncio.run(plan(Service(), [song("s1")], tmp_path / "c.db"))
    assert (counts(found), found.estimated_credits) == ({"failed": 1}, 0)


def test_a_track_that_failed_and_was_then_refused(ledger: SqliteLedger, tmp_path: Path) -> None:
    """A track that failed before counts as failed whatever came of its last attempt, as a conversion leaves it."""
    put(ledger, song("s1"), State.FAILED)
    ledger.begin_attempt(1, nonce="again", at=1.0, reserve=0, budget=None)
    ledger.move(1, Transition(state=State.REFUSED))
    left, bought = (
        asyncio.run(plan(Service(), [song("s1")], tmp_path / "c.db", retry_failed=retry)) for retry in (0, 1)
    )
    assert (counts(left), left.buys) == ({"failed": 1}, 0)
    assert (counts(bought), bought.buys) == ({"refused": 1}, 1)


def test_a_failed_track_that_is_bought_under_another_author(ledger: SqliteLedger, tmp_path: Path) -> None:
    """A failed track is bought again only if no other row has its song, or `rebuy_changed` is given."""
    put(ledger, song("s1"), State.FAILED)
    put(ledger, song("s1", "Ava"), State.SUBMITTED)
    kept, bought = (
        asyncio.run(plan(Service(), [song("s1")], tmp_path / "c.db", retry_failed=1, rebuy_changed=rebuy_changed))
        for rebuy_changed in (False, True)
    )
    assert (counts(kept), kept.buys) == ({"failed": 1}, 0)
    assert (counts(bought), bought.buys) == ({"failed": 1}, 1)


async def test_rows_that_are_no_tracks(tmp_path: Path) -> None:
    """Bad rows are all counted; of their errors the first are kept, with their places."""
    path = tmp_path / "c.csv"
    path.write_text("task_id,suno_id\nm1,s1\n" + "m1,\n" * 500)
    found = await plan(Service(), path)
    assert counts(found) == {"new": 1, "bad_rows": 500}
    assert len(found.problems) == MAX_PROBLEMS
    assert found.problems[0].location == "c.csv, line 3"


async def test_an_async_source() -> None:
    """An async iterable is a catalog, too."""

    async def tracks() -> AsyncIterator[Track]:
        for number in range(3):
            yield song(f"s{number}")

    assert (await plan(Service(), tracks())).new == 3


async def test_a_ledger_that_does_not_exist_yet(tmp_path: Path) -> None:
    """Where there is no ledger yet everything is new, and none is made."""
    found = await plan(Service(), [song("s1")], tmp_path / "none.db")
    assert found.new == 1
    assert list(tmp_path.iterdir()) == []


async def test_a_refused_sample_does_not_hide_the_price() -> None:
    """When the service refuses to estimate one track, another one of its shape is asked about."""
    service = Service(refused={"s1": refusal(InvalidRequestError, 422)})
    found = await plan(service, [song("s1"), song("s2")])
    assert found.estimated_credits == 0.2


@pytest.mark.parametrize("error", [refusal(InvalidRequestError, 422), refusal(ServerError, 500)])
async def test_no_estimate_at_all(error: APIError) -> None:
    """When nothing can be estimated, the service's reason is raised."""
    service = Service(refused={f"s{number}": error for number in range(9)})
    with pytest.raises(type(error)):
        await plan(service, [song(f"s{number}") for number in range(9)])
    assert len(service.asked) <= 3


async def test_an_unreadable_catalog_closes_the_ledger(ledger: SqliteLedger, tmp_path: Path) -> None:
    """A catalog that cannot be read is raised, and no connection is left open."""
    with pytest.raises(CatalogError, match="No such file"):
        await plan(Service(), tmp_path / "none.csv", ledger)


async def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    """Another file in the ledger's place is refused before anything is asked."""
    (tmp_path / "c.db").write_text("no ledger, but more than nothing")
    service = Service()
    with pytest.raises(LedgerError, match=r"c\.db"):
        await plan(service, [song("s1")], tmp_path / "c.db")
    assert service.asked == []


async def test_another_accounts_ledger_is_no_plan(ledger: SqliteLedger) -> None:
    """What another key bought is not done for this one."""

    class Other(Service):
        @property
        def account(self) -> tuple[str, str]:
            return ACCOUNT["provider"], "another"

    with pytest.raises(LedgerError, match="belongs to another key"):
        await plan(Other(), [song("s1")], ledger)
