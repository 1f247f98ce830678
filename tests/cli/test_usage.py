"""Mistakes in what is typed or set: one line that says what is wrong and what to do, never a traceback."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from suno_video_async.cli import single
from suno_video_async.cli.app import run
from tests.cli.conftest import ROOT, Home
from tests.support.keys import KEY

VERBS = [
    "demo", "login", "convert", "plan", "unknown", "submit", "status", "watch", "wait", "download", "tracks",
    "balance", "doctor", "serve", "completion",
]  # fmt: skip


def test_no_arguments_print_the_help(home: Home) -> None:
    """`suno-video` alone prints its help with every verb and an example."""
    ran = home.run()
    assert ran.code == 0
    for verb in VERBS:
        assert f"\n  {verb} " in ran.out
    assert "Examples:" in ran.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example(home: Home, verb: str) -> None:
    """Each verb's help ends with an example of it."""
    ran = home.run(verb, "--help")
    assert ran.code == 0
    assert f"  suno-video {verb}" in ran.out.partition("Example")[2]


def test_version(home: Home) -> None:
    """--version prints the name and the version."""
    assert home.run("--version").out.startswith("suno-video, version ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["convert"], "CATALOG"),
        (["bogus"], "No such command"),
        (["covnert", "c.csv"], "did you mean convert?"),
        (["unknown", "lst", "--ledger", "l.db"], "did you mean list?"),
        (["completion", "tcsh"], "bash"),
        (["convert", "c.csv", "--rate", "fast"], "20/10"),
        (["convert", "c.csv", "--rate", "0/10"], "such as 20/10, or auto, or unlimited, not '0/10'"),
        (["serve", "--read-rate", "unlimited"], "20/10"),
        (
            ["convert", "c.csv", "--output-dir", "sftp://host/videos"],
            "is a URL, not a folder of this machine",
        ),
        (["download", "v1", "--output-dir", "file:/tmp/videos"], "is a URL, not a folder"),
        (["convert", "c.csv", "--output-dir", "s3://me:pw@bucket/videos"], "taken from the environment"),
        (["convert", "c.csv", "--output-dir", "az://container"], "Account must be specified"),
        (["convert", "c.csv", "--task-timeout", "nan"], "above 0"),
        (["convert", "c.csv", "--time-scale", "-1"], "above 0"),
        (["convert", "c.csv", "--max-in-flight", "0"], "--max-in-flight"),
        (["convert", "c.csv", "--max-in-flight", "auto"], "needs --rate auto"),
        (
            ["convert", "c.csv", "--rate", "auto", "--max-in-flight", "auto", "--share-limit", "limit.db"],
            "name a number",
        ),
        (["convert", "c.csv", "--max-credits", "-1"], "--max-credits"),
        (["convert", "c.csv", "--max-credits", "inf"], "--max-credits"),
        (["convert", "c.csv", "--retry-failed", "-1"], "--retry-failed"),
        (["convert", "c.csv", "--ledger", "l.db", "--no-ledger"], "exclude each other"),
        (["convert", "c.csv", "--outcomes", "c.csv"], "would overwrite CATALOG"),
        (["convert", "c.csv", "--failed", "c.csv"], "would overwrite CATALOG"),
        (["convert", "c.csv", "--failed", "c.ledger.db"], "would overwrite --ledger"),
        (["convert", "c.csv", "--failed", "one", "--outcomes", "one"], "would overwrite --outcomes"),
        (["convert", "c.csv", "--failed", "nowhere/f.csv"], "No such file"),
        (["convert", "-"], "--no-ledger"),
        (["plan"], "CATALOG"),
        (["plan", "/dev/stdin"], "--no-ledger"),
        (["unknown", "list"], "--ledger"),
        (["unknown", "list", "--ledger", "nowhere.db"], "there is no ledger nowhere.db"),
        (["unknown", "drop", "1", "--ledger", "nowhere.db"], "there is no ledger nowhere.db"),
        (["unknown", "drop", "0", "--ledger", "l.db"], "ROW"),
        (["unknown", "adopt", "1", "--ledger", "l.db"], "VIDEO_TASK_ID"),
        (["unknown", "resend", "1", "--ledger", "l.db"], "--yes"),
        (["convert", "c.csv", "--api-key", KEY], "--api-key"),
        (["status", "käse"], "printable ASCII"),
        (["submit", "m1", " "], "suno_id is empty"),
        (["submit", "m1", "s1", "--author", "x" * 51], "at most 50"),
        (["balance", "--base-url", "http://example.com"], "https://example.com"),
        (["balance", "--base-url", "nonsense"], "must look like"),
        (["serve", "--render-seconds", "soon"], "MEAN:SIGMA"),
        (["serve", "--size", "tall"], "1920x1080"),
        (["serve", "--size", "1921x1080"], "two even numbers"),
        (["serve", "--library", "nowhere"], "nowhere"),
        (["serve", "--keys", "nowhere.toml"], "nowhere.toml"),
        (["serve", "--keys", "c.csv"], "c.csv: is not valid TOML"),
        (["serve", "--grace", "-1"], "0 or a number above it"),
    ],
)
def test_a_mistake_is_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    """Bad arguments end with code 2 and one line that names them."""
    home.catalog("s1", name="c.csv")
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ran = home.run(*arguments)
    assert ran.code == 2
    assert says in ran.err
    assert len(ran.err.splitlines()) == 1


def test_no_key(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the two places where one is looked for are named, and code is 2."""
    monkeypatch.delenv("CRUN_API_KEY")
    ran = home.run("balance")
    assert ran.code == 2
    assert "set CRUN_API_KEY" in ran.err
    assert "~/.crun/.env" in ran.err
    assert "api_key=" not in ran.err


def test_an_unforeseen_error_is_a_line_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect is told in one line with code 70, and only --debug shows its traceback."""

    def broken(*_: object) -> int:
        raise RuntimeError(f"boom {KEY}")

    monkeypatch.setattr(single, "with_client", broken)
    ran = home.run("balance")
    assert ran.code == 70
    assert "RuntimeError: boom" in ran.err
    assert "--debug" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_debug_shows_the_traceback(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    """With --debug the traceback comes along, without the key."""
    code = run(["--debug", "balance", "--base-url", "nonsense"])
    said = capsys.readouterr().err
    assert code == 2
    assert "Traceback" in said
    assert KEY not in said


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing: str) -> None:
    """Without click or rich, one line says what to install, and the code is 2."""
    hide = f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['balance']"
    hide += "; from suno_video_async.cli import main; main()"
    child = subprocess.run(
        [sys.executable, "-c", hide], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert child.returncode == 2
    name = "'suno-video-async[cli]'"
    assert child.stderr == f"suno-video needs {missing}: pip install {name}, or uvx {name}\n"


def test_the_demo_without_its_extra(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages that render, the demo says what to install, and the code is 2."""
    monkeypatch.setattr("suno_video_async.cli.demo.find_spec", lambda name: None)
    ran = home.run("demo")
    assert ran.code == 2
    assert "pip install 'suno-video-async[cli,local]'" in ran.err


IMPORTING = """
import os, signal, sys
sys.argv[:] = {argv}
signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run where it is ignored

class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from suno_video_async.cli import main
main()
"""


@pytest.mark.parametrize("module", ["aiohttp", "click", "suno_video_async.cli.app", "suno_video_async.cli.single"])
def test_an_interruption_while_it_starts(module: str) -> None:
    """Ctrl+C while the command is imported ends it with 130 and without a word."""
    program = IMPORTING.format(argv=["/usr/bin/suno-video", "balance"], module=module)
    child = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (child.returncode, child.stdout, child.stderr.strip()) == (130, "", "")


def test_an_interruption_of_another_program() -> None:
    """A program that only uses the library gets its KeyboardInterrupt as ever."""
    program = IMPORTING.format(argv=["/usr/bin/other"], module="aiohttp").replace(
        "from suno_video_async.cli import main", "from suno_video_async import SunoVideoClient"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert "KeyboardInterrupt" in child.stderr


def test_without_stdout() -> None:
    """Started with stdout closed, a command still ends as it should."""
    child = subprocess.run(
        f"{sys.executable} -m suno_video_async --version >&-",
        shell=True,
        env={"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (child.returncode, child.stderr) == (0, "")
