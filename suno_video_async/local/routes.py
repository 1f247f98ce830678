"""Which call of the API a request means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from suno_video_async.local.exchange import Refusal
from suno_video_async.local.faults import CREATE, INFO

_JOB: Final = "/api/v1/client/job/"
MODELS: Final = _JOB + "Models"

_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    _JOB + CREATE: ("POST", CREATE),
    _JOB + INFO: ("GET", INFO),
    _JOB + "EstimateTask": ("POST", "EstimateTask"),
    MODELS: ("GET", "Models"),
    "/api/v1/client/account/balance": ("GET", "balance"),
}


def call_of(method: str, path: str) -> str:
    """Return the call that a method and a path mean.

    Raises:
        Refusal: 404, there is no such path; 405, it takes another method.

    """
    found = _CALLS.get(MODELS if path.startswith(MODELS + "/") else path)
    if found is None:
        raise Refusal(404, f"Not Found - {method} is not known here", status=404)
    wanted, call = found
    if method != wanted:
        raise Refusal(405, f"Method Not Allowed - {call} takes {wanted}", status=405, allow=wanted)
    return call
