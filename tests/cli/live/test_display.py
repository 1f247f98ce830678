"""The live view while a conversion runs: drawn seldom, never in the way, gone at the end."""

from __future__ import annotations

import asyncio
import io
import termios
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from rich.console import Console
from rich.text import Text

from suno_video_async import ClientStatistics, DownloadError, Forecast, Outcome, RateLimit, TaskFailed, Track
from suno_video_async.cli.live import display as module
from suno_video_async.cli.live import frame as view
from suno_video_async.cli.live.display import Progress
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.output import Output, say, writing_above
from suno_video_async.cli.tally import PROBLEMS_SHOWN, Tally
from suno_video_async.errors import RateLimitError
from suno_video_async.hooks import RetryEvent, SpendEvent, Stage
from suno_video_async.models import TaskSnapshot, TaskUpdate, VideoTaskId
from suno_video_async.ratelimit.limiter import LimiterStatistics
from tests.cli.conftest import Home
from tests.cli.serving import served
from tests.cli.terminals import on_terminal, start
from tests.support.fakes import HastyClock, settle
from tests.support.processes import PATIENCE


class FakeClient:
    """What the view asks of a client."""

    rate = RateLimit(20, 10)
    read_rate: RateLimit | None = None
    limits_found: None = None

    def __init__(self, clock: HastyClock, ahead: Forecast | None = None) -> None:
        self.clock = clock
        self.ahead = ahead or Forecast(200.0, known=True, stuck_after=300.0, usual=90.0)
        self.asked = list[int]()
        self.in_flight = 0

    def statistics(self) -> ClientStatistics:
        limiter = LimiterStatistics(waiting=0, in_flight=1, window_used=18, paused_for=0.0, granted=50)
        return ClientStatistics(
            requests=50, refused_429=1, resent_after_500=0, in_flight=self.in_flight, limiter=limiter
        )

    def forecast(self, waiting: int) -> Forecast:
        self.asked.append(waiting)
        return self.ahead


def progress_of(ahead: Forecast | None = None, *, total: int | None = 10, budget: float | None = None) -> Progress:
    clock = HastyClock()
    state = LiveState(now=clock.now)
    return Progress(
        title="c.csv",
        tally=Tally(total),
        state=state,
        client=FakeClient(clock, ahead),  # type: ignore[arg-type]
        sums=lambda: (7.0, 3.0),
        budget=budget,
        clock=clock,
    )


def track(name: str = "s1", **extra: str) -> Track:
    return Track(task_id="m", suno_id=name, extra=extra)


def follow(state: LiveState, task_id: str, *, since: float, name: str = "s1", **extra: str) -> Stage:
    known = VideoTaskId(task_id)
    stage = Stage(name="follow", started=0.0, since=since, track=track(name, **extra), task_id=known)
    state.on_begin(stage)
    return stage


async def test_it_is_drawn_four_times_a_second_at_most() -> None:
    """There is a quarter of a second between two frames, and a second between two forecasts."""
    progress, frames = progress_of(), list[float]()

    class Screen:
        width, height, letters = 80, 24, False

        def __init__(self) -> None:
            self.above = list[Text]()

        def draw(self, frame: Sequence[Text]) -> None:
            frames.append(progress.clock.now())
            if len(frames) == 21:
                raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await module._redraw(progress, Screen())  # type: ignore[arg-type]
    assert min(late - early for early, late in pairwise(frames)) >= 0.25
    assert len(progress.client.asked) == 6  # type: ignore[attr-defined]


def test_ten_thousand_tracks_cost_little_more_than_a_hundred() -> None:
    """A frame of 10,000 tracks, all of them in flight, takes at most 30 times one of 100."""

    def cost(tracks: int) -> float:
        progress = progress_of(total=tracks)
        for n in range(tracks):
            follow(progress.state, f"t{n}", since=float(n % 997))
        times = list[float]()
        for _ in range(9):
            began = time.process_time()
            view.lines(progress.frame(), width=79, height=23)
            times.append(time.process_time() - began)
        return sorted(times)[4]

    assert cost(10_000) < 30 * cost(100)


def test_states_are_counted() -> None:
    """Each track is in one state: waiting, in flight, downloading, or what it came out as."""
    progress = progress_of()
    progress.client.in_flight = 2  # type: ignore[attr-defined]
    progress.state.on_begin(Stage(since=0.0, name="download", started=0.0))
    progress.tally.add(Outcome(track=track(), state="downloaded"))
    failed = DownloadError("no", url="u")
    progress.tally.add(Outcome(track=track(), state="succeeded", video_task_id=VideoTaskId("v"), error=failed))
    progress.tally.add(Outcome(track=track(), state="skipped"))
    states = progress.states()
    assert states == {
        "waiting": 4, "in flight": 2, "downloading": 1, "done": 1, "not downloaded": 1, "skipped": 1,
    }  # fmt: skip
    progress.state.on_end(Stage(since=0.0, name="download", started=0.0))
    assert "downloading" not in progress.states()


@pytest.mark.parametrize(
    ("ahead", "total", "words"),
    [
        (Forecast(840.0, known=True), 10, "about 14 min left"),
        (Forecast(840.0, known=True, stuck=2), 10, "about 14 min left, but for 2 stuck"),
        (Forecast(0.0, known=True, stuck=1), 10, "only the 1 stuck are left"),
        (Forecast(60.0, known=False), 10, "at least 1 min left"),
        (Forecast(0.0, known=False), 10, None),
        (Forecast(60.0, known=False), None, None),
        (Forecast(0.0, known=True), 10, None),
        (Forecast(40.0, known=True), None, "about 40 s left for what is in flight"),
    ],
)
async def test_the_forecast_in_words(ahead: Forecast, total: int | None, words: str | None) -> None:
    """It says how sure it is, what it leaves out, and nothing where nothing is known."""
    assert progress_of(ahead, total=total).frame().left == words


async def test_after_an_interruption_only_what_is_submitted_counts() -> None:
    """Nothing more is submitted then: the rest is no part of the forecast."""
    progress = progress_of()
    progress.word = "finishing"
    progress.frame()
    assert progress.client.asked == [0]  # type: ignore[attr-defined]


async def test_credits_of_the_run_or_of_the_budget() -> None:
    """With a budget the ledger's sums are shown; without, this run's, and its average for what is in flight."""
    frame = progress_of(budget=50.0).frame()
    assert (frame.spent, frame.reserved, frame.budget) == (7.0, 3.0, 50.0)
    progress = progress_of()
    progress.client.in_flight = 3  # type: ignore[attr-defined]
    for cost in (1.0, 3.0):
        progress.state.on_spend(SpendEvent(task_id=VideoTaskId("v"), track=None, credits=cost, new=True))
    frame = progress.frame()
    assert (frame.spent, frame.reserved) == (4.0, 6.0)


async def test_the_slowest_by_the_servers_word() -> None:
    """The oldest come first; the age of a task of an earlier run is what the server says."""
    progress = progress_of()
    follow(progress.state, "young", since=990.0, name="s1", title="Two\nlines")
    follow(progress.state, "old", since=900.0)
    stage = follow(progress.state, "resumed", since=999.0, name="s3")
    resumed = TaskSnapshot(task_id=VideoTaskId("resumed"), status="running")
    progress.state.on_update(TaskUpdate(snapshot=resumed, elapsed=500.0))
    seen = progress.frame().slowest
    assert [(one.task_id, one.name, one.age) for one in seen] == [
        ("resumed", "s3", 500.0), ("old", "s1", 100.0), ("young", "Two lines", 10.0),
    ]  # fmt: skip
    progress.state.on_end(stage)
    assert progress.frame().slowest[0].task_id == "old"


def test_news_are_told_once_with_advice_once() -> None:
    """Each problem is a line; what to do is said with the first of its kind, and after many no more are told."""
    state = LiveState()
    snapshot = TaskSnapshot(task_id=VideoTaskId("v"), status="failed", result_message="no\nluck")
    for n in range(PROBLEMS_SHOWN + 5):
        state.add(
            Outcome(track=track(f"s{n}"), location=f"c.csv, line {n}", state="failed", error=TaskFailed(snapshot))
        )
        state.add(Outcome(track=track(), state="planned", error=TaskFailed(snapshot)))
    news = [line.plain for line in state.take_news()]
    assert len(news) == PROBLEMS_SHOWN + 1
    assert [("submitting it again" in line) for line in news[:2]] == [True, False]
    assert "--outcomes" in news[-1]
    assert state.take_news() == []
    assert list(state.troubles)[-1].startswith(f"s{PROBLEMS_SHOWN + 4} failed: ")


def test_a_retry_is_a_trouble() -> None:
    """What goes wrong for now is seen, and is no news."""
    state = LiveState()
    refused = RateLimitError(code=429, http_status=429, message="slow down", operation="TaskInfo", task_id="t-17")
    state.on_retry(RetryEvent(operation="TaskInfo", attempt=1, wait=2.4, error=refused))
    assert state.troubles[-1].startswith("TaskInfo: 429")
    assert state.troubles[-1].endswith("again in 2 s")
    assert state.take_news() == []


def screen_of(width: int, **options: object) -> tuple[module._Screen, io.StringIO, Console]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=12, legacy_windows=False, **options)  # type: ignore[arg-type]
    return module._Screen(console), file, console


def test_news_go_above_the_frame() -> None:
    """They are written before the frame is drawn again, and stay when it is taken away."""
    screen, file, _ = screen_of(40)
    screen.draw([Text("frame one")])
    screen.above.append(Text("something went wrong"))
    screen.draw([Text("frame two")])
    screen.above.append(Text("and at the end"))
    screen.close()
    said = file.getvalue()
    assert said.index("frame one") < said.index("something went wrong") < said.rindex("frame two")
    assert said.index("and at the end") > said.index("something went wrong")
    assert "\x1b[?25h" in said[-30:]  # the cursor is back


def test_an_interruption_leaves_no_line_of_the_frame_behind() -> None:
    """A terminal writes `^C` behind the frame; there is room for it, or a line too few would be erased."""
    screen, _, console = screen_of(40)
    frame = view.lines(view.Frame(title="x" * 80, word="y" * 80), width=screen.width, height=9)
    assert max(view.widths(frame)) + len("^C") < console.width


def test_rows_left_for_another_run_do_not_count_as_finished() -> None:
    """After Ctrl+C the rest of the rows ends as planned, and the bar does not fill with it."""
    progress = progress_of(total=4)
    progress.tally.add(Outcome(track=track(), state="downloaded"))
    for _ in range(3):
        progress.tally.add(Outcome(track=track(), state="planned"))
    frame = progress.frame()
    assert (frame.ended, frame.total) == (1, 4)
    assert view.lines(frame, width=40, height=1, letters=True)[0].plain.count("#") < 10


def test_a_terminal_that_becomes_narrower_is_wiped() -> None:
    """The lines into which it has broken the last frame are erased before the next is drawn."""
    screen, file, console = screen_of(60)
    screen.draw([Text("x" * 59), Text("y" * 30)])
    console.width = 20
    file.truncate(0)
    screen.draw([Text("z")])
    # Three rows instead of one, and two: three more than the frame has lines.
    assert file.getvalue().count("\x1b[1A") == 3 + 1
    assert screen.width == 20 - 3  # which an echoed ^C and the cursor need
    screen.close()


def live_output() -> tuple[Output, io.StringIO]:
    """Return the output of a command on a terminal of 40 columns."""
    output, file = Output(as_json=False), io.StringIO()
    output.live = True
    output.notes = Console(file=file, force_terminal=True, width=40, height=12, legacy_windows=False)
    return output, file


async def test_what_was_said_is_written_however_it_ends() -> None:
    """A word said just before the block breaks off is not lost, and the cursor comes back."""
    output, file = live_output()
    with pytest.raises(ValueError, match="broken"):
        async with module.shown(progress_of(), output):
            say("a last word")
            raise ValueError("broken")
    assert "a last word" in file.getvalue()
    assert file.getvalue().count("\x1b[?25h") == file.getvalue().count("\x1b[?25l") == 1


async def test_a_view_that_fails_breaks_no_run() -> None:
    """Where the state cannot be drawn, the block goes on, and what is said is written."""
    output, file = live_output()
    progress = progress_of()
    progress.client.ahead = None  # type: ignore[attr-defined]
    async with module.shown(progress, output):
        await settle()
        say("still here")
    assert "still here" in file.getvalue()


def test_words_from_elsewhere_go_above_the_frame(capsys: pytest.CaptureFixture[str]) -> None:
    """While something is drawn, warnings, the log and notes are written by whoever draws."""
    heard = list[Text]()
    with writing_above(heard.append):
        say("a warning")
        Output(as_json=False).note("a note", style="red")
    assert [(line.plain, line.style) for line in heard] == [("a warning", ""), ("a note", "red")]
    say("later")
    assert capsys.readouterr().err == "later\n"


def test_a_terminal_that_is_held_up_does_not_hold_up_the_run(home: Home) -> None:
    """With Ctrl+S pressed, everything is bought, made and written down as ever."""
    with served() as server:
        arguments = ("convert", home.catalog("s1", "s2", "s3"), "--base-url", server.url, "--time-scale", 20)
        running = start(home, *arguments, "--outcomes", "out.jsonl", columns=40, rows=10)
        termios.tcflow(running.theirs, termios.TCOOFF)
        outcomes, deadline = home.folder / "out.jsonl", time.monotonic() + PATIENCE
        while not outcomes.exists() or outcomes.read_text().count("\n") < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert running.process.poll() is None
        termios.tcflow(running.theirs, termios.TCOON)
        code, said = running.rest()
    assert code == 0
    assert "summary" in said


@pytest.mark.parametrize(("option", "term"), [("--quiet", "xterm"), ("--json", "xterm"), (None, "dumb")])
def test_nothing_is_animated_where_it_is_not_wanted(home: Home, option: str | None, term: str) -> None:
    """With --quiet, --json or a dumb terminal nothing is drawn over, and the results come all the same."""
    with served() as server:
        arguments = ("convert", home.catalog("s1"), "--base-url", server.url, "--time-scale", 20)
        code, said = on_terminal(home, 80, *arguments, *([option] if option else []), TERM=term)
    assert code == 0
    assert "\x1b[1A" not in said
    assert "\x1b[2K" not in said
    assert "summary" in said


def test_elsewhere_a_line_now_and_then(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, how far it is stands in a line of its own from time to time, but for --quiet."""
    monkeypatch.setattr(module, "REPEAT", 0.03)
    with served() as server:
        arguments = (
            "convert",
            home.catalog("s1", "s2"),
            "--base-url",
            server.url,
            "--time-scale",
            20,
            "--no-ledger",
        )
        told = home.run(*arguments)
        quiet = home.run(*arguments, "--quiet")
    assert (told.code, quiet.code) == (0, 0)
    assert "of 2 tracks finished (" in told.err
    assert "requests, " in told.err
    assert quiet.err == ""


def test_both_windows_in_one_line() -> None:
    """If reads have a window of their own, both are said to be in use."""
    progress = progress_of()
    progress.client.read_rate = RateLimit(10, 1)  # type: ignore[misc]
    assert "50 requests, 18 of 20 in use, 0 of 10 reads" in progress.line()
