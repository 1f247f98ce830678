"""A command's output: results go to stdout, everything else to stderr.

Results are JSON lines unless stdout is a terminal. No output contains the API key, and no text from a server can
move the cursor or colour the screen.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress

import click
from rich.console import Console, RenderableType
from rich.text import Text

from suno_video_async._util.text import escaped_json, one_line
from suno_video_async.config import default_key_file, is_secret, read_key_file
from suno_video_async.errors import ConfigurationError
from suno_video_async.ledger.address import without_passwords

#: Keys that were found elsewhere than in the environment.
_known = set[str]()
_KEYS = re.compile(r"\bak_[\x21\x23-\x5b\x5d-\x7e]{32}")


def keep_secret(key: str) -> None:
    """Leave a key out of all that is written from now on."""
    _known.add(key)


def keep_stored_secret() -> None:
    """Do so with the key in the key file. Blocks."""
    with suppress(ConfigurationError):  # it is reported by what needs it
        keep_secret(read_key_file(default_key_file()).get("CRUN_API_KEY", "").strip())


def redacted(text: str) -> str:
    """Return `text` with API keys replaced, and without the passwords of ledgers' addresses."""
    for own in (os.environ.get("CRUN_API_KEY", "").strip(), *_known):
        if is_secret(own):
            text = text.replace(own, "[api key]")
    return without_passwords(_KEYS.sub("[api key]", text))


def printable(text: str) -> str:
    """Return lines without API keys and without what acts on a terminal, each on a line of its own as it was."""
    lines = redacted(text).replace("\r\n", "\n").split("\n")
    return "\n".join(map(one_line, lines))


def plain(text: str) -> str:
    """Return `text` on one line, without API keys and without terminal control characters."""
    one_line = " ".join(text.split())
    return "".join(mark if mark.isprintable() else _instead_of(mark) for mark in redacted(one_line))


def _instead_of(mark: str) -> str:
    """Return the replacement of an unprintable character: nothing if it only joins or reorders others."""
    return "" if unicodedata.category(mark) == "Cf" else "�"


#: Functions that write lines above a live view; while there is one, all lines for stderr go through it.
_above = list[Callable[[Text], None]]()


@contextmanager
def writing_above(write: Callable[[Text], None]) -> Generator[None, None, None]:
    """Send all lines for stderr to `write` while the block runs."""
    _above.append(write)
    try:
        yield
    finally:
        _above.remove(write)


def say(text: str) -> None:
    """Write a line to stderr from anywhere in the program."""
    if _above:
        _above[-1](Text(text))
    else:
        click.echo(text, err=True)


class Output:
    """A command's output.

    Args:
        as_json: write results as JSON lines even to a terminal.
        quiet: write no progress and no hints, only results, warnings and errors.

    Attributes:
        human: whether results are formatted for a person.
        live: whether a display on stderr may redraw itself.
        keeps: whether results that stdout cannot take go to stderr: those of commands that buy.
        gone: whether stdout cannot be written any more.

    """

    def __init__(self, *, as_json: bool, quiet: bool = False) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        screen = sys.stdout.isatty()
        self.human: bool = screen and not as_json
        self.screen: Console = Console(highlight=False, markup=False, emoji=False)
        self.notes: Console = Console(stderr=True, highlight=False, markup=False, emoji=False)
        terminal = self.notes.is_terminal and not self.notes.is_dumb_terminal
        self.live: bool = terminal and not as_json and not quiet
        self._quiet = quiet
        self.keeps: bool = False
        self.gone: bool = False

    def result(self, value: Mapping[str, object], *, human: Callable[[], RenderableType | None]) -> None:
        """Write one result: a JSON line, or what `human` returns for a person."""
        if not self.human:
            self._line(value)
        elif (shown := human()) is not None:
            self.show(shown)

    def show(self, shown: RenderableType) -> None:
        """Write one result for a person."""
        if isinstance(shown, str):
            self.screen.print(Text(plain(shown)), soft_wrap=True)
        else:
            self.screen.print(shown)

    def text(self, text: str) -> None:
        """Write text to stdout as it is, such as a CSV file."""
        try:
            sys.stdout.write(printable(text))
            sys.stdout.flush()
        except OSError as error:
            self._lose_stdout(error)

    def note(self, text: str, *, style: str = "") -> None:
        """Write one line to stderr."""
        line = Text(plain(text), style=style)
        if _above:
            _above[-1](line)
        else:
            self.notes.print(line, soft_wrap=True)

    def hint(self, text: str) -> None:
        """Write one line to stderr, unless the command is quiet."""
        if not self._quiet:
            self.note(text)

    def _line(self, value: Mapping[str, object]) -> None:
        text = escaped_json(json.dumps(value, ensure_ascii=not _writes_unicode(sys.stdout)))
        if not self.gone:
            try:
                sys.stdout.write(redacted(text) + "\n")
                sys.stdout.flush()
            except OSError as error:
                self._lose_stdout(error)
            else:
                return
        if self.keeps:
            self.note(text)

    def _lose_stdout(self, error: OSError) -> None:
        """Go on without stdout; a reader that has left early, such as `head`, has seen what it wanted.

        Raises:
            OSError: `error`, if there was no such reader and nothing was bought.

        """
        self.gone = True
        if self.keeps:
            self.note(f"stdout cannot be written ({error.strerror}): the remaining results follow here")
        elif not isinstance(error, BrokenPipeError):
            raise error
        discard_stdout()


def discard_stdout() -> None:
    """Discard what is left in stdout's buffer, so that flushing it at exit raises no error."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = io.StringIO()


def _writes_unicode(stream: object) -> bool:
    return "utf" in str(getattr(stream, "encoding", "")).lower()
