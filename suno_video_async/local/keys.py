"""The keys that the server accepts, and their limits."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from attrs import evolve, field, fields, frozen

from suno_video_async._util.toml import check_fields, load_tables
from suno_video_async.local.errors import KeysError
from suno_video_async.models import RateLimit

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_SENDABLE: Final = re.compile(r"[!-~]+")


def made_up_key() -> str:
    """Return a new random key in the provider's format."""
    return f"ak_{secrets.token_hex(16)}"


@frozen(kw_only=True)
class ApiKey:
    """A key, and the account behind it.

    Args:
        key: what a client sends; without it, one is made up.
        name: what the statistics and the faults call it: letters, digits, `.`, `_` and `-`, at most 40; without it
            `key-1`, `key-2`, … by its place.
        credits: the initial balance of its account; None for the server's.
        rate: requests, all calls together; None for any number, `"default"` for the server's.
        read_rate: a window of its own for all calls but CreateTask; None for none, `"default"` for the server's.
        max_running: unfinished tasks; None for the server's.
        disabled: everything is answered with 403.
        feature_off: CreateTask and EstimateTask are answered with 505.

    Raises:
        KeysError: a field is invalid; the message names it, and never the key.

    """

    key: str = field(factory=made_up_key, repr=False)
    name: str | None = None
    credits: float | None = None
    rate: RateLimit | Literal["default"] | None = "default"
    read_rate: RateLimit | Literal["default"] | None = "default"
    max_running: int | None = None
    disabled: bool = False
    feature_off: bool = False

    def __attrs_post_init__(self) -> None:
        if not (isinstance(self.key, str) and _SENDABLE.fullmatch(self.key)):  # pyright: ignore[reportUnnecessaryIsInstance]  # TOML has any type
            raise KeysError("key: an API key is empty, contains spaces, or is not ASCII; give one such as ak_…")
        if self.name is not None and not (_is_name(self.name) and self.name != self.key):
            raise KeysError("name: must be 1 to 40 letters, digits, '.', '_' or '-', and not the key itself")
        if self.credits is not None and not _is_amount(self.credits):
            raise KeysError(f"credits: must be a number from 0, such as 100, not {self.credits!r}")
        if self.max_running is not None and not _is_count(self.max_running):
            raise KeysError(f"max_running: must be a whole number from 1, such as 3, not {self.max_running!r}")
        for name in ("disabled", "feature_off"):
            if not isinstance(getattr(self, name), bool):
                raise KeysError(f"{name}: must be true or false, not {getattr(self, name)!r}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def named_keys(keys: Sequence[str | ApiKey]) -> tuple[ApiKey, ...]:
    """Return keys that each have a name.

    Raises:
        KeysError: a key is invalid, or a key or a name occurs twice.

    """
    named = list[ApiKey]()
    for at, given in enumerate(keys, 1):
        key = ApiKey(key=given) if isinstance(given, str) else given
        named.append(key if key.name is not None else evolve(key, name=f"key-{at}"))
    for at, key in enumerate(named, 1):
        for earlier in named[: at - 1]:
            if key.key == earlier.key:
                raise KeysError(f"key {at}: key: the same as that of {earlier.name}; leave one of them out")
            if key.name == earlier.name:
                raise KeysError(f"key {at}: name: {key.name!r} is another key's name already; choose another")
    return tuple(named)


def load_keys(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a TOML file, in its order. Blocks.

    Raises:
        KeysError: the file, or an entry of it, cannot be used.

    """
    keys = load_tables(path, "key", _read_key, KeysError)
    if not keys:
        raise KeysError(f"{path}: holds no keys; begin each with [[key]]")
    try:
        named_keys(keys)  # which reports duplicates
    except KeysError as error:
        raise KeysError(f"{path}: {error}") from None
    return tuple(keys)


def _read_key(table: Mapping[str, Any]) -> ApiKey:
    check_fields(table, [attribute.name for attribute in fields(ApiKey)], KeysError)
    if "key" not in table:
        raise KeysError('key: must be given, such as key = "ak_…"')
    rates: dict[str, Any] = {name: _rate(name, table[name]) for name in ("rate", "read_rate") if name in table}
    return ApiKey(**{**table, **rates})


def _rate(name: str, value: object) -> RateLimit | None:
    if value == "unlimited" and name == "rate":
        return None
    try:
        return RateLimit.parse(value if isinstance(value, str) else "")
    except ValueError:
        such = '"20/10" or "unlimited"' if name == "rate" else '"10/1"'
        raise KeysError(f"{name}: must be text such as {such}, not {value!r}") from None
