"""PgBouncer in front of the database: a lock is a session's, and a pooler hands sessions around."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from suno_video_async import LedgerError, Track, load
from suno_video_async.ledger.postgres.ledger import PostgresLedger
from suno_video_async.ledger.postgres.reader import PostgresReader
from tests.ledger.support import FINGERPRINT, PROVIDER
from tests.support.postgres import named
from tests.support.workers import wait_until

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed"),
]


@pytest.fixture(params=["transaction", "session"])
def pooled(database: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the address of the database behind a pooler of one kind."""
    server = Path(parse_qs(urlsplit(database).query).get("host", [""])[0])
    if not server.is_dir():
        pytest.skip("the database has no socket of its own")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)  # it does not run as root
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server} user=postgres\n[pgbouncer]\nlisten_addr =\nauth_type = any\n"
            f"unix_socket_dir = {folder}\nlisten_port = 6543\npool_mode = {request.param}\n"
        )
        owner = server.stat().st_uid
        with subprocess.Popen(["pgbouncer", "-q", folder / "pgbouncer.ini"], user=owner) as pooler:
            try:
                wait_until((folder / ".s.PGSQL.6543").exists)
                yield f"postgresql://postgres@/postgres?host={folder}&port=6543"
            finally:
                pooler.terminate()


async def test_a_ledger_is_not_used_through_a_pooler(pooled: str) -> None:
    """Neither to convert, to load nor to read, however often that is tried."""
    address = named(pooled)
    refused = pytest.raises(LedgerError, match=r"through a connection pooler.*the database server itself")
    for _ in range(3):
        with refused:
            PostgresLedger(address).open(provider=PROVIDER, fingerprint=FINGERPRINT)
        with refused:
            await load([Track(task_id="m", suno_id="a")], address)
        with refused:
            PostgresReader(address).open_to_read()
