"""Access to the calls under `/_local`: only for programs on this machine, not for pages or proxies."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from suno_video_async.local.exchange import ServerRequest

PREFIX: Final = "/_local/"

#: The header of every callback that a local server sends: a client must not use these calls by naming them as its
#: callback URL, of this server or of another one on the machine.
CALLBACK: Final = "X-Suno-Video-Callback"
#: Headers that a proxy adds: the peer is this machine, but the client behind it can be anyone.
_RELAYED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
#: Why a request with one of these headers is refused.
_REFUSED: Final = {CALLBACK: "not by a callback"} | {
    name: f"not through a proxy, which the header {name} shows" for name in _RELAYED
}
_PORT: Final = re.compile(r":\d{1,5}$", re.ASCII)


def why_refused(request: ServerRequest) -> str | None:
    """Return why a request may not use these calls, or None if it may.

    A page in a browser of this machine is not this machine: its requests carry the page's `Origin`, and with a
    name that leads to loopback on purpose (DNS rebinding) they carry that name as `Host`.
    """
    if not is_loopback(request.remote):
        return "only for the machine that the server runs on"
    sign = next((name for name in _REFUSED if request.header(name) is not None), None)
    if sign is not None:
        return _REFUSED[sign]
    host = request.header("Host")
    if host is not None and not _names_loopback(_PORT.sub("", host)):
        return "only under the name localhost or a loopback address"
    if request.header("Sec-Fetch-Site") not in (None, "none", "same-origin"):
        return "not for pages of other sites"
    origin = request.header("Origin")
    if origin is not None and origin.partition("://")[2] != host:  # not parsed: anything may be in it
        return "not for pages of other sites"
    return None


def is_loopback(address: str | None) -> bool:
    """Whether an IP address, an IPv4 one inside IPv6 too, is this machine's own."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def _names_loopback(host: str) -> bool:
    return host.lower() == "localhost" or is_loopback(host.removeprefix("[").removesuffix("]"))
