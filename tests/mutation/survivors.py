"""Change the codec and the ledger in one place after another, and print the changes that no test notices.

`python -m tests.mutation.survivors [SECONDS [NAMES...]]`, with mutmut installed; `[tool.mutmut]` in pyproject.toml
says what is changed and which tests must notice. It works in a copy, and stops when its time is over.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTMUT = [sys.executable, "-m", "mutmut"]
PROTOCOL, LEDGER = "suno_video_async.protocol", "suno_video_async.ledger"
#: Where a slip costs money: what an answer means, and how a row is begun, moved, found again and paid.
NAMES = (
    *(f"{PROTOCOL}.verdicts.*", f"{LEDGER}.states.*", f"{LEDGER}.model.*"),
    *(
        f"{PROTOCOL}.codec.x_{name}__mutmut*"
        for name in ("read_created", "_data", "_envelope", "_refuse", "_broken")
    ),
    *(f"{LEDGER}.commands.*ǁ{name}__mutmut*" for name in ("claim", "begin_attempt", "move", "_recover")),
    *(
        f"{LEDGER}.commands.*ǁ{name}__mutmut*"
        for name in ("_inserted", "_is_begun", "_row_to_begin", "_is_moved", "_close_attempt")
    ),
    *(
        f"{LEDGER}.commands.x_{name}__mutmut*"
        for name in ("_settled", "_check_whole", "_may_move_as_known", "_moved")
    ),
    *(f"{LEDGER}.queries.x_{name}__mutmut*" for name in ("sums", "row_of")),
)
#: mutmut's exit codes; every other one is a test that failed, broke or ran too long.
UNCHECKED, SURVIVED, UNREACHED = None, 0, 33


def main(seconds: str = "900", *names: str) -> int:
    """Run within the given time and print the figures and the survivors."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in ("suno_video_async", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        in_time = run(copy, float(seconds), names or NAMES)
        figures, survivors, mutants = read(copy)
        if lost := unmatched(names or NAMES, mutants):
            sys.exit(f"no function or mutant has these names: {', '.join(lost)}")
        shown = [text for key in survivors if not is_noise(text := show(copy, key))]
    print(*shown, sep="\n")
    for module, counts in figures.items():
        print(module, dict(counts))
    print(f"{len(shown)} of {len(survivors)} survivors shown; the rest differ in letter case or in a cast only")
    print("unchecked: of functions not asked for" if in_time else "unchecked: the time was over before all were")
    return 0 if any(counts["killed"] for counts in figures.values()) else 1


def run(copy: Path, seconds: float, names: Sequence[str]) -> bool:
    """Let mutmut work; return whether it ended by itself."""
    log = copy / "mutmut.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*MUTMUT, "run", *names], cwd=copy, stdout=output, stderr=output)
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it then ends its children and keeps what it knows
            process.wait(60)
            return False
    if code != 0:
        sys.exit(f"mutmut ended with {code}:\n{log.read_text(errors='replace')[-3000:]}")
    return True


def unmatched(names: Sequence[str], mutants: Sequence[str]) -> Sequence[str]:
    """Return the names that match no mutant: their function was moved or renamed, and is no longer checked."""
    return [name for name in names if not any(fnmatchcase(mutant, name) for mutant in mutants)]


def read(copy: Path) -> tuple[dict[str, Counter[str]], Sequence[str], Sequence[str]]:
    """Return the results of each module's mutants, the names of those that survived, and all names."""
    figures, survivors, mutants = dict[str, Counter[str]](), list[str](), list[str]()
    for path in sorted((copy / "mutants").rglob("*.py.meta")):
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
        words = {UNCHECKED: "unchecked", SURVIVED: "survived", UNREACHED: "unreached"}
        if codes:
            figures[path.name.removesuffix(".meta")] = Counter(
                words.get(code, "killed") for code in codes.values()
            )
        mutants += codes
        survivors += [key for key, code in codes.items() if code == SURVIVED]
    return figures, survivors, mutants


def show(copy: Path, key: str) -> str:
    """Return a mutant's name and its changed lines."""
    command = [*MUTMUT, "show", key]
    text = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=60).stdout
    return "\n".join([key, *changed(text)])


def changed(text: str) -> Iterator[str]:
    """Yield the changed lines of a difference."""
    for line in text.splitlines():
        if line[:1] in {"-", "+"} and line[:3] not in {"---", "+++"}:
            yield line


def is_noise(shown: str) -> bool:
    """Whether a change means nothing: other letter case, as SQL has it, or another type in a `cast`."""
    before, after = ([line[1:] for line in shown.splitlines()[1:] if line[0] == sign] for sign in "-+")
    return [plain(line) for line in before] == [plain(line) for line in after]


def plain(line: str) -> str:
    """Return a line without what has no meaning at run time."""
    return re.sub(r"cast\((none|\"[^\"]*\"), ", "cast(", line.casefold())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
