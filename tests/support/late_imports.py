"""A program that converts a catalog through every fault, and prints what was imported once the conversion ran.

Usage: python -m tests.support.late_imports FOLDER
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from suno_video_async import CallbackReceiver, SunoVideoClient, SystemClock, Track
from tests.support.ports import reserved_port
from tests.support.processes import ServerProcess, server_process

SCALE = 200.0
ROWS = 60
RATE = 0.04
#: A submission's, a question's, a file's and a callback's ways to go wrong.
FAULTS = {
    "CreateTask": (
        *("code:429", "code:455", "code:422", "code:404", "html:502", "redirect", "bad-json", "truncate"),
        *("drop-before", "drop-after", "commit-then-500", "huge-body", "missing-id", "fail"),
    ),
    "TaskInfo": (
        *("code:429", "code:500", "code:404", "html:502", "bad-json", "truncate", "drop-before", "drop-after"),
        *("unknown-status", "late-url:20"),
    ),
    "media": ("code:503", "code:404", "expire-url", "drop-before", "truncate"),
    "callback": ("duplicate", "slow:30", "truncate", "forge"),
}


class Spy:
    """Notes each module that is looked for while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.found = list[str]()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Leave the import to others."""
        if self.on:
            self.found.append(name)
        return None


async def convert(server: ServerProcess, folder: Path, port: int, spy: Spy) -> int:
    """Convert; return how many rows came to an end."""
    ended = 0
    async with SunoVideoClient(api_key=server.key, base_url=server.url, clock=SystemClock(SCALE)) as client:
        receiver = CallbackReceiver(client, public_url=f"http://127.0.0.1:{port}/callbacks")
        tracks = [Track(task_id="m", suno_id=f"s{number}") for number in range(ROWS)]
        conversion = client.convert(
            tracks, ledger=folder / "l.db", output_dir=folder, callbacks=receiver, max_credits=1e6
        )
        async with receiver.listen(port=port), conversion as outcomes:
            spy.on = True
            async for outcome in outcomes:
                ended += bool(str(outcome.error))
            spy.on = False
    return ended


def main(folder: Path) -> None:
    """Print it."""
    sys.meta_path.insert(0, spy := Spy())
    faults = folder / "faults.toml"
    rules = ((on, kind) for on, kinds in FAULTS.items() for kind in kinds)
    faults.write_text("".join(f'[[fault]]\non = "{on}"\nkind = "{kind}"\nrate = {RATE}\n' for on, kind in rules))
    options = f"--render-seconds 30 --time-scale {SCALE} --seed 1 --faults {faults}"
    with server_process(*options.split()) as server, reserved_port() as port:
        ended = asyncio.run(convert(server, folder, port, spy))
    print(json.dumps({"ended": ended, "imported": spy.found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
