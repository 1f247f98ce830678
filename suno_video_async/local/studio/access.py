"""Who may use the studio: the machine's own browser, and for orders only the studio's own page.

Three attackers are kept out:

- A page of another site. Its requests carry its `Origin` and `Sec-Fetch-Site`; without CORS it reads no answer,
  and what changes something needs a header and a content type that it cannot send without being asked first.
- A page whose own name leads to loopback (DNS rebinding). Its requests carry that name as their `Host`.
- Another machine, and a proxy on this one.

Another user of the same machine can use the studio, as any program on it can use `/_local`: this is a server for
development. A key that its owner chose is therefore never given out, only one that this server made up.
"""

from __future__ import annotations

from typing import Final

from suno_video_async.local import control
from suno_video_async.local.exchange import ServerRequest

#: The header that the page's own script sends with what changes something.
MARK: Final = "X-Suno-Studio"


def why_refused(request: ServerRequest) -> str | None:
    """Return why a request may not use the studio, or None if it may."""
    problem = control.why_refused(request)
    if problem is None and request.method == "POST":
        return _why_not_the_page(request)
    return problem


def _why_not_the_page(request: ServerRequest) -> str | None:
    # `control.why_refused` has compared it with the host.
    if request.header("Origin") is None or request.header(MARK) is None:
        return f"only for the studio's own page, which sends Origin and {MARK}"
    if (request.header("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
        return "only for a body of application/json"
    return None
