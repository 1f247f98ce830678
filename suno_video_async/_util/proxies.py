"""Which proxy a URL is fetched through: one that was given, or else what the environment says.

aiohttp would read the environment too, but with every request, and with it the passwords in `~/.netrc`, which it
then sends to any host. So it is read here, once. Only https goes through a proxy: plain http is for this machine.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from attrs import field, frozen

_PORT = re.compile(r"(.+):(\d{1,5})", re.ASCII)


@frozen
class Proxies:
    """The proxy of https URLs, which may contain a password, and the hosts that need none."""

    url: str | None = field(default=None, repr=False)
    exceptions: Sequence[str] = ()

    @classmethod
    def find(cls, given: str | None, environment: Mapping[str, str]) -> Proxies:
        """Return the proxies.

        Args:
            given: the URL of a proxy for all hosts; `""` for none; None looks into the environment.
            environment: `HTTPS_PROXY` and `NO_PROXY`, of which the spellings in small letters are preferred.

        Raises:
            ValueError: the URL is not that of an HTTP proxy.

        """
        if given is not None:
            return cls(_checked("the proxy", given) if given else None)
        found = environment.get("https_proxy") or environment.get("HTTPS_PROXY")
        listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        if not found:
            return cls()
        return cls(_checked("the proxy in HTTPS_PROXY", found), listed.replace(",", " ").split())

    def of(self, url: str) -> str | None:
        """Return the proxy for a URL, or None."""
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        if self.url is None or parts.scheme != "https" or not host or _is_this_machine(host):
            return None
        excepted = any(_is_meant(one.lower(), host, parts.port or 443) for one in self.exceptions)
        return None if excepted else self.url

    @property
    def host(self) -> str | None:
        """The proxy's own host."""
        return None if self.url is None else urlsplit(self.url).hostname


def _checked(what: str, url: str) -> str:
    """Return a URL of a proxy, `http://` in front where it has no scheme; errors do not show its password."""
    url = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme.startswith("socks"):
        raise ValueError(
            f"{what} is a SOCKS proxy: pass a session with a connector for it, such as aiohttp-socks'"
        )
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"{what} must look like http://proxy.example:3128")
    return url


def _is_meant(exception: str, host: str, port: int) -> bool:
    if exception == "*":
        return True
    if (with_port := _PORT.fullmatch(exception)) is not None and with_port[1].count(":") == 0:
        exception, wanted = with_port[1], int(with_port[2])
        if wanted != port:
            return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
    except ValueError:  # one of them is a name
        name = exception.removeprefix("*").removeprefix(".")
        return host == name or host.endswith(f".{name}")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
