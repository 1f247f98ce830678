"""`suno-video login`: stores the key in the provider's key file without ever showing it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from suno_video_async._util.words import many
from suno_video_async.cli import keyfile
from suno_video_async.cli.exits import Exit, UsageProblem
from suno_video_async.cli.interrupts import Interrupts
from suno_video_async.cli.options import Command, Connection, output_options
from suno_video_async.cli.output import Output, keep_secret
from suno_video_async.cli.session import with_client
from suno_video_async.config import check_base_url, check_key, default_key_file, read_key_file

if TYPE_CHECKING:
    from suno_video_async.client import SunoVideoClient

#: Far longer than any key: longer input is another file, piped in by mistake.
_MOST_CHARACTERS = 1000


def _no_key_among(context: click.Context, _: click.Parameter, words: tuple[str, ...]) -> None:
    """Refuse a key on the command line without repeating it, as a click callback."""
    if words and not context.resilient_parsing:
        raise UsageProblem(
            "the key cannot be an argument: the shell's history and the process list would show it; run suno-video"
            " login alone and paste the key, or pipe it in (if the argument was a key, create a new one)"
        )


def _hidden_words(command: Command) -> Command:
    return click.argument("words", nargs=-1, callback=_no_key_among, expose_value=False, metavar="")(command)


@click.command(
    "login",
    epilog="\b\nExamples:\n  suno-video login\n  suno-video login --check < key.txt",
)
@_hidden_words
@click.option("--base-url", metavar="URL", help="Store the service's address too, if it is not the official one.")
@click.option("--check", is_flag=True, help="Query the account's credits first; a refused key is not stored.")
@output_options
def login_command(*, base_url: str | None, check: bool, output: Output) -> int:
    """Store your API key in ~/.crun/.env, which only you can read.

    The key is prompted for without being shown, or read as one line from stdin if that is not a terminal. It is
    never an argument. Other lines of the file are kept. CRUN_API_KEY in the environment overrides the file.

    Nothing is bought. Exit code 2 if the key, the address or the file cannot be used.
    """
    path = default_key_file()
    url = None if base_url is None else check_base_url(base_url.strip())
    key = check_key(_asked())
    balance = _balance(key, url, output) if check else None
    if isinstance(balance, Exit):
        return balance
    replaced = read_key_file(path).get("CRUN_API_KEY", key) != key
    keyfile.store(path, {"CRUN_API_KEY": key, **({} if url is None else {"CRUN_BASE_URL": url})})
    line = {"key_file": str(path), "replaced": replaced, "base_url": url, "balance": balance}
    output.result(line, human=lambda: _words(path, balance, replaced=replaced))
    _warn_of_environment(path, key, url, output)
    return Exit.DONE


def _words(path: Path, balance: float | None, *, replaced: bool) -> Text:
    other = ", in place of the one that was there" if replaced else ""
    credits_ = "" if balance is None else f"; the account has {many(balance, 'credit')}"
    return Text(f"the key is stored in {path}{other}{credits_}")


def _asked() -> str:
    """Return the key that the user types or pipes in.

    Raises:
        UsageProblem: there is none, or it is far too long.

    """
    if sys.stdin is not None and sys.stdin.isatty():
        key = click.prompt("API key (not shown)", hide_input=True, err=True, default="", show_default=False)
    else:
        key = "" if sys.stdin is None else sys.stdin.readline(_MOST_CHARACTERS + 1)
        if len(key) > _MOST_CHARACTERS:
            raise UsageProblem(
                f"the first line of stdin has over {_MOST_CHARACTERS} characters: that is not a key"
            )
    if not key.strip():
        raise UsageProblem("no key was given: nothing was stored")
    keep_secret(key.strip())
    return key.strip()


def _balance(key: str, url: str | None, output: Output) -> float | Exit:
    """Query the credits with a key that is not stored yet; return an exit code if that fails."""
    found = list[float]()

    async def ask(client: SunoVideoClient, _: Interrupts) -> int:
        found.append(await client.balance())
        return Exit.DONE

    code = with_client(Connection(base_url=url, api_key=key), output, ask)
    return found[0] if found else Exit(code)


def _warn_of_environment(path: Path, key: str, url: str | None, output: Output) -> None:
    """Warn about each stored value that the environment overrides."""
    for name, value in (("CRUN_API_KEY", key), ("CRUN_BASE_URL", url)):
        own = os.environ.get(name, "").strip()
        if value is not None and own and own != value:
            output.note(
                f"warning: {name} in the environment differs from the stored one and overrides it: unset"
                f" {name} to use {path}",
                style="yellow",
            )
