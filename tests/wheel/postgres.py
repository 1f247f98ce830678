"""The extra `postgres` alone: the driver can be imported, and a ledger that cannot be reached says so."""

from __future__ import annotations

from importlib.util import find_spec

from suno_video_async import LedgerError, PostgresLedger


def main() -> None:
    """Try to open a ledger where no server listens."""
    assert find_spec("click") is None, "another extra is installed: this checks nothing"
    ledger = PostgresLedger("postgresql://127.0.0.1:9/nowhere?ledger=catalog")
    said = "there is a server on the discard port"
    try:
        ledger.open(provider="http://127.0.0.1", fingerprint="none")
    except LedgerError as error:
        said = str(error)
    assert "cannot be reached" in said, said
    print("the extra postgres alone: fine")


main()
