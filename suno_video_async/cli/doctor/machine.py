"""The checks of `suno-video doctor` on this machine: they send nothing and change nothing."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from pathlib import Path
from typing import Literal, TypeAlias

from attrs import frozen

from suno_video_async._util.filesystem import network_file_system
from suno_video_async.cli import errors
from suno_video_async.cli.ledger_options import LedgerChoice
from suno_video_async.config import Settings, default_key_file, has_usual_shape, is_secret
from suno_video_async.download.places import Folder
from suno_video_async.errors import ConfigurationError, LedgerError, MissingExtraError, MissingKeyError
from suno_video_async.ledger.address import as_ledger
from suno_video_async.ledger.states import State

#: Free bytes below which a catalog's videos may not fit, and below which not even one may.
LITTLE, TOO_LITTLE = 2e9, 1e8
#: The range of Python versions that the tests run on.
_TESTED = ((3, 11), (3, 14))
_PROJECT = "suno-video-async"
_REQUIREMENT = re.compile(r"([\w.-]+)[^;]*(?:;\s*extra\s*==\s*['\"](\w+)['\"])?\s*$")


Status: TypeAlias = "Literal['ok', 'warn', 'fail', 'skip']"


@frozen
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        status: the result; `skip` if it was not checked.
        text: what was found, in one line.
        fix: what to do if something is wrong.

    """

    name: str
    status: Status
    text: str
    fix: str | None = None


def ok(name: str, text: str) -> Check:
    """Return a check that passed."""
    return Check(name, "ok", text)


def warn(name: str, text: str, fix: str | None) -> Check:
    """Return a check that found a problem which a run may survive."""
    return Check(name, "warn", text, fix)


def fail(name: str, text: str, fix: str | None) -> Check:
    """Return a check that found a problem which no run survives."""
    return Check(name, "fail", text, fix)


def skip(name: str, text: str) -> Check:
    """Return a check that was not made, and why."""
    return Check(name, "skip", text)


def check_python() -> Iterator[Check]:
    """Check the interpreter and the packages that everything needs."""
    here = sys.version_info[:2]
    needed = ", ".join(f"{name} {found or 'missing'}" for name, found in _packages(None).items())
    tested = " to ".join(".".join(map(str, pair)) for pair in _TESTED)
    text = f"{platform.python_version()} on {platform.system()}; {_PROJECT} {_version(_PROJECT) or '?'}; {needed}"
    if not needed:
        yield warn("python", f"{text}not installed as a package", _install("cli"))
    elif "missing" in needed:
        yield fail("python", text, _install("cli"))
    elif not _TESTED[0] <= here <= _TESTED[1]:
        yield warn("python", text, f"it is tested with {tested}")
    else:
        yield ok("python", text)


def check_extras() -> Iterator[Check]:
    """Check which extras are installed, and whether the renderer's libraries work."""
    for extra in _extras():
        found = _packages(extra)
        there = {name: number for name, number in found.items() if number}
        if not there:
            yield ok(f"extra {extra}", f"not installed; to install it: {_install(extra)}")
        elif len(there) < len(found):
            missing = ", ".join(sorted(found.keys() - there.keys()))
            text = f"only partly installed; missing: {missing}"
            yield warn(f"extra {extra}", text, _install(extra))
        else:
            text = ", ".join(f"{name} {number}" for name, number in there.items())
            yield ok(f"extra {extra}", text)
            if extra == "local":
                yield _check_ffmpeg()


def _check_ffmpeg() -> Check:
    name, fix = "ffmpeg", f"install it again: {_install('local')}"
    try:
        import av  # noqa: PLC0415  of an extra, and slow to import
        from av.codec import Codec  # noqa: PLC0415  likewise

        for encoder in ("libx264", "aac"):
            Codec(encoder, "w")
    except (ImportError, ValueError) as error:
        return fail(name, f"videos cannot be encoded: {error}", fix)
    libraries = {"libavcodec", "libavformat"} & av.library_versions.keys()
    versions = ", ".join(f"{one} {'.'.join(map(str, av.library_versions[one]))}" for one in sorted(libraries))
    return ok(name, f"{versions}; H.264 and AAC can be encoded")


def _extras() -> Sequence[str]:
    """Return the extras that a user may want, in their order, without the one of this command."""
    try:
        offered = metadata(_PROJECT).get_all("Provides-Extra") or []
    except PackageNotFoundError:
        return ()
    return [name for name in offered if name not in {"all", "cli", "test"}]


def _packages(extra: str | None) -> Mapping[str, str | None]:
    """Return the packages of an extra (None: the core) by name, with their installed versions."""
    try:
        needed = requires(_PROJECT) or []
    except PackageNotFoundError:
        return {}
    parsed = [match for line in needed if (match := _REQUIREMENT.match(line))]
    return {match[1]: _version(match[1]) for match in parsed if match[2] == extra and match[1] != _PROJECT}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _install(extra: str) -> str:
    return f"pip install '{_PROJECT}[{extra}]'"


def check_key(base_url: str | None) -> tuple[list[Check], Settings | None]:
    """Check the key; only its length is ever shown.

    Returns:
        The checks, and the settings if they can be used.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # reported below
            settings = Settings.find(base_url=base_url)
    except ConfigurationError as error:
        fix = "suno-video login" if isinstance(error, MissingKeyError) else "see suno-video login --help"
        return [fail("key", errors.brief(error), fix)], None
    where = "CRUN_API_KEY" if os.environ.get("CRUN_API_KEY") else default_key_file()
    checks = list[Check]()
    if has_usual_shape(settings.api_key):
        checks.append(ok("key", f"found in {where}, of the usual shape"))
    elif not is_secret(settings.api_key):  # of a server on this machine: elsewhere it was refused
        checks.append(ok("key", f"found in {where}, a short one for a server on this machine"))
    else:
        text = f"found in {where}, {len(settings.api_key)} characters long, which is not the usual shape"
        checks.append(warn("key", text, "make sure that you copied all of it"))
    for problem in settings.key_file_problems():
        checks.append(warn("key file", problem.problem, problem.fix))
    return checks, settings


def check_folder(name: str, folder: Path, *, for_ledger: bool) -> Check:
    """Check whether a folder can be written and has room; a missing one is not created."""
    there = next((one for one in (folder, *folder.resolve().parents) if one.is_dir()), Path("/"))
    shown, other = str(folder), f"choose another folder with {'--ledger' if for_ledger else '--output-dir'}"
    if folder.exists() and not folder.is_dir():
        return fail(name, f"{shown} is not a folder", other)
    if problem := _unwritable(there):
        return fail(name, f"{there} cannot be written: {problem}", other)
    free = shutil.disk_usage(there).free
    room = f"{free / 1e9:.1f} GB free"
    if (kind := network_file_system(there)) is not None:
        text = f"{shown} is on a network file system ({kind}); {room}"
        if for_ledger:
            return fail(name, f"{text}; a ledger cannot be there", other)
        return warn(name, f"{text}; downloads may be slow", other)
    if free < LITTLE:
        found = fail if free < TOO_LITTLE else warn
        return found(name, f"{shown}: only {room}", f"free some space, or {other}")
    made = "" if folder.exists() else " (does not exist yet, but can be created)"
    return ok(name, f"{shown} can be written{made}, {room}")


def check_output(place: Folder, *, offline: bool) -> Check:
    """Check whether videos can be put into a folder or a store; nothing is written into a store."""
    if isinstance(place, Path):
        return check_folder("output", place, for_ledger=False)
    if offline:
        return skip("output", f"{place} is not asked: --offline")
    from suno_video_async.download.store import problem_with  # noqa: PLC0415  of an extra

    if problem := problem_with(place):
        return fail("output", problem, "choose another place with --output-dir, or see what its settings are")
    return ok("output", f"{place} answers")


def _unwritable(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def check_ledger(place: LedgerChoice, settings: Settings | None) -> Iterator[Check]:
    """Check a ledger, even while another process writes it: its integrity, account and unsettled rows."""
    name = "ledger"
    ledger = as_ledger(place).reader()
    try:
        if not ledger.open_to_read(settings.account if settings else None):
            fix = "name the file that convert wrote, catalog.ledger.db"
            yield fail(name, f"{place}: there is no ledger", fix)
            return
        problems, states = ledger.problems(), ledger.totals().states
        schema, holder = ledger.schema_version(), ledger.writer()
    except LedgerError as error:
        yield fail(name, error.problem, errors.fix(error) or "restore it from a copy")
        return
    except MissingExtraError as error:
        yield fail(name, str(error), "install the extra")
        return
    finally:
        ledger.close()
    if problems:
        yield fail(name, f"{place} is damaged: {problems[0]}", "restore it from a copy")
        return
    whose = "of this key's account" if settings else "no key to compare its account with"
    newest = ledger.newest_schema
    old = "" if schema == newest else f" (the next convert upgrades it to {newest})"
    yield ok(name, f"{place} is intact, {whose}, schema {schema}{old}")
    yield _check_rows(place, states)
    yield ok("ledger lock", f"being written by {holder}" if holder else "not being written")


def _check_rows(place: LedgerChoice, states: Mapping[State, int]) -> Check:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "no tracks yet"
    unsettled: Sequence[State] = (State.UNKNOWN, State.SUBMITTING)
    if any(states.get(state) for state in unsettled):
        fix = shlex.join(["suno-video", "unknown", "list", "--ledger", str(place)])
        return warn("ledger rows", f"{counts}; the unknown ones may have been paid for", fix)
    return ok("ledger rows", counts)
