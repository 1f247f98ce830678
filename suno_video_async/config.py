"""Finds the key and the base URL: in the arguments, the environment or the provider's key file."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import ssl
import warnings
from collections.abc import Mapping, Sequence
from io import StringIO
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from attrs import field, frozen
from dotenv import dotenv_values

from suno_video_async._util.netaddr import is_private
from suno_video_async._util.proxies import Proxies
from suno_video_async.errors import ConfigurationError, MissingKeyError

DEFAULT_BASE_URL = "https://api.crun.ai"
#: Characters; a shorter key is a test server's, and may well occur in ordinary text.
SHORTEST_SECRET = 12
_KEY_SHAPE = re.compile(r"ak_[\x21-\x7e]{32}")
#: The start of a key inside other text; no host name or path of ours is like that.
_KEY_ANYWHERE = re.compile(r"(?<![0-9A-Za-z])ak_[0-9A-Za-z]{32}", re.IGNORECASE)


@frozen
class Settings:
    """A checked base URL and a usable key; the key stays out of the repr."""

    base_url: str
    api_key: str = field(repr=False)
    is_given: bool = True
    """Whether the key was given as an argument, not found in the environment or the key file."""
    key_file: Path | None = None
    """The key file; None is the provider's own."""

    @property
    def account(self) -> tuple[str, str]:
        """The provider, and a fingerprint that distinguishes keys without revealing them.

        On this machine the port is ignored: a local server may listen on a different one each time.
        """
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        provider = host if is_loopback(host) else f"{parts.scheme}://{parts.netloc}{parts.path}"
        return provider, hashlib.blake2b(self.api_key.encode(), digest_size=8, person=b"suno-video").hexdigest()

    @property
    def is_local(self) -> bool:
        """Whether the API is on this machine, or in the network around it."""
        return is_private(urlsplit(self.base_url).hostname)

    @classmethod
    def find(
        cls,
        api_key: str | None = None,
        base_url: str | None = None,
        *,
        environment: Mapping[str, str] = os.environ,
        key_file: Path | None = None,
    ) -> Settings:
        """Return the settings: an argument overrides the environment, which overrides the key file.

        Args:
            api_key: the key, or None to look for `CRUN_API_KEY`.
            base_url: the API's origin, or None to look for `CRUN_BASE_URL`.
            environment: the environment variables.
            key_file: lines of `NAME=value`; None is `~/.crun/.env`, where the provider's own tool keeps the key.

        Raises:
            MissingKeyError: there is no key.
            ConfigurationError: one of the two cannot be used.

        """
        found = cls._find(api_key, base_url, environment, key_file)
        if isinstance(found, ConfigurationError):
            # Raised out here and without these: a traceback that shows local variables would show the key.
            del api_key, base_url, environment
            raise found.with_traceback(None)
        return found

    @classmethod
    def _find(
        cls, api_key: str | None, base_url: str | None, environment: Mapping[str, str], key_file: Path | None
    ) -> Settings | ConfigurationError:
        try:
            return cls._found(api_key, base_url, environment, key_file)
        except ConfigurationError as error:
            return error

    @classmethod
    def _found(
        cls, api_key: str | None, base_url: str | None, environment: Mapping[str, str], key_file: Path | None
    ) -> Settings:
        key = api_key or environment.get("CRUN_API_KEY")
        url = base_url or environment.get("CRUN_BASE_URL")
        if not key or not url:
            # Read only if needed: it is a small blocking read, perhaps on an event loop.
            file = read_key_file(key_file or default_key_file())
            key, url = key or file.get("CRUN_API_KEY"), url or file.get("CRUN_BASE_URL", DEFAULT_BASE_URL)
        if not key or not key.strip():
            raise MissingKeyError
        checked_url = check_base_url(url.strip(), key.strip())
        of_a_test = is_loopback(urlsplit(checked_url).hostname or "") and not is_secret(key.strip())
        settings = cls(checked_url, check_key(key.strip(), of_a_test=of_a_test), bool(api_key), key_file)
        if not of_a_test and not is_secret(settings.api_key):
            raise ConfigurationError(
                f"the API key has only {len(settings.api_key)} characters: copy it whole (one this short is for a"
                " test server on this machine)"
            )
        return settings

    def key_file_problems(self) -> Sequence[ConfigurationError]:
        """Return problems with the key file that a user should know of, without showing keys. Blocks."""
        if self.is_given:
            return ()
        try:
            path = self.key_file or default_key_file()
            kept = read_key_file(path).get("CRUN_API_KEY", "").strip()
        except ConfigurationError:
            return ()  # reported earlier, if it was needed
        problems = list[ConfigurationError]()
        if kept and _is_open_to_others(path):
            problem = f"the key file {path} can be read or changed by others"
            problems.append(ConfigurationError(problem, fix=f"chmod 600 {path}"))
        if kept and kept != self.api_key:
            problem = f"CRUN_API_KEY is not the key in {path}"
            fix = "the one in the environment is used; unset it to use the other"
            problems.append(ConfigurationError(problem, fix=fix))
        return problems


def default_key_file() -> Path:
    """Return where the provider's own tool keeps the key.

    Raises:
        ConfigurationError: the user's home directory is unknown.

    """
    try:
        return Path.home() / ".crun" / ".env"
    except RuntimeError as error:
        raise ConfigurationError(f"the key file cannot be read: {error}") from None


def read_key_file(path: Path) -> Mapping[str, str]:
    """Return the names in a key file that have a value; empty if the file does not exist.

    Raises:
        ConfigurationError: it cannot be read.

    """
    try:
        return _with_values(dotenv_values(path, interpolate=False))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the key file cannot be read: {type(error).__name__}") from None


def names_in(text: str) -> Mapping[str, str]:
    """Return the names in the text of a key file that have a value."""
    return _with_values(dotenv_values(stream=StringIO(text), interpolate=False))


def _with_values(found: Mapping[str, str | None]) -> Mapping[str, str]:
    return {name: value for name, value in found.items() if value}


def _is_open_to_others(path: Path) -> bool:
    """Whether other users of this machine may read or change a file, as far as the system reveals it."""
    try:
        return os.name == "posix" and bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def is_secret(key: str) -> bool:
    """Whether a key is long enough to be looked for in texts; a shorter one occurs in them by chance."""
    return len(key) >= SHORTEST_SECRET


def has_usual_shape(key: str) -> bool:
    """Whether a key looks like the provider's; the server decides about others."""
    return _KEY_SHAPE.fullmatch(key) is not None


def check_key(key: str, *, of_a_test: bool = False) -> str:
    """Return a key that a header can carry; an unusual shape causes a warning.

    Args:
        key: the key.
        of_a_test: it is a short one for a server on this machine, which may have any shape.

    Raises:
        ConfigurationError: no header can carry it.

    """
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the API key contains characters that no HTTP header can carry: copy it again")
    if not of_a_test and not has_usual_shape(key):
        warnings.warn(
            f"the API key is not of the usual shape ('ak_' and 32 characters; this one has {len(key)} in all):"
            " the server will decide",
            UserWarning,
            stacklevel=4,
        )
    return key


def check_base_url(url: str, key: str = "") -> str:
    """Return a base URL that a key may be sent to: https, or plain http to this machine itself.

    Args:
        url: the URL.
        key: the key that will be sent, which must not be in the URL: URLs are shown and logged.

    Raises:
        ConfigurationError: it is any other URL.

    """
    if _KEY_ANYWHERE.search(url) or (is_secret(key) and key.lower() in url.lower()):
        raise ConfigurationError(
            "the base URL contains an API key: set CRUN_API_KEY to the key, and the base URL to an address such as"
            f" {DEFAULT_BASE_URL}"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"the base URL cannot be read: {error}") from None
    if parts.scheme not in {"http", "https"} or not host or re.search(r"[\s\x00-\x1f]", url):
        raise ConfigurationError(f"the base URL must look like {DEFAULT_BASE_URL}, not {_without_userinfo(url)!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError("the base URL must have no user, query or fragment: the key goes into a header")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"plain http would show the API key to the network: use https://{host} (http is for this machine only)"
        )
    return url.rstrip("/")


def _without_userinfo(url: str) -> str:
    return url.rpartition("@")[2]


def find_proxies(given: str | None, environment: Mapping[str, str] = os.environ) -> Proxies:
    """Return the proxies: the one that is given, or else those of the environment.

    Raises:
        ConfigurationError: it is not the URL of an HTTP proxy.

    """
    try:
        return Proxies.find(given, environment)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def read_roots(ca_file: str | PathLike[str]) -> ssl.SSLContext:
    """Return what TLS trusts: the machine's certificates and those of a PEM file. Blocks.

    Raises:
        ConfigurationError: the file cannot be read, or has no certificate.

    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=os.fspath(ca_file))
    except ssl.SSLError:
        raise ConfigurationError(f"{ca_file} has no certificates in PEM form") from None
    except OSError as error:
        raise ConfigurationError(f"the certificates in {ca_file} cannot be read: {error.strerror}") from None
    return context


def is_loopback(host: str) -> bool:
    """Whether a host name or address always means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
