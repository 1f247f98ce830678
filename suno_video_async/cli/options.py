"""Options that several commands share, and the client that follows from them."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

import click
from attrs import field, frozen

from suno_video_async.cli.exits import UsageProblem
from suno_video_async.cli.output import Output, keep_stored_secret
from suno_video_async.clock import SystemClock
from suno_video_async.download.filenames import DEFAULT_TEMPLATE, NameTemplate
from suno_video_async.download.places import Folder, folder_of
from suno_video_async.errors import MissingExtraError
from suno_video_async.hooks import Hooks
from suno_video_async.ledger.address import LedgerAddress, as_ledger, is_address, ledger_at
from suno_video_async.models import DEFAULT_TASK_TIMEOUT, RateLimit, RetryPolicy, Timeout
from suno_video_async.ratelimit.limiter import DEFAULT_RATE, GivenRate, RateLimiter

if TYPE_CHECKING:
    from suno_video_async.cli.probe import Route
    from suno_video_async.client import SunoVideoClient
    from suno_video_async.ledger.model import Ledger

Command = TypeVar("Command", bound=Callable[..., Any])

#: Where videos go unless the user says otherwise.
DEFAULT_OUTPUT_DIR = Path("videos")
#: The catalog's name that means stdin.
STDIN = Path("-")


def _rate_or(ctx: click.Context, param: click.Parameter, value: str | None, *words: str) -> RateLimit | str | None:
    """Read `20/10`, or one of the words that are allowed besides."""
    if value is None or value in words:
        return value
    try:
        return RateLimit.parse(value)
    except ValueError:
        besides = "".join(f", or {word}" for word in words)
        problem = f"a rate is REQUESTS/SECONDS, such as 20/10{besides}, not {value!r}"
        raise click.BadParameter(problem, ctx, param) from None


def parse_rate(ctx: click.Context, param: click.Parameter, value: str | None) -> object:
    """Read `20/10`, as a click callback."""
    return _rate_or(ctx, param, value)


def parse_rate_or_none(ctx: click.Context, param: click.Parameter, value: str) -> object:
    """Read `20/10` or `unlimited`, as a click callback."""
    return _without_limit(_rate_or(ctx, param, value, "unlimited"))


def parse_rate_auto_or_none(ctx: click.Context, param: click.Parameter, value: str) -> object:
    """Read `20/10`, `auto` or `unlimited`, as a click callback."""
    return _without_limit(_rate_or(ctx, param, value, "auto", "unlimited"))


def parse_rate_or_auto(ctx: click.Context, param: click.Parameter, value: str | None) -> object:
    """Read `20/10` or `auto`, as a click callback."""
    return _rate_or(ctx, param, value, "auto")


def _without_limit(rate: RateLimit | str | None) -> RateLimit | str | None:
    return None if rate == "unlimited" else rate


def public_url(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Read a URL for callbacks, as a click callback."""
    if value is None:
        return None
    from suno_video_async.callbacks import checked_public_url  # noqa: PLC0415  few commands are given one

    try:
        return checked_public_url(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def above_zero(ctx: click.Context, param: click.Parameter, value: str | float | None) -> float | None:
    """Read a number above 0, as a click callback."""
    if value is None:
        return None
    number = _number(value)
    if not (number > 0 and math.isfinite(number)):
        raise click.BadParameter(f"expected a number above 0, not {str(value)!r}", ctx, param)
    return number


def not_negative(ctx: click.Context, param: click.Parameter, value: str | float | None) -> float | None:
    """Read a number that is 0 or more, as a click callback."""
    if value is None:
        return None
    number = _number(value)
    if not (number >= 0 and math.isfinite(number)):
        raise click.BadParameter(f"expected 0 or a number above it, not {str(value)!r}", ctx, param)
    return number


def _number(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def read_time_scale(ctx: click.Context, param: click.Parameter, value: str | float) -> float:
    """Read a scale that a clock can have, as a click callback."""
    number = above_zero(ctx, param, value) or 1.0
    try:
        SystemClock(number)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    return number


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

        return _decorated(cast("Command", with_connection), *(_CONNECTION[name] for name in names), output_options)

    return decorate


def client_options(command: Command) -> Command:
    """Give a command all of the client's options."""
    return connection_options(*_CONNECTION)(command)


def _decorated(command: Command, *options: Callable[[Command], Command]) -> Command:
    """Give a command options, listed in this order."""
    for option in reversed(options):
        command = option(command)
    return command


#: The place of a ledger: a file or an address.
LedgerChoice: TypeAlias = "Path | LedgerAddress"


class LedgerPath(click.Path):
    """Reads the place of a ledger: a path, or an address."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the place."""
        return LedgerAddress.parse(value) if is_address(value) else super().convert(value, param, ctx)


def there_is(ledger: LedgerChoice) -> bool:
    """Whether there is a ledger at a place. Blocks."""
    if isinstance(ledger, Path):
        return ledger.exists()
    with contextlib.closing(as_ledger(ledger).reader()) as reader:
        return reader.open_to_read()


@frozen(kw_only=True)
class Trust:
    """In spite of what a ledger is written; see `SqliteLedger`."""

    accept: bool = False
    same_account: bool = False

    def ledger(self, place: LedgerChoice) -> Ledger:
        """Return a ledger that is not open yet."""
        return ledger_at(place, accept=self.accept, same_account=self.same_account)


def trust_options(command: Command) -> Command:
    """Give a command that buys the switches that take a ledger in spite of a doubt, as `trust`."""

    @wraps(command)
    def with_trust(*arguments: Any, accept_ledger: bool, same_account: bool, **options: Any) -> Any:
        return command(*arguments, trust=Trust(accept=accept_ledger, same_account=same_account), **options)

    return _decorated(
        cast("Command", with_trust),
        accept_ledger_option,
        click.option(
            "--same-account",
            is_flag=True,
            help="Go on with the ledger of an earlier key of this account, if one of its tasks is found with this"
            " key.",
        ),
    )


def accept_ledger_option(command: Command) -> Command:
    """Give a command `--accept-ledger`."""
    says = "Take a ledger that was refused as it is, once you have checked what the refusal says."
    return click.option("--accept-ledger", is_flag=True, help=says)(command)


def ledger_options(command: Command) -> Command:
    """Give a command `--ledger` and `--no-ledger`."""
    return _decorated(
        command,
        click.option(
            "--ledger",
            type=LedgerPath(dir_okay=False),
            metavar="FILE|URL",
            help="What remembers what was bought: a file, or postgresql://…?ledger=NAME; without it, a file beside"
            " the catalog: catalog.ledger.db for catalog.csv.",
        ),
        click.option("--no-ledger", is_flag=True, help="Keep no ledger: every run buys everything again."),
    )


def other_ledgers_option(command: Command) -> Command:
    """Give a command `--ignore-other-ledgers`."""
    says = "Buy tracks though another ledger in the catalog's folder holds them as bought or unknown."
    return click.option("--ignore-other-ledgers", is_flag=True, help=says)(command)


def ledger_of(catalog: Path, ledger: LedgerChoice | None, *, no_ledger: bool) -> LedgerChoice | None:
    """Return the ledger's place, or None where none is wanted.

    Raises:
        UsageProblem: both are asked for, or there is no place for a ledger beside the catalog.

    """
    if ledger is not None and no_ledger:
        raise UsageProblem("--ledger and --no-ledger exclude each other")
    if ledger is not None or no_ledger:
        return ledger
    if is_stream(catalog):
        raise UsageProblem(
            f"{catalog} is read from a pipe, and there is no place for a ledger beside it: name one with --ledger"
            " FILE to pay only once however often you run this, or say --no-ledger"
        )
    from suno_video_async.batch.ledgers import ledger_beside  # noqa: PLC0415  likewise

    return ledger_beside(catalog)


def is_stream(catalog: Path) -> bool:
    """Whether a catalog is not a file of its own: stdin, a pipe, a device."""
    from suno_video_async.batch import ledgers  # noqa: PLC0415  likewise

    return catalog == STDIN or ledgers.is_stream(catalog)


def catalog_source(catalog: Path) -> Path:
    """Return where a catalog is read from; `-` is stdin."""
    return Path("/dev/stdin") if catalog == STDIN else catalog


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
    return _decorated(
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


def parse_in_flight(ctx: click.Context, param: click.Parameter, value: str) -> int | Literal["auto"]:
    """Read a number of videos, or `auto`, as a click callback."""
    return "auto" if value == "auto" else int(click.IntRange(min=1)(value, param, ctx))


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


def read_size(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, int]:
    """Read `portrait` or `1080x1920`, as a click callback."""
    from suno_video_async.lyricvideo.sizes import SIZES_IN_WORDS, size_of  # noqa: PLC0415  few commands need it

    pair = size_of(value)
    if pair is None:
        raise click.BadParameter(f"expected {SIZES_IN_WORDS}, not {value!r}", ctx, param)
    return pair


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

    return _decorated(
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


def read_template(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Read a template of file names, as a click callback."""
    try:
        return NameTemplate(value).text
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


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
