"""The ledger from the command line: what is bought is bought once, however often and however badly a run ends."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from suno_video_async import SqliteLedger
from suno_video_async.download.downloader import WAITS
from suno_video_async.ledger.states import State
from suno_video_async.local import Fault
from suno_video_async.testing import VideoServer
from tests.cli.conftest import ROOT, Home, Ran
from tests.cli.serving import served
from tests.cli.terminals import on_terminal
from tests.cli.test_interrupts import finish, read_until
from tests.support.held import FOREVER, HeldClock
from tests.support.keys import OTHER_KEY
from tests.support.processes import PATIENCE

LEDGER = "catalog.ledger.db"


def reach(server: VideoServer) -> tuple[object, ...]:
    return ("--base-url", server.url, "--time-scale", 20)


def convert(home: Home, server: VideoServer, *arguments: object) -> Ran:
    return home.run("convert", *arguments, *reach(server))


def states(path: Path) -> dict[State, int]:
    """Return how many rows of a ledger are in which state, beside its writer."""
    ledger = SqliteLedger(path)
    try:
        return dict(ledger.totals().states) if ledger.open_to_read() else {}
    finally:
        ledger.close()


def unknown(home: Home, *arguments: object) -> Ran:
    return home.run("unknown", *arguments, "--ledger", LEDGER)


def lost(home: Home, server: VideoServer, *suno_ids: str) -> None:
    """Convert tracks whose submissions' answers are lost, so that rows 1, 2, … are unknown."""
    ran = convert(home, server, home.catalog(*suno_ids), "--max-in-flight", 1)
    assert ran.code == 4
    assert states(home.folder / LEDGER) == {State.UNKNOWN: len(suno_ids)}


def ids(server: VideoServer) -> list[str]:
    return [task["task_id"] for task in server.tasks()["video"]]


# Resuming


def test_the_same_command_again_buys_nothing(home: Home) -> None:
    """A finished catalog run again is skipped whole, without a request, with its paths and no credits."""
    with served() as server:
        first = convert(home, server, home.catalog("s1", "s2"))
        again = convert(home, server, "catalog.csv")
        charged = server.stats()["charged"]
    assert (first.code, again.code, charged) == (0, 0, 2)
    assert {line["state"] for line in again.outcomes()} == {"skipped"}
    assert {line["path"] for line in again.outcomes()} == {line["path"] for line in first.outcomes()}
    assert (again.summary()["requests"], again.summary()["credits"]) == (0, 0)
    assert (home.folder / LEDGER).is_file()


def test_a_grown_catalog_buys_what_is_new(home: Home) -> None:
    """Rows that are added to a catalog are bought, the others are not bought again."""
    with served() as server:
        convert(home, server, home.catalog("s1"))
        ran = convert(home, server, home.catalog("s1", "s2"))
        charged = server.stats()["charged_by_track"]
    assert (ran.summary()["skipped"], ran.summary()["done"], ran.summary()["credits"]) == (1, 1, 2)
    assert charged == {"m1/s1//": 1, "m1/s2//": 1}


def test_a_killed_run_goes_on(home: Home) -> None:
    """After kill -9 the same command follows what is bought and buys the rest: every track is charged once."""
    catalog = home.catalog("s1", "s2", "s3", "s4")
    arguments = ("convert", catalog, "--max-in-flight", 2)
    clock = HeldClock()
    with served(render_seconds=FOREVER, clock=clock) as server:
        with home.child(*arguments, *reach(server)) as process:
            server.wait_for(lambda _: states(home.folder / LEDGER).get(State.SUBMITTED) == 2)
            process.send_signal(signal.SIGKILL)
            assert process.wait(PATIENCE) == -signal.SIGKILL
        clock.let_go()
        again = convert(home, server, *arguments[1:])
        charged = server.stats()["charged_by_track"]
    assert again.code == 0
    assert {line["state"] for line in again.outcomes()} == {"downloaded"}
    assert charged == {f"m1/s{number}//": 1 for number in (1, 2, 3, 4)}


def test_a_run_killed_while_it_submits_leaves_that_unknown(home: Home) -> None:
    """What was in the air at a kill -9 is unknown afterwards, is listed as such, and is not sent again."""
    catalog = home.catalog("s1")
    with served(faults=[Fault(on="CreateTask", kind="slow:1000", calls=(1,))]) as server:
        with home.child("convert", catalog, *reach(server)) as process:
            server.wait_for(lambda stats: stats["tasks"] == 1)
            process.send_signal(signal.SIGKILL)
            process.wait(PATIENCE)
        before = unknown(home, "list")
        again = convert(home, server, catalog)
        after = unknown(home, "list")
        charged = server.stats()["charged"]
    assert (again.code, again.outcomes()[0]["state"], charged) == (4, "unknown", 1)
    assert [line["state"] for line in before.lines() + after.lines()] == ["submitting", "unknown"]
    assert "interrupted" in after.lines()[0]["reason"]


def test_leaving_is_resumed_by_the_same_command(home: Home) -> None:
    """Ctrl+C twice prints the command again; it follows what is bought and buys the rest, each once."""
    catalog = home.catalog("s1", "s2", "s3", "s4")
    clock = HeldClock()
    with served(render_seconds=FOREVER, clock=clock) as server:
        arguments = ("convert", catalog, "--max-in-flight", 2, *reach(server))
        with home.child(*arguments) as process:
            server.wait_for(lambda _: states(home.folder / LEDGER).get(State.SUBMITTED) == 2)
            process.send_signal(signal.SIGINT)
            read_until(process, "submitting no more")
            process.send_signal(signal.SIGINT)
            code, lines, err = finish(process)
        told = {line["video_task_id"] for line in lines[:-1] if line["state"] == "submitted"}
        assert (code, told) == (130, set(ids(server)))
        clock.let_go()
        again = home.run(*arguments)
        charged = server.stats()["charged_by_track"]
    assert f"the same command continues: suno-video convert {catalog}" in err
    assert "suno-video wait" not in err
    assert again.code == 0
    assert set(charged.values()) == {1}


def test_leaving_a_resumed_run_tells_what_was_bought_before(home: Home) -> None:
    """A run that follows an earlier one's tasks and is left tells them as submitted, not as planned."""
    catalog = home.catalog("s1", "s2", "s3")
    with served(render_seconds=1e6) as server:
        first = convert(home, server, catalog, "--task-timeout", 3, "--max-in-flight", 3)
        assert (first.code, first.summary()["submitted"]) == (4, 3)
        asked = server.stats()["requests"].get("TaskInfo", 0)
        with home.child("convert", catalog, *reach(server)) as process:
            server.wait_for(lambda stats: stats["requests"].get("TaskInfo", 0) > asked)
            process.send_signal(signal.SIGTERM)
            code, lines, _ = finish(process)
    summary = lines[-1]["summary"]
    assert code == 130
    assert {line["video_task_id"] for line in lines[:-1]} == set(ids(server))
    assert (summary["submitted"], summary["planned"], summary["total"]) == (3, 0, 3)


def test_a_download_is_made_up_for(home: Home) -> None:
    """A video that could not be downloaded is fetched by the same command, without another charge."""
    with served(faults=[Fault(on="media", kind="code:404", calls=tuple(range(1, len(WAITS) + 2)))]) as server:
        first = convert(home, server, home.catalog("s1"))
        again = convert(home, server, "catalog.csv")
        charged = server.stats()["charged"]
    assert first.code == 1
    assert "1 is made and paid for, but not downloaded; the same command continues" in first.err
    assert (again.code, again.outcomes()[0]["state"], charged) == (0, "downloaded", 1)
    assert again.summary()["credits"] == 0


def test_without_a_ledger_nothing_is_remembered(home: Home) -> None:
    """With --no-ledger no file appears, and the same command buys everything again."""
    with served() as server:
        for _ in range(2):
            assert convert(home, server, home.catalog("s1"), "--no-ledger", "--no-download").code == 0
        charged = server.stats()["charged"]
    assert charged == 2
    assert [path.name for path in home.folder.iterdir()] == ["catalog.csv"]


@pytest.mark.parametrize(
    ("catalog", "ledger"),
    [("c.csv", "c.ledger.db"), ("a.b.CSV", "a.b.ledger.db"), ("songs.v2", "songs.v2.ledger.db")],
)
def test_the_ledger_is_beside_the_catalog(home: Home, catalog: str, ledger: str) -> None:
    """Without --ledger it has the catalog's name, without the ending that tells the format."""
    (home.folder / "there").mkdir()
    with served() as server:
        ran = convert(home, server, home.catalog("s1", name=f"there/{catalog}"), "--no-download")
    assert ran.code == 0
    assert (home.folder / "there" / ledger).is_file()


def test_a_catalog_from_stdin(home: Home) -> None:
    """With a ledger named, a catalog may come from stdin, and coming again it buys nothing."""
    arguments = [*home.child_arguments("convert", "-", "--ledger", "l.db", "--no-download")]
    with served() as server:
        for _ in range(2):
            done = subprocess.run(
                [*arguments, *map(str, reach(server))],
                input="task_id,suno_id\nm1,s1\n",
                cwd=home.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout.splitlines()[0])["row"] == "stdin, line 2"
        assert server.stats()["charged"] == 1


# Refused ledgers


def test_a_ledger_that_cannot_be_written(home: Home) -> None:
    """A place where no ledger can be made is one line that names it, before anything is bought."""
    (home.folder / "taken").write_text("a file")
    with served() as server:
        ran = convert(home, server, home.catalog("s1"), "--ledger", "taken/l.db")
        assert server.stats()["requests"] == {}
    assert (ran.code, ran.out) == (2, "")
    assert "the ledger taken/l.db cannot be" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_second_writer_is_refused(home: Home) -> None:
    """While a convert runs, another one and the verbs of unknown name its pid; plan and list work beside it."""
    with served(render_seconds=1e6) as server:
        arguments = ("convert", home.catalog("s1"), "--outcomes", "o.jsonl")
        with home.child(*arguments, *reach(server)) as process:
            server.wait_for(lambda _: states(home.folder / LEDGER).get(State.SUBMITTED) == 1)
            (home.folder / "o.jsonl").write_text("its own\n")
            refused = [
                convert(home, server, *arguments[1:]),
                unknown(home, "drop", 1, "--base-url", server.url),
                unknown(home, "adopt", 1, "v", "--base-url", server.url),
                unknown(home, "resend", 1, "--yes", "--base-url", server.url),
            ]
            planned = home.run("plan", "catalog.csv", *reach(server))
            listed = unknown(home, "list")
            process.send_signal(signal.SIGTERM)
            finish(process)
    for ran in refused:
        assert (ran.code, ran.out) == (2, "")
        assert f"is being written by process {process.pid}" in ran.err
    assert planned.lines()[0]["submitted"] == 1
    assert (listed.code, listed.out) == (0, "")


def test_a_refused_run_leaves_files_alone(home: Home) -> None:
    """A run that does not get the ledger does not touch the files of --outcomes and --failed."""
    (home.folder / "l.db").write_text("no ledger, but more than nothing")
    for name in ("o.jsonl", "f.csv"):
        (home.folder / name).write_text("its own\n")
    files = ("--outcomes", "o.jsonl", "--failed", "f.csv")
    with served() as server:
        ran = convert(home, server, home.catalog("s1"), "--ledger", "l.db", *files)
        assert server.stats()["requests"] == {}
    assert ran.code == 2
    assert {(home.folder / name).read_text() for name in ("o.jsonl", "f.csv")} == {"its own\n"}


def test_the_ledger_of_another_account(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that was made with another key is refused by convert and by the verbs of unknown."""
    with served() as server:
        convert(home, server, home.catalog("s1"), "--no-download")
        monkeypatch.setenv("CRUN_API_KEY", OTHER_KEY)
        refused = [
            convert(home, server, "catalog.csv"),
            unknown(home, "drop", 1, "--base-url", server.url),
        ]
    for ran in refused:
        assert ran.code == 2
        assert "belongs to another key" in ran.err


# Money


def test_the_budget_stops_it(home: Home) -> None:
    """With --max-credits no more than that is spent, the rest is planned, the code is 3; a higher one goes on."""
    with served() as server:
        ran = convert(home, server, home.catalog("s1", "s2", "s3"), "--max-credits", 4)
        spent = server.stats()["charged"]
        same = convert(home, server, "catalog.csv", "--max-credits", 4)
        more = convert(home, server, "catalog.csv", "--max-credits", 6)
        charged = server.stats()["charged"]
    assert (ran.code, ran.summary()["done"], ran.summary()["planned"], spent) == (3, 2, 1, 2)
    assert "the same command with a higher --max-credits" in ran.err
    assert (same.code, same.summary()["planned"]) == (3, 1)
    assert (more.code, charged) == (0, 3)


def test_failed_tracks_are_tried_again_only_when_asked(home: Home) -> None:
    """A failed track is skipped by the next run, and bought again with --retry-failed as often as it says."""
    with served(faults=[Fault(on="CreateTask", kind="fail")]) as server:
        first = convert(home, server, home.catalog("s1"))
        skipped = convert(home, server, "catalog.csv")
        retried = convert(home, server, "catalog.csv", "--retry-failed", 1)
        enough = convert(home, server, "catalog.csv", "--retry-failed", 1)
        sent = server.stats()["requests"]["CreateTask"]
    found = [(ran.code, ran.outcomes()[0]["state"]) for ran in (first, skipped, retried, enough)]
    assert found == [(1, "failed"), (1, "skipped"), (1, "failed"), (1, "skipped")]
    assert sent == 2


def test_a_changed_author_is_bought_only_when_asked(home: Home) -> None:
    """A song that is bought under another author is skipped and told, and bought with --rebuy-changed."""
    with served() as server:
        convert(home, server, home.catalog("s1"))
        (home.folder / "catalog.csv").write_text("task_id,suno_id,author\nm1,s1,Ava\n")
        planned = home.run("plan", "catalog.csv", *reach(server))
        told = convert(home, server, "catalog.csv")
        bought = convert(home, server, "catalog.csv", "--rebuy-changed")
    assert (planned.lines()[0]["changed"], planned.lines()[0]["new"]) == (1, 0)
    assert (told.code, told.outcomes()[0]["state"]) == (0, "skipped")
    assert told.outcomes()[0]["error"]["type"] == "AlreadyBoughtError"
    assert (bought.code, bought.outcomes()[0]["state"]) == (0, "downloaded")


# Files


def test_outcomes_are_written_as_they_come(home: Home) -> None:
    """--outcomes has the lines of stdout without the summary, flushed as they end, and is begun anew by a run."""
    with served() as server:
        ran = convert(home, server, home.catalog("s1", "s2"), "--outcomes", "o.jsonl")
        first = (home.folder / "o.jsonl").read_text()
        again = convert(home, server, "catalog.csv", "--outcomes", "o.jsonl")
    assert first.splitlines() == ran.out.splitlines()[:-1]
    assert (home.folder / "o.jsonl").read_text().splitlines() == again.out.splitlines()[:-1]


def test_outcomes_are_there_before_the_end(home: Home) -> None:
    """The line of a track that is over can be read while others still run."""
    catalog, path = home.catalog("s0", "s1", "s2"), home.folder / "o.jsonl"
    faults = [Fault(on="CreateTask", kind=f"slow:{FOREVER:.0f}", calls=(2,))]
    with served(faults=faults, clock=(clock := HeldClock())) as server:
        arguments = ("convert", catalog, "--outcomes", path, "--max-in-flight", 1, *reach(server))
        with home.child(*arguments) as process:
            server.wait_for(lambda _: path.exists() and path.read_text().count("\n") >= 1)
            line = json.loads(path.read_text().splitlines()[0])
            process.send_signal(signal.SIGTERM)
            read_until(process, "leaving")
            clock.let_go()
            code, _, _ = finish(process)
    assert (code, line["track"]["suno_id"], line["state"]) == (130, "s0", "downloaded")


def test_failed_tracks_make_a_catalog(home: Home) -> None:
    """--failed has what failed, was refused or could not be read with all columns, and can be fed in again."""
    (home.folder / "catalog.csv").write_text(
        "task_id,suno_id,brand,genre,note\n"
        + "".join(f'm1,s{n},"A, B",folk,"two\nlines"\n' for n in (1, 2, 3))  # each may be submitted first
        + "m1,,,,\n"
    )
    faults = [
        Fault(on="CreateTask", kind="fail", calls=(1,)),
        Fault(on="CreateTask", kind="code:422", calls=(2,)),
    ]
    with served(faults=faults) as server:
        ran = convert(home, server, "catalog.csv", "--failed", "f.csv")
        with (home.folder / "f.csv").open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["suno_id"])
        command = ran.err.partition("needs --retry-failed N): ")[2].splitlines()[0].split()
        again = home.run(*command[1:], "--retry-failed", 1, "--failed", "g.csv")
        charged = server.stats()["charged_by_track"]
    assert ran.code == 1
    assert list(rows[0]) == ["task_id", "suno_id", "author", "brand", "genre", "note", "state", "error"]
    assert [row["state"] for row in rows] == ["refused", "failed", "refused"]
    assert (rows[2]["brand"], rows[2]["genre"], rows[2]["note"]) == ("A, B", "folk", "two\nlines")
    assert all(row["error"] for row in rows)
    assert "catalog.csv, line 8: suno_id is empty" in rows[0]["error"]
    assert "rows that could not be read: 1, in f.csv" in ran.err
    assert (again.code, again.summary()["done"], again.summary()["refused"]) == (1, 2, 1)
    assert sum(charged.values()) <= 4
    with (home.folder / "g.csv").open(newline="") as file:
        (left,) = csv.DictReader(file)
    assert (left["task_id"], left["suno_id"], left["state"]) == ("m1", "", "refused")


def test_what_was_not_submitted_is_in_the_catalog_too(home: Home) -> None:
    """When the budget ends a run, --failed has the tracks that were not submitted, and no others."""
    with served() as server:
        ran = convert(home, server, home.catalog("s1", "s2", "s3"), "--max-credits", 2, "--failed", "f.csv")
    with (home.folder / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert ran.code == 3
    assert [row["state"] for row in rows] == ["planned", "planned"]


def test_a_full_disk_stops_it(home: Home) -> None:
    """When --outcomes cannot be written any more nothing more is bought, and stdout still has every outcome."""
    with served() as server:
        arguments = ("--outcomes", "/dev/full", "--max-in-flight", 1)
        ran = convert(home, server, home.catalog(*(f"s{number}" for number in range(9))), *arguments)
        charged = server.stats()["charged"]
    assert ran.code == 2
    assert ran.err.count("No space left") == 1
    assert len(ran.outcomes()) == 9
    assert charged == ran.summary()["done"] < 9


# Planning


def test_plan_before_and_after(home: Home) -> None:
    """Plan says what would be bought and for how much, buys nothing, and knows afterwards what is done."""
    catalog = home.folder / "catalog.csv"
    catalog.write_text("task_id,suno_id,author\nm1,s1,\nm1,s2,Ava\nm1,s3,Ava\nm1,s1,\nm1,,\n")
    with served(credits=5) as server:
        before = home.run("plan", catalog, *reach(server))
        stats = server.stats()
        assert list(home.folder.glob("*.db*")) == []
        ran = convert(home, server, catalog)
        after = home.run("plan", catalog, *reach(server))
    assert before.code == after.code == 0
    assert before.lines() == [
        {
            "dry_run": True, "would_buy": 3, "elsewhere": 0,
            "new": 3, "done": 0, "submitted": 0, "unknown": 0, "failed": 0, "refused": 0, "changed": 0,
            "repeated": 1, "bad_rows": 1, "estimated_credits": 6, "balance": 5, "affordable": False,
        }
    ]  # fmt: skip
    assert (stats["charged"], stats["requests"]) == (0, {"EstimateTask": 2})
    assert "catalog.csv, line 6" in before.err
    assert ran.code == 3
    assert (after.lines()[0]["new"], after.lines()[0]["done"], after.lines()[0]["balance"]) == (1, 2, 1)


# Unknown rows


def test_unknown_rows_are_listed(home: Home) -> None:
    """A lost answer leaves a row that list tells with its number, track, time and reason, run after run."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        lost(home, server, "s1")
        again = convert(home, server, "catalog.csv")
        line = unknown(home, "list").lines()[0]
        charged = server.stats()["charged"]
    assert (again.code, charged) == (4, 1)
    assert f"suno-video unknown list --ledger {LEDGER}" in again.err
    assert (line["row"], line["track"]["suno_id"], line["where"]) == (1, "s1", "catalog.csv, line 2")
    assert (line["state"], line["video_task_id"]) == ("unknown", None)
    assert line["since"] > 0
    assert line["reason"]


def test_a_person_reads_plan_and_list(home: Home) -> None:
    """On a terminal plan and list are lines of words, with the numbers that the verbs take."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1,))]) as server:
        lost(home, server, "s1")
        home.catalog("s1", "s2")
        plan_code, planned = on_terminal(home, 100, "plan", "catalog.csv", *reach(server))
        list_code, listed = on_terminal(home, 100, "unknown", "list", "--ledger", LEDGER)
    assert (plan_code, list_code) == (0, 0)
    assert "1 video would be bought" in planned
    assert "1 unknown and left alone: see suno-video unknown list" in planned
    assert "998 credits in the account: enough" in planned
    assert listed.startswith("row 1: m1 s1, catalog.csv, line 2, since ")
    assert "{" not in planned + listed


def test_adopting_costs_nothing_again(home: Home) -> None:
    """An adopted task is followed and downloaded by the next convert, without another charge."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        lost(home, server, "s1")
        adopted = unknown(home, "adopt", 1, ids(server)[0], *reach(server))
        ran = convert(home, server, "catalog.csv")
        charged = server.stats()["charged"]
    assert adopted.code == 0
    assert (adopted.lines()[0]["state"], adopted.lines()[0]["video_task_id"]) == ("submitted", ids(server)[0])
    assert (ran.code, ran.outcomes()[0]["state"], charged) == (0, "downloaded", 1)


def test_a_strange_task_is_not_adopted(home: Home) -> None:
    """A task of another track, an id that does not exist and a settled row are refused, and nothing changes."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        lost(home, server, "s1", "s2")
        first, second = ids(server)
        strange = unknown(home, "adopt", 1, second, *reach(server))
        nowhere = unknown(home, "adopt", 1, "nonsense", *reach(server))
        assert states(home.folder / LEDGER) == {State.UNKNOWN: 2}
        unknown(home, "adopt", 1, first, *reach(server))
        settled = unknown(home, "adopt", 1, first, *reach(server))
        missing = unknown(home, "adopt", 9, first, *reach(server))
    assert (strange.code, nowhere.code, settled.code, missing.code) == (2, 1, 2, 2)
    assert "its suno_id is 's2', the row's 's1'" in strange.err
    assert "check the id" in nowhere.err
    assert "is not unknown but submitted" in settled.err
    assert "no row 9" in missing.err


def test_resending_buys_again(home: Home) -> None:
    """A row that is resent is bought by the next convert, for a second charge, and by nothing before it."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1,))]) as server:
        lost(home, server, "s1")
        resent = unknown(home, "resend", 1, "--yes", "--base-url", server.url)
        between = server.stats()["charged"]
        ran = convert(home, server, "catalog.csv")
        charged = server.stats()["charged"]
    assert (resent.code, resent.lines()[0]["state"]) == (0, "planned")
    assert (ran.code, between, charged) == (0, 1, 2)


def test_dropping_gives_up(home: Home) -> None:
    """A dropped row is skipped by later runs, even by those that retry failed ones, and needs no service."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after", calls=(1, 2))]) as server:
        lost(home, server, "s1", "s2")
        dropped = unknown(home, "drop", 1, 2, "--base-url", "http://127.0.0.1:1")
        ran = convert(home, server, "catalog.csv", "--retry-failed", 5)
        charged = server.stats()["charged"]
    assert dropped.code == 0
    assert [line["reason"] for line in dropped.lines()] == ["given up by hand"] * 2
    assert (ran.code, ran.summary()["skipped"], charged) == (1, 2, 2)
    assert unknown(home, "list").out == ""


def test_one_wrong_row_changes_none(home: Home) -> None:
    """When one of several rows is not unknown, none of them is settled."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        lost(home, server, "s1")
        ran = unknown(home, "drop", 1, 7, "--base-url", server.url)
    assert (ran.code, ran.out) == (2, "")
    assert states(home.folder / LEDGER) == {State.UNKNOWN: 1}


@pytest.mark.parametrize(("answer", "code", "state"), [("y", 0, State.PLANNED), ("n", 1, State.UNKNOWN)])
def test_resending_asks_on_a_terminal(home: Home, answer: str, code: int, state: State) -> None:
    """On a terminal resend shows the rows, says that it costs again, and does what is answered."""
    with served(faults=[Fault(on="CreateTask", kind="drop-after")]) as server:
        lost(home, server, "s1")
        ours, theirs = pty.openpty()
        arguments = ("unknown", "resend", 1, "--ledger", LEDGER, "--base-url", server.url)
        with subprocess.Popen(
            home.child_arguments(*arguments),
            cwd=home.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.close(theirs)
            os.write(ours, f"{answer}\n".encode())
            _, err = process.communicate(timeout=PATIENCE)
            os.close(ours)
    assert process.returncode == code
    assert "m1 s1" in err
    assert "costs credits again" in err
    assert states(home.folder / LEDGER) == {state: 1}
