"""One target under atheris, in a process of its own: `python -m tests.fuzz.guided TARGET CORPUS [OPTION...]`.

The options are those of libFuzzer. The package's own modules are instrumented as they are imported, so that an
input which reaches a new branch is kept and varied.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from typing import Any


def main() -> None:
    """Fuzz until the time is over, or an input is not survived."""
    warnings.simplefilter("ignore")
    atheris: Any = importlib.import_module("atheris")  # it is not there on every system
    for module in ("openpyxl", "pyarrow.parquet"):  # else the first input that needs one waits for it, too long
        importlib.import_module(module)
    with atheris.instrument_imports(include=["suno_video_async", "dotenv"], enable_loader_override=False):
        targets = importlib.import_module("tests.fuzz.targets")
    run = targets.TARGETS[sys.argv.pop(1)].run
    atheris.Setup(sys.argv, lambda data: run(bytes(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
