"""Which addresses a server may send us to (none of this machine or its network); URLs without their secrets."""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit, urlunsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: What Python calls global though it leads into a network of one's own: NAT64 of a site, sites, and `::10.0.0.1`.
_OF_SITES = [ipaddress.ip_network(one) for one in ("64:ff9b:1::/48", "fec0::/10", "::/96")]


def is_private(host: str | None) -> bool:
    """Whether a host is an address that is not public, or `localhost`; other names are not looked up."""
    if host is None:
        return False
    if host.rstrip(".").lower() == "localhost" or host.rstrip(".").lower().endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return not _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the public internet, also where it only wraps another."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not address.is_multicast and not any(address in one for one in _OF_SITES)


def is_uri(text: str) -> bool:
    """Whether a text is a URI with an authority, which no `Path` is: that keeps no two slashes after a colon."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def without_secrets(url: str) -> str:
    """Return a URL without its query, fragment and user: these may be signed or secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return url.partition("?")[0].partition("#")[0].rpartition("@")[2]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
