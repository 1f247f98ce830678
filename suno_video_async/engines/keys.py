"""`keys.toml`: which keys a worker may use, where to find each of them, and the ledger that each works for.

The file has no key in it, only the names of environment variables or of files. So it can be shown to anybody, and
a key never reaches a database, a log or the payload of a job: it is read when a client opens.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from attrs import evolve, fields, frozen

from suno_video_async._util.toml import check_fields, load_tables
from suno_video_async.config import check_base_url, names_in
from suno_video_async.errors import ConfigurationError
from suno_video_async.ledger.address import is_name
from suno_video_async.models import DEFAULT_RATE, RateLimit
from suno_video_async.ratelimit.limiter import GivenRate

_HOW = 'name where the key is, as api_key_env = "CRUN_API_KEY_1" or api_key_file = "/run/secrets/crun-1"'


@frozen(kw_only=True)
class KeyEntry:
    """One key of `keys.toml`: where it is, what it may send, and the ledger that it works for.

    Args:
        name: what the logs call it.
        api_key_env: the environment variable that has the key.
        api_key_file: the file that has the key, alone or as `CRUN_API_KEY=…`; a relative one is beside
            `keys.toml`. One of the two is given.
        base_url: the service's address; None for `CRUN_BASE_URL` or the official one.
        rate: as for `SunoVideoClient`; in the file `"20/10"`, `"auto"` or `"unlimited"`.
        read_rate: likewise, without `"unlimited"`.
        max_in_flight: the most unfinished videos, or `"auto"`, which needs `rate = "auto"`.
        ledger: the name of its ledger in the database; without it, `name`.
        max_credits: the most to spend over the life of its ledger, beside the budget of all ledgers; None for no
            limit of its own.

    Raises:
        ConfigurationError: a field is invalid; the message names it.

    """

    name: str
    api_key_env: str | None = None
    api_key_file: Path | None = None
    base_url: str | None = None
    rate: GivenRate = DEFAULT_RATE
    read_rate: GivenRate = None
    max_in_flight: int | Literal["auto"] = 100
    ledger: str = ""
    max_credits: float | None = None

    def __attrs_post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigurationError("name: must not be empty; it is what the logs call the key")
        if self.api_key_env is None and self.api_key_file is None:
            raise ConfigurationError(f"api_key_env or api_key_file must be given: {_HOW}")
        if self.api_key_env is not None and self.api_key_file is not None:
            raise ConfigurationError("api_key_env and api_key_file exclude each other: leave one of them out")
        if self.api_key_env is not None and not _is_variable(self.api_key_env):
            # It is not shown: it may well be the key itself.
            raise ConfigurationError("api_key_env: must be the name of an environment variable, not a key")
        if self.max_in_flight == "auto" and self.rate != "auto":
            raise ConfigurationError('max_in_flight: "auto" needs rate = "auto"; give a number, such as 100')
        if self.max_credits is not None and not _is_amount(self.max_credits):
            raise ConfigurationError(
                f"max_credits: must be a number of credits, such as 500, not {self.max_credits!r}"
            )
        if self.base_url is not None:
            try:
                check_base_url(self.base_url)
            except ConfigurationError as error:
                raise ConfigurationError(f"base_url: {error}") from None
        if not self.ledger:
            object.__setattr__(self, "ledger", self.name)
        if not is_name(self.ledger):
            what = "ledger" if self.ledger != self.name else "name: is the ledger's name too, which"
            raise ConfigurationError(
                f"{what}: must be 1 to 40 small letters, digits, '-' or '_', beginning with a letter or a digit,"
                f' not {self.ledger!r}; give another one with ledger = "…"'
            )

    def api_key(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the key. Blocks.

        Raises:
            ConfigurationError: it is not where the entry says.

        """
        if self.api_key_env is not None:
            if key := environment.get(self.api_key_env, "").strip():
                return key
            raise ConfigurationError(f"key {self.name}: the environment variable {self.api_key_env} is not set")
        path = self.api_key_file or Path()
        try:
            text = path.read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigurationError(f"key {self.name}: its file {path} cannot be read: {reason}") from None
        key = names_in(text).get("CRUN_API_KEY", "").strip() if "=" in text else text
        if not key or len(key.split()) != 1:
            raise ConfigurationError(
                f"key {self.name}: its file {path} must hold the key alone, or a line CRUN_API_KEY=…"
            )
        return key


def load_keys(path: str | PathLike[str]) -> tuple[KeyEntry, ...]:
    """Return the entries of a `keys.toml`, in its order; no key is read yet. Blocks.

    Raises:
        ConfigurationError: the file, or an entry of it, cannot be used; the message names the entry and the field.

    """
    path = Path(path)
    entries = [_beside(path, entry) for entry in load_tables(path, "key", _read, ConfigurationError)]
    if not entries:
        raise ConfigurationError(f"{path}: holds no keys; begin each with [[key]]")
    for name in ("name", "ledger", "api_key_env", "api_key_file"):
        counts = Counter(value for entry in entries if (value := getattr(entry, name)) is not None)
        for value, number in counts.items():
            if number > 1:
                raise ConfigurationError(
                    f"{path}: {name}: {str(value)!r} is in {number} entries; a key works for one ledger, and a"
                    " ledger has one key: leave all but one of them out"
                )
    return tuple(entries)


def _beside(path: Path, entry: KeyEntry) -> KeyEntry:
    file = entry.api_key_file
    return entry if file is None else evolve(entry, api_key_file=path.parent / file)


def _read(table: Mapping[str, Any]) -> KeyEntry:
    for name in ("key", "api_key"):
        if name in table:
            raise ConfigurationError(f"{name}: a key does not belong in this file; {_HOW}")
    check_fields(table, [attribute.name for attribute in fields(KeyEntry)], ConfigurationError)
    if "name" not in table:
        raise ConfigurationError('name: must be given, such as name = "label-1"')
    for name in ("name", "api_key_env", "api_key_file", "base_url", "ledger"):
        if name in table and not (isinstance(table[name], str) and table[name].strip()):
            raise ConfigurationError(f"{name}: must be text in quotes")
    given = dict(table)
    if "api_key_file" in table:
        given["api_key_file"] = Path(table["api_key_file"])
    for name in ("rate", "read_rate"):
        if name in table:
            given[name] = _rate(name, table[name])
    if "max_in_flight" in table:
        given["max_in_flight"] = _in_flight(table["max_in_flight"])
    return KeyEntry(**given)


def _is_variable(name: str) -> bool:
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit() and name[:3] != "ak_"


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _rate(name: str, value: object) -> GivenRate:
    if value == "auto":
        return "auto"
    if value == "unlimited" and name == "rate":
        return None
    try:
        return RateLimit.parse(value if isinstance(value, str) else "")
    except ValueError:
        such = '"20/10", "auto" or "unlimited"' if name == "rate" else '"10/1" or "auto"'
        raise ConfigurationError(f"{name}: must be text such as {such}, not {value!r}") from None


def _in_flight(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ConfigurationError(
        f'max_in_flight: must be a whole number from 1, such as 100, or "auto", not {value!r}'
    )
