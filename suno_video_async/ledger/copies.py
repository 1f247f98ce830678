"""Whether a ledger's file is whole, the newest and the only one. Pure: facts in, a doubt or None out.

A ledger that has lost its newest commits buys them a second time, so a file must be able to show what it lacks.
Three things make that possible.

**The mark** stands in the database, and says which period of writing it belongs to and how far that has come:

    closed n  ->  open n+1  ->  live n+1  ->  open n+2  ->  live n+2  ->  ...  ->  closed m

- `open` is committed and then checkpointed: it is read back from the database file alone before anything is
  sent.
- `live` is committed right after that and stays in the log. The writer never checkpoints it, since each of its
  checkpoints begins with a new `open`. Only a program that opens a killed ledger, and checkpoints all of its log
  when it closes it, brings `live` into the database file.
- `closed` is the last commit of a writer that ends as it should.

So a database file without its log is whole when it says `closed` or `live`, and has lost commits when it says
`open`. With its log, the two must be of the same period, or the log is that of another state of the file.

The mark also has the ledger's own random name, so that the database of one ledger and the log of another are not
taken for one.

**The counter** is a small file beside the database that keeps the newest mark, and how many submissions had been
committed: it is written right after each commit of an intent, so a whole ledger never has fewer. A database of an
earlier period or with fewer submissions is an old copy, or has lost the end of its log; one of another name is
another ledger; and one that is not there at all was deleted.

**The file itself** must have one name and lie in its folder: SQLite keeps the log beside the name that it was
given, so two names of one file have two logs and two locks.

What this cannot show: a folder that was restored as a whole, counter and all; and a copy that never comes back,
and is used at the same time elsewhere.
"""

from __future__ import annotations

from enum import StrEnum

from attrs import evolve, frozen


class Phase(StrEnum):
    """How far a period of writing has come."""

    OPEN = "open"
    LIVE = "live"
    CLOSED = "closed"


@frozen(order=True)
class Mark:
    """Which period of writing a database belongs to; those before the first mark are of period 0.

    Attributes:
        period: counted from 1.
        phase: how far it has come.
        ledger: the random name of the ledger; empty where it was not kept yet.

    """

    period: int = 0
    phase: Phase = Phase.CLOSED
    ledger: str = ""

    def __str__(self) -> str:
        return f"{self.period} {self.phase} {self.ledger}".rstrip()

    @classmethod
    def parse(cls, text: str | None) -> Mark:
        """Read what `str` wrote; None, and what makes no sense, is that of a ledger without a mark."""
        period, _, rest = (text or "").partition(" ")
        phase, _, ledger = rest.partition(" ")
        try:
            return cls(int(period), Phase(phase), ledger)
        except ValueError:
            return cls()

    def next(self, phase: Phase) -> Mark:
        """Return the mark that follows; one that is not known to be in the database file is not left behind."""
        stays = self.phase is Phase.OPEN
        return evolve(self, period=self.period if stays else self.period + 1, phase=phase)


@frozen
class Counter:
    """What the file beside a database keeps.

    Attributes:
        period: the newest period that was written here.
        submissions: how many had been committed here.
        ledger: the random name of the ledger; empty where it was not kept.

    """

    period: int = 0
    submissions: int = 0
    ledger: str = ""

    def __str__(self) -> str:
        # As wide as any later one: it is written over in place.
        return f"{self.period:010} {self.submissions:012} {self.ledger}".rstrip()

    @classmethod
    def parse(cls, text: str) -> Counter | None:
        """Read what `str` wrote; None where it makes no sense."""
        parts = text.split()
        try:
            period, submissions = int(parts[0]), int(parts[1]) if len(parts) > 1 else 0
        except (ValueError, IndexError):
            return None
        return cls(period, submissions, parts[2] if len(parts) > 2 else "")


@frozen(kw_only=True)
class Facts:
    """What is seen of a ledger's file.

    Attributes:
        exists: whether the database is there, and holds a ledger.
        mark: the mark, with the log.
        alone: the mark of the database file without its log; None where it cannot be read alone.
        has_log: whether a log that holds anything is beside it.
        submissions: how many the database has, with the log.
        counter: what was written here last; None where nothing keeps it.
        links: how many names the file has.
        is_mount: whether the file is a mount point of its own.
        network: the kind of network file system that it is on.

    """

    exists: bool = True
    mark: Mark = Mark()
    alone: Mark | None = Mark()
    has_log: bool = False
    submissions: int = 0
    counter: Counter | None = None
    links: int = 1
    is_mount: bool = False
    network: str | None = None

    @property
    def newest(self) -> Mark:
        """The mark to go on from: later than all that was written here."""
        newest = self.counter.period if self.counter else 0
        return self.mark if self.mark.period >= newest else evolve(self.mark, period=newest, phase=Phase.CLOSED)


@frozen
class Doubt:
    """Why a file is not taken for the ledger that it seems to be, and what a person has to check."""

    problem: str
    check: str


def doubt_about_place(facts: Facts) -> Doubt | None:
    """Return why a ledger must not be written where it is."""
    if facts.network is not None:
        return Doubt(
            f"is on a network file system ({facts.network})",
            "use a local disk, or check that no other machine can write it at the same time",
        )
    if facts.is_mount:
        return Doubt(
            "is a mount point of its own, so that its log and its lock are not beside the original",
            "mount the folder that it is in, or check that nothing else uses the original",
        )
    if facts.links > 1:
        return Doubt(
            f"has {facts.links} names (hard links), and each would have a log and a lock of its own",
            "remove the other names, or check that nothing uses them",
        )
    return None


def doubt_about_content(facts: Facts) -> Doubt | None:
    """Return why a ledger may lack what it has bought."""
    if facts.exists:
        return _doubt_about_log(facts) or _doubt_about_age(
            facts.mark, facts.submissions, facts.counter or Counter()
        )
    if facts.counter is not None and facts.counter.period:
        return Doubt(
            "is gone, and with it all that it knew to be bought",
            "put it back, or check that what its catalogs bought may be bought again",
        )
    return None


def _doubt_about_log(facts: Facts) -> Doubt | None:
    if not facts.has_log and facts.mark.phase is Phase.OPEN:
        return Doubt(
            "was not closed, and the -wal file that holds its newest entries is missing",
            "put that file back beside it, or check in your account what was bought since",
        )
    if facts.has_log and not _of_one_period(facts.mark, facts.alone):
        return Doubt(
            "and the -wal file beside it are not of the same time",
            "put back the two that belong together, or check in your account what was bought since",
        )
    return None


def _doubt_about_age(mark: Mark, submissions: int, counter: Counter) -> Doubt | None:
    if mark.ledger and counter.ledger and mark.ledger != counter.ledger:
        return Doubt(
            "is another one than the ledger that was last written here",
            "put that one back, or check that what its catalogs bought may be bought again",
        )
    is_unnamed = counter.ledger and not mark.ledger
    if mark.period < counter.period or submissions < counter.submissions or is_unnamed:
        return Doubt(
            "is older than what was last written here",
            "put back the newest one, or check in your account what was bought since this copy was made",
        )
    return None


def _of_one_period(mark: Mark, alone: Mark | None) -> bool:
    """Whether a database file may have the log that leads to `mark`."""
    if alone is None:  # a checkpoint was cut short: the log has all that it was about
        return True
    if alone.ledger not in {"", mark.ledger}:
        return False
    begins = mark.phase is not Phase.LIVE
    return alone.period == mark.period or (begins and alone.period == mark.period - 1)


def is_uncounted(facts: Facts) -> bool:
    """Whether a ledger that was written before has no counter beside it, so that its age cannot be known."""
    # The counter is written right after the first mark, before anything can be bought.
    begins = {(0, Phase.CLOSED), (1, Phase.OPEN)}
    return facts.exists and (facts.mark.period, facts.mark.phase) not in begins and facts.counter is None
