"""The command `suno-video`: its verbs, and what becomes of what goes wrong in them."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import click

from suno_video_async._util.text import one_line
from suno_video_async.cli import errors
from suno_video_async.cli.completion import completion_command
from suno_video_async.cli.convert import convert_command
from suno_video_async.cli.demo import demo_command
from suno_video_async.cli.doctor.command import doctor_command
from suno_video_async.cli.errors import Exit, UsageProblem
from suno_video_async.cli.group import Verbs
from suno_video_async.cli.library import library_group
from suno_video_async.cli.listen import listen_command
from suno_video_async.cli.login import login_command
from suno_video_async.cli.output import discard_stdout, plain, printable, say
from suno_video_async.cli.plan import plan_command
from suno_video_async.cli.render import render_command
from suno_video_async.cli.report import report_command
from suno_video_async.cli.serve import serve_command
from suno_video_async.cli.single import (
    balance_command,
    download_command,
    status_command,
    submit_command,
    tracks_command,
    wait_command,
    watch_command,
)
from suno_video_async.cli.unknown import unknown_group
from suno_video_async.errors import SunoVideoError
from suno_video_async.observability.log import logger

_VERBS = (
    demo_command,
    login_command,
    convert_command,
    plan_command,
    report_command,
    listen_command,
    unknown_group,
    submit_command,
    status_command,
    watch_command,
    wait_command,
    download_command,
    tracks_command,
    balance_command,
    doctor_command,
    render_command,
    serve_command,
    library_group,
    completion_command,
)


def _version() -> str:
    try:
        return version("suno-video-async")
    except PackageNotFoundError:
        return "unknown (not installed)"


@click.group(
    "suno-video",
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExamples:\n  suno-video demo\n  suno-video plan catalog.csv\n"
    "  suno-video convert catalog.csv --output-dir videos",
)
@click.option("--debug", is_flag=True, help="Show the log, and the traceback of what goes wrong.")
@click.version_option(_version(), prog_name="suno-video")
@click.pass_context
def app(context: click.Context, *, debug: bool) -> int:
    """Turn finished Suno tracks into music videos.

    New here? suno-video demo makes a few videos on this machine, without an account. For your own tracks store
    your key with login (or set CRUN_API_KEY), write a catalog, see with plan what it would cost, and convert it.
    Whatever interrupts that, the same command goes on, and pays for no video twice.

    Results are JSON lines when stdout is not a terminal, or with --json; all else goes to stderr.
    """
    if debug:
        context.with_resource(_log_on_stderr())
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return Exit.DONE


for _verb in _VERBS:
    app.add_command(_verb)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; whatever goes wrong is one line on stderr.

    Args:
        arguments: what stands after `suno-video`; None takes the process's own.

    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given[: next((n for n, word in enumerate(given) if not word.startswith("-")), len(given))]
    main = partial(app.main, given, prog_name="suno-video", standalone_mode=False, obj=given)
    with _warnings_as_lines(), contextlib.nullcontext() if debug else _logged(_Warnings(logging.WARNING)):
        code = _caught(main, debug=debug)
    return _flushed(code, debug=debug)


def _caught(command: Callable[[], object], *, debug: bool) -> int:
    try:
        code = command()
    except click.ClickException as error:
        return _complain(_usage(error), error.exit_code, debug=debug)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except (SunoVideoError, UsageProblem) as error:
        return _complain(errors.line(error), errors.exit_code(error), debug=debug)
    except BrokenPipeError:
        discard_stdout()
        return Exit.FAILED
    except Exception as error:
        return _unforeseen(error, debug=debug)
    return code if isinstance(code, int) else Exit.DONE


def _unforeseen(error: Exception, *, debug: bool) -> int:
    if isinstance(error, OSError) and error.errno in _FULL:
        return _on_full_disk(error, debug=debug)
    hint = "" if debug else "; suno-video --debug … shows the traceback"
    return _complain(f"unexpected error, {type(error).__name__}: {error}{hint}", Exit.UNEXPECTED, debug=debug)


def _complain(text: str, code: int, *, debug: bool) -> int:
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
        discard_stdout()
        return code or Exit.FAILED
    except OSError as error:
        return code or _on_full_disk(error, debug=debug)
    return code


#: How a full disk, a quota or a broken device refuses what is written, if a file that was opened long ago does so.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def _on_full_disk(error: OSError, *, debug: bool) -> int:
    code = _complain(f"stdout or a file cannot be written: {error.strerror}", Exit.FAILED, debug=debug)
    discard_stdout()
    return code


@contextmanager
def _warnings_as_lines() -> Generator[None, None, None]:
    """Let the library's warnings to its users be lines like any other."""

    said = set[str]()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in said:
            said.add(str(message))
            say(f"warning: {plain(str(message))}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)  # once a command, not once a process
        warnings.showwarning = show
        yield


@contextmanager
def _log_on_stderr() -> Generator[None, None, None]:
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with _logged(_Lines()):
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def _logged(handler: logging.Handler) -> Generator[None, None, None]:
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write one record to stderr: its message as one line, and the lines of its traceback, if it has one."""
        said = self.format(record)
        message = record.getMessage()
        say(printable(said.replace(message, one_line(message), 1)))


class _Warnings(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Write what a user has to know to stderr, without a traceback."""
        say(f"warning: {plain(record.getMessage())}")
