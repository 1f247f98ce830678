"""The command `suno-video`: its verbs, and what becomes of what goes wrong in them.

Help, completion and mistakes need only what is imported here; a verb's own module is imported when it is used.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial

import click

from suno_video_async._version import __version__
from suno_video_async.cli.exits import Exit
from suno_video_async.cli.group import Later, Verbs

#: The verbs in the order in which they are listed: the module of each, and what the list says of it.
_VERBS = {
    "demo": ("demo", "Make lyric videos of a few built-in songs, without an account."),
    "login": ("login", "Store your key in ~/.crun/.env."),
    "convert": ("convert", "Make a music video of every track in a CATALOG."),
    "plan": ("plan", "Say what a CATALOG would buy and cost."),
    "load": ("load", "Add the tracks of a CATALOG to a ledger, for workers to buy."),
    "work": ("work", "Work keys on ledgers in PostgreSQL, beside other workers."),
    "receive": ("receive", "Receive callbacks for workers."),
    "temporal": ("temporal", "Let Temporal run the workers, and start again what dies."),
    "report": ("report", "Make one HTML page of a LEDGER: totals, cost, pace and the videos."),
    "listen": ("listen", "Finish what a LEDGER holds, and receive callbacks."),
    "unknown": ("unknown", "Settle submissions whose outcome is unknown."),
    "submit": ("single", "Buy the video of one track, and print the video's task id."),
    "status": ("single", "Print the current state of a video."),
    "watch": ("single", "Print each change of a video's state until it is finished."),
    "wait": ("single", "Wait for videos submitted earlier."),
    "download": ("single", "Download a finished video."),
    "tracks": ("tracks", "List the tracks of finished music tasks."),
    "balance": ("single", "Print the account's credits."),
    "doctor": ("doctor.command", "Check key, network, clock, disk and ledger."),
    "render": ("render", "Make videos of your own songs, without a server."),
    "serve": ("serve", "Run the service on this machine."),
    "library": ("library", "Your own songs for suno-video serve --library."),
    "completion": ("completion", "Print what lets your shell complete."),
}
#: Verbs that have verbs of their own.
_GROUPS = frozenset({"unknown", "library", "temporal"})


@click.group(
    "suno-video",
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  suno-video demo\n  suno-video plan catalog.csv\n"
    "  suno-video convert catalog.csv --output-dir videos",
)
@click.option("--debug", is_flag=True, help="Show the log, and the traceback of what goes wrong.")
@click.version_option(__version__, prog_name="suno-video")
@click.pass_context
def app(context: click.Context, *, debug: bool) -> int:
    """Turn finished Suno tracks into music videos.

    New here? suno-video demo makes a few videos on this machine, without an account. For your own tracks store
    your key with login (or set CRUN_API_KEY), write a catalog, see with plan what it would cost, and convert it.
    Whatever interrupts that, the same command goes on, and pays for no video twice.

    Results are JSON lines when stdout is not a terminal, or with --json; all else goes to stderr.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    else:
        from suno_video_async.cli.lines import shown  # noqa: PLC0415  help does without it

        context.with_resource(shown(debug=debug))
    return Exit.DONE


for _name, (_module, _says) in _VERBS.items():
    _attribute = f"{_name}_{'group' if _name in _GROUPS else 'command'}"
    app.add_command(Later(_name, f"{__package__}.{_module}:{_attribute}", _says))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; whatever goes wrong is one line on stderr.

    Args:
        arguments: what stands after `suno-video`; None takes the process's own.

    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given[: next((n for n, word in enumerate(given) if not word.startswith("-")), len(given))]
    shown = [_without_password(word) for word in given]
    main = partial(app.main, given, prog_name="suno-video", standalone_mode=False, obj=shown)
    return _flushed(_caught(main, debug=debug), debug=debug)


def _without_password(word: str) -> str:
    if "://" not in word:
        return word
    from suno_video_async.ledger.address import shown_word  # noqa: PLC0415  help does without it

    return shown_word(word)


def _caught(command: Callable[[], object], *, debug: bool) -> int:
    try:
        code = command()
    except click.ClickException as error:
        return _complain(_usage(error), error.exit_code, debug=debug)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return Exit.FAILED
    except Exception as error:
        return _failed(error, debug=debug)
    return code if isinstance(code, int) else Exit.DONE


def _failed(error: Exception, *, debug: bool) -> int:
    from suno_video_async.cli import errors  # noqa: PLC0415  what goes well does without it

    if errors.is_expected(error):
        return _complain(errors.line(error), errors.exit_code(error), debug=debug)
    if isinstance(error, OSError) and error.errno in _FULL:
        return _on_full_disk(error, debug=debug)
    hint = "" if debug else "; suno-video --debug … shows the traceback"
    return _complain(f"unexpected error, {type(error).__name__}: {error}{hint}", Exit.UNEXPECTED, debug=debug)


def _complain(text: str, code: int, *, debug: bool) -> int:
    # Without the extra, this is what fails, and `cli.main` says what to install.
    from suno_video_async.cli.output import plain, printable  # noqa: PLC0415  likewise

    if debug:
        click.echo(printable(traceback.format_exc()), err=True, nl=False)
    click.echo(f"suno-video: {plain(text)}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "suno-video"
    return f"{error.format_message()} (see {path} --help)"


def _flushed(code: int, *, debug: bool) -> int:
    """Flush stdout now: at the interpreter's exit a reader who has left would still be complained about."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return code or Exit.FAILED
    except OSError as error:
        return code or _on_full_disk(error, debug=debug)
    return code


#: How a full disk, a quota or a broken device refuses what is written, if a file that was opened long ago does so.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _on_full_disk(error: OSError, *, debug: bool) -> int:
    code = _complain(f"stdout or a file cannot be written: {error.strerror}", Exit.FAILED, debug=debug)
    _discard_stdout()
    return code


def _discard_stdout() -> None:
    from suno_video_async.cli.output import discard_stdout  # noqa: PLC0415  likewise

    discard_stdout()
