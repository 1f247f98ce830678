"""Options that several commands share, and the client that follows from them."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click
from attrs import field, frozen

from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.output import Output, keep_stored_secret
from suno_video_async.cli.values import (
    above_zero,
    parse_rate,
    parse_rate_auto_or_none,
    parse_rate_or_auto,
    parse_rate_or_none,
    read_size,
    read_template,
    read_time_scale,
)
from suno_video_async.clock import SystemClock
from suno_video_async.download.filenames import DEFAULT_TEMPLATE
from suno_video_async.download.places import Folder, folder_of
from suno_video_async.errors import MissingExtraError
from suno_video_async.hooks import Hooks
from suno_video_async.models import DEFAULT_RATE, DEFAULT_TASK_TIMEOUT, RetryPolicy, Timeout
from suno_video_async.ratelimit.limiter import GivenRate, RateLimiter

if TYPE_CHECKING:
    from suno_video_async.cli.probe import Route
    from suno_video_async.client import SunoVideoClient

Command = TypeVar("Command", bound=Callable[..., Any])

#: Where videos go unless the user says otherwise.
DEFAULT_OUTPUT_DIR = Path("videos")


@frozen(kw_only=True)
class Connection:
    """How to reach the API, as the user gave it; the command line has no key, only `login` asks for one."""

    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    time_scale: float = 1.0
    proxy: str | None = field(default=None, repr=False)
    ca_file: Path | None = None

    def client(
        self,
        *,
        hooks: Sequence[Hooks] = (),
        retry: RetryPolicy | None = None,
        rate: GivenRate = DEFAULT_RATE,
        read_rate: GivenRate = None,
        max_in_flight: int | Literal["auto"] = 100,
        limiter: RateLimiter | None = None,
    ) -> SunoVideoClient:
        """Return a client that is not open yet.

        Raises:
            ConfigurationError: no key, or a base URL that it cannot be sent to.

        """
        from suno_video_async.client import SunoVideoClient  # noqa: PLC0415  help and mistakes do without it

        keep_stored_secret()
        return SunoVideoClient(
            api_key=self.api_key,
            base_url=self.base_url,
            timeout=self.network_timeout(),
            rate=rate,
            read_rate=read_rate,
            max_in_flight=max_in_flight,
            retry=retry,
            limiter=limiter,
            clock=SystemClock(self.time_scale),
            hooks=hooks,
            proxy=self.proxy,
            ca_file=self.ca_file,
        )

    def route(self) -> Route:
        """Return how the service is reached.

        Raises:
            ConfigurationError: the proxy is not the URL of an HTTP proxy.

        """
        from suno_video_async.cli.probe import Route  # noqa: PLC0415  likewise
        from suno_video_async.config import find_proxies  # noqa: PLC0415  likewise

        return Route(find_proxies(self.proxy), self.ca_file)

    def network_timeout(self) -> Timeout:
        """Return the network's timeout: connecting may take at most half of the whole."""
        if self.timeout is None:
            return Timeout()
        return Timeout(connect=min(10.0, self.timeout / 2), total=self.timeout)

    def repeated(self) -> list[str]:
        """Return the arguments that another command needs to reach the same API."""
        scale = [] if self.time_scale == 1.0 else ["--time-scale", f"{self.time_scale:g}"]
        roots = ["--ca-file", str(self.ca_file)] if self.ca_file else []
        return [*(["--base-url", self.base_url] if self.base_url else []), *scale, *self._proxy_repeated(), *roots]

    def _proxy_repeated(self) -> list[str]:
        """Return `--proxy` and its value, unless that has a password in it: what is repeated is shown."""
        return [] if self.proxy is None or "@" in self.proxy else ["--proxy", self.proxy]


def output_options(command: Command) -> Command:
    """Give a command `--json` and `--quiet`, and the `output` that follows from them."""

    @wraps(command)
    def with_output(*arguments: Any, as_json: bool, quiet: bool, **options: Any) -> Any:
        return command(*arguments, output=Output(as_json=as_json, quiet=quiet), **options)

    says = "No progress and no hints: only results, warnings and errors."
    quietly = click.option("--quiet", "-q", is_flag=True, help=says)(with_output)
    says = "JSON lines on stdout, on a terminal too."
    return cast("Command", click.option("--json", "as_json", is_flag=True, help=says)(quietly))


_CONNECTION: Mapping[str, Callable[[Any], Any]] = {
    "base_url": click.option(
        "--base-url", metavar="URL", help="The service's address, instead of CRUN_BASE_URL or the official one."
    ),
    "timeout": click.option(
        "--timeout",
        callback=above_zero,
        metavar="S",
        help="Seconds that one request may take (60).",
    ),
    "proxy": click.option(
        "--proxy",
        metavar="URL",
        help="An HTTP proxy for https, instead of HTTPS_PROXY and NO_PROXY; an empty URL uses none.",
    ),
    "ca_file": click.option(
        "--ca-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Certificates (PEM) to trust beside the machine's.",
    ),
    "time_scale": click.option(
        "--time-scale",
        default="1",
        metavar="S",
        callback=read_time_scale,
        help="Let the client's clock run S times faster, to go with a local server at the same scale.",
    ),
}


def connection_options(*names: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command some of the client's options, `--json` and `--quiet`.

    The command gets them as `connection`, a `Connection`, and `output`.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def with_connection(*arguments: Any, **options: Any) -> Any:
            given = {name: options.pop(name) for name in names}
            return command(*arguments, connection=Connection(**given), **options)

        return decorated(cast("Command", with_connection), *(_CONNECTION[name] for name in names), output_options)

    return decorate


def client_options(command: Command) -> Command:
    """Give a command all of the client's options."""
    return connection_options(*_CONNECTION)(command)


def decorated(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Give a command options, listed in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def rate_options(command: Command) -> Command:
    """Give a command `--rate` and `--read-rate`."""
    return _rate_options(command, parse_rate_or_none, parse_rate)


def rate_or_auto_options(command: Command) -> Command:
    """Give a command `--rate` and `--read-rate`, which can be left to be found."""
    return _rate_options(
        command,
        *(parse_rate_auto_or_none, parse_rate_or_auto, "|auto"),
        "; auto finds the limit, and up to one request in a hundred is refused for that",
    )


def _rate_options(
    command: Command, rate: Callable[..., Any], read_rate: Callable[..., Any], or_auto: str = "", of_auto: str = ""
) -> Command:
    return decorated(
        command,
        click.option(
            "--rate",
            callback=rate,
            default="20/10",
            show_default=True,
            metavar=f"N/S{or_auto}",
            help=f"At most N requests in any S seconds; unlimited for no limit{of_auto}.",
        ),
        click.option(
            "--read-rate",
            callback=read_rate,
            metavar=f"N/S{or_auto}",
            help="Count all calls but CreateTask apart: at most N in any S seconds; --rate is then for CreateTask"
            " alone.",
        ),
    )


def font_option(command: Command) -> Command:
    """Give a command `--font`, as `fonts`."""
    return click.option(
        "--font",
        "fonts",
        multiple=True,
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="A font in which letters are looked for first; repeatable. A song's track.toml can name one, too.",
    )(command)


def size_option(command: Command) -> Command:
    """Give a command `--size`."""
    return click.option(
        "--size",
        callback=read_size,
        default="landscape",
        show_default=True,
        metavar="NAME|WxH",
        help="The size of the videos: landscape (1280x720), portrait (1080x1920), square (1080x1080), or such as"
        " 1920x1080; a song's track.toml overrides it.",
    )(command)


def callback_port_option(command: Command) -> Command:
    """Give a command `--callback-port`."""
    return click.option(
        "--callback-port",
        type=click.IntRange(0, 65535),
        default=8765,
        show_default=True,
        metavar="PORT",
        help="Listen for these calls on PORT of 127.0.0.1, where your tunnel or proxy leads.",
    )(command)


@frozen(kw_only=True)
class Downloads:
    """Where the videos go and how they are named; see `SunoVideoClient.convert`."""

    output_dir: Folder | None = None
    file_name: str = DEFAULT_TEMPLATE
    sha256: bool = False

    def repeated(self) -> list[str]:
        """Return the arguments that another command needs to download to the same folder."""
        return [] if self.output_dir is None else ["--output-dir", str(self.output_dir)]


def download_options(command: Command) -> Command:
    """Give a command `--output-dir`, `--file-name`, `--sha256` and `--no-download`.

    The command gets them as `downloads`, a `Downloads`; the folder is not checked yet.
    """

    @wraps(command)
    def with_downloads(
        *arguments: Any, output_dir: Folder, no_download: bool, file_name: str, sha256: bool, **options: Any
    ) -> Any:
        folder = None if no_download else output_dir
        downloads = Downloads(output_dir=folder, file_name=file_name, sha256=sha256)
        return command(*arguments, downloads=downloads, **options)

    return decorated(
        cast("Command", with_downloads),
        output_dir_option(says="The folder for the videos, {suno_id}.mp4 each."),
        click.option(
            "--file-name",
            default=DEFAULT_TEMPLATE,
            callback=read_template,
            show_default=True,
            metavar="TEMPLATE",
            help="Name the videos TEMPLATE.mp4, made of {suno_id}, {video_task_id}, {task_id}, {author}, {brand},"
            " {title} and {extra[COLUMN]}; one of the first two must be in it; {title} costs a request for each"
            " music task.",
        ),
        click.option("--sha256", is_flag=True, help="Report the SHA-256 of each downloaded file, and keep it."),
        click.option("--no-download", is_flag=True, help="Print the URLs of the videos, download nothing."),
    )


def task_timeout_option(command: Command) -> Command:
    """Give a command `--task-timeout`."""
    return click.option(
        "--task-timeout",
        default=f"{DEFAULT_TASK_TIMEOUT:g}",
        callback=above_zero,
        show_default=True,
        metavar="S",
        help="Leave a video that takes longer than S seconds as submitted.",
    )(command)


class _Folder(click.Path):
    """A folder of this machine, or of an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            folder = folder_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        except MissingExtraError as error:
            raise UsageProblem(str(error)) from None
        return super().convert(folder, param, ctx) if isinstance(folder, Path) else folder


def output_dir_option(default: Path | None = DEFAULT_OUTPUT_DIR, *, says: str) -> Callable[[Command], Command]:
    """Return a decorator that gives a command `--output-dir`."""
    return click.option(
        "--output-dir",
        type=_Folder(path_type=Path, file_okay=False),
        default=default,
        show_default=default is not None,
        metavar="DIR",
        help=f"{says} Also the URL of an object store: s3://, gs:// or az://bucket/folder (extra [store]).",
    )


def check_writable(place: Folder) -> None:
    """Check, before anything is bought, that videos can be put into a place; a folder is made if need be.

    Raises:
        UsageProblem: they cannot.

    """
    if isinstance(place, Path):
        writable_folder(place)
        return
    from suno_video_async.download.store import problem_with  # noqa: PLC0415  of an extra

    if problem := problem_with(place):
        raise UsageProblem(f"{problem}; name another place with --output-dir, or see what its settings are")


def writable_folder(folder: Path) -> Path:
    """Return a folder, made if need be, into which files can be written.

    Raises:
        UsageProblem: they cannot.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageProblem(
            f"the folder {shlex.quote(os.fspath(folder))} cannot be written: {error.strerror or error};"
            " name another one with --output-dir"
        ) from error
    return folder
