"""Where a ledger is, as its user names it: the one place that knows every kind of ledger."""

from __future__ import annotations

import re
from os import PathLike
from typing import TypeAlias, TypeVar
from urllib.parse import unquote_plus

from attrs import field, frozen

from suno_video_async.ledger.model import Ledger

#: What a ledger may be named by: itself, its file or its address.
LedgerPlace: TypeAlias = "Ledger | LedgerAddress | str | PathLike[str]"

#: What an address begins with, and no path does.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
#: The passwords of a word that is an address, or has one in it.
_IN_WORD = re.compile(r"(postgres(?:ql)?://[^:@/?]*):.*@|([?&](?:ssl)?password=)[^&#]*", re.DOTALL)
#: The same in any text: up to where a word or a string ends.
_IN_TEXT = re.compile(r"(postgres(?:ql)?://[^:@/?\s]*):[^\s\"'<>]*@")
_LEDGER = re.compile(r"(?<=[?&])ledger=([^&#]*)&?")
#: What a ledger's name must be, in words.
NAME_RULE = "a ledger has one name of up to 40 small letters, digits, - and _, beginning with a letter or a digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@frozen
class LedgerAddress:
    """The address of a ledger in PostgreSQL: `postgresql://USER@HOST/DATABASE?ledger=NAME`.

    What is wrong with an address is said when it is opened, and not when it is made: until then, its text with a
    password in it would be in the frames of a traceback.

    Attributes:
        shown: the address without a password.
        name: the ledger's name.
        conninfo: the address for libpq, without the ledger's name, but with a password.
        problem: why it cannot be used, or None.

    """

    shown: str
    name: str = ""
    conninfo: str = field(default="", repr=False)
    problem: str | None = None

    @classmethod
    def parse(cls, text: str) -> LedgerAddress:
        """Return the address that a text is; never raises."""
        if not text.startswith(("postgresql://", "postgres://")):
            scheme = text.partition("://")[0]
            return cls(f"{scheme}://…", problem="a ledger is a file, or postgresql://…?ledger=NAME")
        shown = shown_word(text)
        names = [unquote_plus(name) for name in _LEDGER.findall(text)]
        if not names:
            return cls(shown, conninfo=text, problem="it names no ledger: add ?ledger=NAME")
        if len(names) > 1 or not _NAME.fullmatch(names[0]):
            return cls(
                shown,
                problem=NAME_RULE,
            )
        return cls(shown, names[0], _LEDGER.sub("", text).rstrip("?&"))

    @property
    def is_database(self) -> bool:
        """Whether it is the address of a database, in which it names no ledger."""
        return not self.name and bool(self.conninfo)

    def named(self, name: str) -> LedgerAddress:
        """Return the address of a ledger in the database that this is the address of."""
        shown = f"{self.shown}{'&' if '?' in self.shown else '?'}ledger={name}"
        return LedgerAddress(shown, name, self.conninfo, None if is_name(name) else NAME_RULE)

    def __str__(self) -> str:
        return self.shown


def is_name(text: str) -> bool:
    """Whether a ledger can have a name."""
    return _NAME.fullmatch(text) is not None


def is_address(place: object) -> bool:
    """Whether a ledger's place is an address, and not a path."""
    return isinstance(place, str) and _SCHEME.match(place) is not None


def shown_word(word: str) -> str:
    """Return a word of a command line without the password of the address that it is, or has in it."""
    return (
        _IN_WORD.sub(lambda found: f"{found[1]}@" if found[1] else found[2], word) if "postgres" in word else word
    )


def without_passwords(text: str) -> str:
    """Return any text without the passwords of the addresses in it."""
    return _IN_TEXT.sub(r"\1@", text) if "postgres" in text else text


T = TypeVar("T")


def sealed(place: T) -> T | LedgerAddress:
    """Return what names a ledger, with the text of an address in a value that does not show its password."""
    return LedgerAddress.parse(place) if isinstance(place, str) and is_address(place) else place


def as_ledger(place: LedgerPlace | None) -> Ledger:
    """Return a ledger that is not open yet: the one given, or the one at a place; None is in memory."""
    if place is None or isinstance(place, str | PathLike | LedgerAddress):
        return ledger_at(place)
    return place


def ledger_at(
    place: LedgerAddress | str | PathLike[str] | None, *, accept: bool = False, same_account: bool = False
) -> Ledger:
    """Return the ledger at a place: a file, an address of PostgreSQL, or None for memory.

    Args:
        place: where it is.
        accept: take a file in spite of a doubt; see `SqliteLedger`.
        same_account: go on with the ledger of another key of the account; see `SqliteLedger`.

    """
    place = sealed(place)
    if not isinstance(place, LedgerAddress):
        from suno_video_async.ledger.sqlite import SqliteLedger  # noqa: PLC0415  a client opens none at import

        return SqliteLedger(place, accept=accept, same_account=same_account)
    from suno_video_async.ledger.postgres.ledger import PostgresLedger  # noqa: PLC0415  files do without it

    return PostgresLedger(place, same_account=same_account)
