"""Makes the pictures of the live view: a real conversion against the local server, seen at 80 and 40 columns.

Run it in a clone: `python docs/make_screenshots.py`. It writes `docs/images/live-80.svg` and `live-40.svg`.
"""

from __future__ import annotations

import asyncio
import io
import re
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from suno_video_async import RateLimit, SunoVideoClient, SystemClock
from suno_video_async.cli.live.display import Progress
from suno_video_async.cli.live.frame import lines
from suno_video_async.cli.live.state import LiveState
from suno_video_async.cli.tally import Tally
from suno_video_async.local import Fault, LocalServer

IMAGES = Path(__file__).parent / "images"
TITLES = (
    "Harbour Lights",
    "夜の港で待っている",
    "Dunes",
    "أضواء المرفأ",
    "Ночной порт",
    "Café au lait",
    "Slow Down",
)
TRACKS, SCALE, BUDGET = 200, 50.0, 500.0
FAULTS = [
    Fault(on="CreateTask", kind="code:422", calls=(37,)),
    Fault(on="CreateTask", kind="code:500", calls=(90, 120)),
    Fault(on="CreateTask", kind="fail", calls=(21,)),
    Fault(on="TaskInfo", kind="code:429", calls=(60, 100)),
]


async def conversion(catalog: Path, columns: tuple[int, ...]) -> tuple[list[str], dict[int, list[Text]]]:
    """Convert a catalog until half of it is over; return the news, and the view for each number of columns."""
    async with LocalServer(render_seconds=(65.0, 0.35), time_scale=SCALE, seed=7, faults=FAULTS) as server:
        state, tally, news = LiveState(), Tally(TRACKS), list[str]()
        client = SunoVideoClient(
            api_key=server.api_key,
            base_url=server.url,
            rate=RateLimit(20, 10),
            clock=SystemClock(SCALE),
            hooks=[state],
        )
        async with client, client.convert(catalog, max_credits=BUDGET) as outcomes:
            state.now = client.clock.now
            progress = Progress(
                title=catalog.name,
                tally=tally,
                state=state,
                client=client,
                sums=outcomes.credits,
                budget=BUDGET,
                clock=SystemClock(),
            )
            progress.frame()
            async for outcome in outcomes:
                tally.add(outcome)
                state.add(outcome)
                news += [line.plain for line in state.take_news()]
                if tally.ended == TRACKS // 2:
                    break
            seen = progress.frame()
            return news, {width: lines(seen, width=width, height=20) for width in columns}


def picture(news: list[str], view: list[Text], columns: int) -> str:
    """Return a terminal's picture as SVG, without the fonts that it would fetch."""
    console = Console(
        record=True,
        width=columns,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print(Text.assemble(("$ ", "dim"), f"suno-video convert catalog.csv --max-credits {BUDGET:g}"))
    for line in news:
        console.print(Text(line, style="red"))
    for text in view:
        console.print(text, no_wrap=True)
    drawn = console.export_svg(title="suno-video", unique_id=f"live{columns}")
    return re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)


async def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "catalog.csv"
        rows = [f'task_{n // 2:04},suno_{n:04},"{TITLES[n % len(TITLES)]}"' for n in range(TRACKS)]
        catalog.write_text("\n".join(["task_id,suno_id,title", *rows]), encoding="utf-8")
        news, views = await conversion(catalog, (79, 39))
    for width, view in views.items():
        path = IMAGES / f"live-{width + 1}.svg"
        path.write_text(picture(news, view, width + 1), encoding="utf-8")
        print(f"{path}: {len(view)} lines")


if __name__ == "__main__":
    asyncio.run(main())
