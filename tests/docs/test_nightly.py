"""The files of the nightly run fit each other."""

from __future__ import annotations

from configparser import ConfigParser

from tests.docs.examples import ROOT

FOLDER = ROOT / "docs" / "examples" / "nightly"


def read(name: str) -> ConfigParser:
    """Return a unit of systemd."""
    unit = ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FOLDER / name, encoding="utf-8")
    return unit


def test_the_unit_and_the_crontab_run_the_script() -> None:
    """Both call the script, which is executable, where the page puts it."""
    service, crontab = read("suno-video.service"), (FOLDER / "crontab").read_text(encoding="utf-8")
    assert service["Service"]["ExecStart"] == crontab.split()[-1] == "/srv/suno-video/nightly.sh"
    assert (FOLDER / "nightly.sh").stat().st_mode & 0o111


def test_the_timer_starts_the_unit_and_a_night_with_rows_left_is_not_a_failure() -> None:
    """The timer has the service's name, and exit code 4 is a success."""
    assert "OnCalendar" in read("suno-video.timer")["Timer"]
    service = read("suno-video.service")["Service"]
    assert (service["Type"], service["SuccessExitStatus"]) == ("oneshot", "4")
