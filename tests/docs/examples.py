"""Runs the examples of a page: a folder of their own, a local server to talk to, and a clock that runs faster.

What runs is what a reader would run:

- ```` ```python ```` runs in this process, in one namespace a page;
- ```` ```{code-block} ```` with `:caption: FILE` is written to that file;
- ```` ```{literalinclude} PATH ```` is the file of the repository that it shows, and is copied;
- ```` ```sh ```` runs in a shell, where `python` and `suno-video` are those of this checkout;
- ```` ```output ```` is what the block before it prints; `…` stands for anything, on a line of its own for lines.

`<!-- skip: next "why" -->` before a block leaves it out.
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import cast

from attrs import define, field
from sybil import Document, Example, Region
from sybil.parsers.myst import CodeBlockParser, SkipParser
from sybil.parsers.myst.lexers import DirectiveLexer

ROOT = Path(__file__).parents[2]
_SHELL_SECONDS = 300.0


@define
class Runner:
    """Evaluates the blocks of one page.

    Attributes:
        folder: where they run.
        environment: of the shell blocks.
        printed: what the last block printed.

    """

    folder: Path
    environment: dict[str, str]
    printed: str = field(default="", init=False)

    def parse(self, page: Path) -> Document:
        """Return a page's examples."""
        python, output = CodeBlockParser("python", self.python), CodeBlockParser("output", self.output)
        files = [CodeBlockParser(language, self.file) for language in ("toml", "text")]
        shell = CodeBlockParser("sh", self.sh)
        return Document.parse(str(page), python, output, *files, shell, partial(self.included, page), SkipParser())

    def included(self, page: Path, document: Document) -> Iterator[Region]:
        """Yield the files that a page shows whole."""
        for lexed in DirectiveLexer("literalinclude")(document):
            shown = str(page.parent / lexed.lexemes["arguments"])
            yield Region(lexed.start, lexed.end, shown, self.copy)

    def copy(self, example: Example) -> None:
        """Copy a file that a page shows."""
        shutil.copy(example.parsed, self.folder)

    def python(self, example: Example) -> None:
        """Run Python, or write it where it has a caption."""
        if _caption(example) is not None:
            self.file(example)
            return
        example.namespace["__name__"] = "__main__"
        code = compile("\n" * example.line + example.parsed, example.path, "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, example.namespace)
        self.printed = printed.getvalue()

    def file(self, example: Example) -> None:
        """Write a block that has a caption to the file that it names."""
        name = _caption(example)
        if name is not None:
            (self.folder / name).write_text(example.parsed, encoding="utf-8")

    def sh(self, example: Example) -> str | None:
        """Run a shell block; its stderr counts as printed, too."""
        if shutil.which(example.parsed.split()[0], path=self.environment["PATH"]) is None:
            return None
        done = subprocess.run(
            ["sh", "-e", "-c", example.parsed],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SHELL_SECONDS,
            check=False,
        )
        self.printed = done.stdout
        return f"exit code {done.returncode}:\n{done.stdout}" if done.returncode else None

    def output(self, example: Example) -> str | None:
        """Compare what was printed with what the page shows."""
        shown = example.parsed.strip().translate({ord("["): "[[]", ord("*"): "[*]", ord("?"): "[?]"})
        pattern = shown.replace("\n…\n", "*\n").replace("…", "*")
        if fnmatch.fnmatchcase(self.printed.strip(), pattern):
            return None
        return f"it printed:\n{self.printed}"


def _caption(example: Example) -> str | None:
    options = cast("Mapping[str, str]", example.region.lexemes.get("options", {}))
    return options.get("caption")


def commands(folder: Path, forked: Sequence[str]) -> Path:
    """Return a folder of commands that are those of this checkout, installed or not.

    Args:
        folder: where to make them.
        forked: the words that run Python as a fork that has imported the package; without them, it is started.

    """
    folder.mkdir()
    start = shlex.join(forked or [sys.executable])
    scripts = {
        # Modules, such as pytest, may have to be there before the package is imported.
        "python": f'case "$1" in -*) exec "{sys.executable}" "$@";; *) exec {start} "$@";; esac',
        "suno-video": f'exec {start} -m suno_video_async "$@"',
    }
    for name, script in scripts.items():
        command = folder / name
        command.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        command.chmod(0o755)
    return folder


def environment(home: Path, url: str, api_key: str, forked: Sequence[str] = ()) -> dict[str, str]:
    """Return the environment of shell blocks, with nothing of the user's own."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{commands(home / 'bin', forked)}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "CRUN_BASE_URL": url,
        "CRUN_API_KEY": api_key,
    }
