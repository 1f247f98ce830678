"""What an answer still says when it is not quite the API's form.

Two readers need it. A question (TaskInfo, balance) costs nothing, so its answer is read leniently: a byte order
mark, an invalid byte or a missing `message` does not hide a task's state. An answer to CreateTask is read
strictly, but an id in *any* answer to it is evidence of a task that may be paid for (contract, "Paying once"):
the submission then waits for what TaskInfo says about that id instead of being sent again or given up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from suno_video_async.models import VideoTaskId, video_task_id

#: Encodings that a `Content-Type` may name; any other is read as UTF-8. All are linear in the body's length.
_CHARSETS = frozenset(
    {
        *("utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "utf-32", "us-ascii", "iso-8859-1", "latin-1"),
        *("windows-1252", "windows-1251", "gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr"),
    }
)
_CHARSET = re.compile(r"charset\s{0,9}=\s{0,9}\"?([\w.:-]{1,40})", re.IGNORECASE)
#: An id under one of the names that this API and its twins use, as a string or a number.
_TASK_ID = re.compile(r"\"task_?id\"\s{0,99}:\s{0,99}(?:(\"(?:[^\"\\]|\\.){1,1600}\")|(\d{1,256}))", re.IGNORECASE)
#: Evidence is looked for in this many characters.
_LOOKED_AT = 65_536
_LENIENT = json.JSONDecoder(strict=False)


def text_of(body: bytes, content_type: str = "") -> str:
    """Return a body as text; what cannot be decoded is replaced, and a byte order mark is dropped."""
    named = _CHARSET.search(content_type)
    charset = named[1].lower() if named else ""
    return body.decode(charset if charset in _CHARSETS else "utf-8", errors="replace").removeprefix("\ufeff")


def lenient_envelope(body: bytes, content_type: str = "") -> Mapping[str, Any]:
    """Return the first JSON object of a body with its `code` as an integer where it is one in another dress."""
    try:
        parsed, _ = _LENIENT.raw_decode(text_of(body, content_type).lstrip())
    except (ValueError, RecursionError):
        return {}
    if not isinstance(parsed, dict):
        return {}
    envelope = cast("dict[str, Any]", parsed)
    code: object = envelope.get("code")
    if isinstance(code, str) and code.isascii() and (digits := code.strip().lstrip("0")).isdigit():
        envelope["code"] = int(digits[:9])
    elif isinstance(code, float) and code.is_integer():
        envelope["code"] = int(code)
    return envelope


def created_id(body: bytes, content_type: str, sent: bytes | None) -> VideoTaskId | None:
    """Return the id of a video task that an answer to CreateTask contains.

    Args:
        body: the answer's.
        content_type: the answer's.
        sent: the request's body: the music task's id, which an answer may repeat, is not evidence.

    """
    own = _music_task_id(sent)
    for text, number in _TASK_ID.findall(text_of(body, content_type)[:_LOOKED_AT]):
        try:
            found = video_task_id(json.loads(text) if text else number)
        except ValueError:
            continue
        if found != own:
            return found
    return None


def _music_task_id(sent: bytes | None) -> object:
    request: object = json.loads(sent or b"{}")
    wanted: object = cast("Mapping[str, Any]", request).get("input")
    return cast("Mapping[str, Any]", wanted).get("task_id") if isinstance(wanted, Mapping) else None
