"""Orders videos from the app, twice and over a restart."""

import asyncio

import httpx
from app import app

SINGLE = {
    "task_id": "task_harbour01",
    "suno_id": "suno_8f3c2b7a51d94e06",
    "author": "Ava",
}
ALBUM = [{"task_id": "task_dunes05", "suno_id": "suno_b6093fd7e81c4a55"}]


async def first_day(browser: httpx.AsyncClient) -> str:
    made, again = [
        await browser.post("/videos", json=SINGLE) for _ in range(2)
    ]
    print("ordered", made.status_code, made.json() == again.json())
    for wrong in (
        {**SINGLE, "author": "Somebody else"},
        {**SINGLE, "suno_id": " "},
    ):
        answer = await browser.post("/videos", json=wrong)
        print("refused", answer.status_code)
    video: str = made.json()["video"]
    async with browser.stream("GET", f"/videos/{video}/events") as events:
        told = [line async for line in events.aiter_lines() if line != ""]
    print("streamed", '"status": "success"' in told[-1])
    print((await browser.post("/albums", json=ALBUM)).json())
    album = f"/albums/{ALBUM[0]['suno_id']}"
    while (await browser.get(album)).json()["state"] == "waiting":
        await asyncio.sleep(0.05)
    print((await browser.get(album)).json())
    stranger = await browser.post(f"/callbacks/{'0' * 32}", json={})
    print("a stranger's callback", stranger.status_code)
    return video


async def second_day(browser: httpx.AsyncClient, video: str) -> None:
    again = await browser.post("/videos", json=SINGLE)
    print("found again", again.json() == {"video": video})
    while (await browser.get(f"/videos/{video}/file")).status_code == 404:
        await asyncio.sleep(0.05)
    file = await browser.get(f"/videos/{video}/file")
    print(file.status_code, file.headers["content-type"])
    print("unknown", (await browser.get("/videos/none")).status_code)


async def main() -> None:
    browser = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://app"
    )
    async with browser:
        async with app.router.lifespan_context(app):
            video = await first_day(browser)
        async with app.router.lifespan_context(app):
            await second_day(browser, video)


asyncio.run(main())
