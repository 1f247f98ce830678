"""A web application of aiohttp, with pytest-aiohttp's client."""

from typing import Any

from aiohttp import web

from suno_video_async import SunoVideoClient, Track
from suno_video_async.testing import VideoServer, assert_charged_once

CLIENT = web.AppKey("client", SunoVideoClient)


async def make(request: web.Request) -> web.Response:
    video = await request.app[CLIENT].generate(Track(task_id="album", suno_id=request.match_info["suno_id"]))
    return web.json_response({"url": video.url})


async def test_a_video_over_http(aiohttp_client: Any, suno_video_server: VideoServer) -> None:
    async with suno_video_server.client() as client:
        app = web.Application()
        app[CLIENT] = client
        app.router.add_post("/videos/{suno_id}", make)
        browser = await aiohttp_client(app)
        answer = await browser.post("/videos/song")
        assert (await answer.json())["url"].startswith(suno_video_server.url)
    assert_charged_once(suno_video_server)
