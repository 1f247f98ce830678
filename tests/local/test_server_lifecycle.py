"""Starting, stopping, and what keeps a server from starting."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from suno_video_async import MissingExtraError, SunoVideoClient, Track
from suno_video_async.local import ApiKey, Fault, FaultError, LocalServer, LocalServerError
from suno_video_async.local.command import serve
from suno_video_async.local.exchange import ServerRequest
from suno_video_async.local.server import _reachable
from tests.local.fake_service import FakeService, until
from tests.local.serving import Receiver, create, quick

pytestmark = pytest.mark.usefixtures("own_temporary_folder")


async def test_a_stopped_server_leaves_nothing(
    own_temporary_folder: Path, new_threads: Callable[[], list[str]]
) -> None:
    """After the end there are no tasks, threads of ours or files; its counts can still be read."""
    before = asyncio.all_tasks()
    async with quick(render_seconds=3600.0) as server:
        await create(server)
        assert list(own_temporary_folder.iterdir())
    await server.aclose()
    assert list(own_temporary_folder.iterdir()) == []
    assert asyncio.all_tasks() == before
    assert new_threads() == []
    assert server.service.stats()["tasks"] == 1
    with pytest.raises(aiohttp.ClientConnectionError):
        await create(server)


async def test_a_server_can_be_started_again() -> None:
    """Start and stop can be called by hand and repeated; starting twice at once is an error."""
    server = quick()
    with pytest.raises(RuntimeError, match="was not started"):
        _ = server.url
    for _ in range(2):
        await server.start()
        with pytest.raises(RuntimeError, match="is running already"):
            await server.start()
        assert (await create(server))["code"] == 200
        await server.aclose()


async def test_two_servers_do_not_know_each_other() -> None:
    """Two servers in one process have keys, tasks and counts of their own."""
    async with quick() as one, quick() as other:
        assert one.url != other.url
        assert one.api_key != other.api_key
        task_id = (await create(one))["data"]["task_id"]
        assert other.service.stats()["tasks"] == 0
        assert task_id not in str(other.service.tasks())


async def test_a_port_in_use_is_named(own_temporary_folder: Path) -> None:
    """The error says which port is taken and what to do, and nothing is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            LocalServerError, match=rf"^port {port} on 127\.0\.0\.1 is in use.*choose another"
        ) as caught:
            await quick(port=port).start()
    assert isinstance(caught.value, OSError)
    assert list(own_temporary_folder.iterdir()) == []


async def test_a_host_of_somebody_else_is_named() -> None:
    """An address that is not this machine's is an error of the same kind."""
    with pytest.raises(LocalServerError, match=r"^cannot listen on 192\.0\.2\.1 port 0"):
        await quick(host="192.0.2.1").start()


async def test_an_answer_on_its_way_does_not_hold_up_the_stop() -> None:
    """A very slow answer is given up when the server stops."""
    server = quick(faults=[Fault(on="CreateTask", kind="slow:100000")])
    await server.start()
    waiting = asyncio.ensure_future(create(server))
    await until(lambda: server.service.stats()["tasks"])
    async with asyncio.timeout(60):
        await server.aclose()
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting


async def test_rendering_needs_its_extra(monkeypatch: pytest.MonkeyPatch, own_temporary_folder: Path) -> None:
    """Without the packages the error has the line that installs them; simulated rendering needs none."""
    for name in [name for name in sys.modules if name.startswith("suno_video_async.lyricvideo.render")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("av", "numpy", "PIL"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r'pip install "suno-video-async\[local\]"'):
        await LocalServer().start()
    assert list(own_temporary_folder.iterdir()) == []
    async with quick() as server:
        assert (await create(server))["code"] == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"credits": -1}, "credits must be"),
        ({"cost": float("nan")}, "cost must be"),
        ({"max_running": 0}, "max_running must be"),
        ({"time_scale": 0}, "time scale must be"),
        ({"render_seconds": -1}, "render_seconds must be"),
        ({"render_seconds": (1.0, float("inf"))}, "render_seconds must be"),
        ({"size": "tall"}, "size must be"),
        ({"size": (101, 100)}, "even numbers"),
        ({"api_keys": [""]}, "API key is empty"),
        ({"api_keys": ["ak_x "]}, "contains spaces"),
    ],
)
def test_senseless_arguments_are_refused_at_once(options: dict[str, Any], message: str) -> None:
    """An argument that makes no sense is a ValueError that names it."""
    with pytest.raises(ValueError, match=message):
        quick(**options)


async def test_a_bad_faults_file_keeps_it_from_starting(tmp_path: Path, own_temporary_folder: Path) -> None:
    """The error names the file, and no folder is left."""
    path = tmp_path / "faults.toml"
    path.write_text("[[fault]]\non = 'media'\nkind = 'forge'\n")
    with pytest.raises(FaultError, match=r"faults\.toml: fault 1: kind: .* but with callback"):
        await quick(faults=path).start()
    assert list(own_temporary_folder.iterdir()) == []


def test_a_made_up_key_has_the_right_form() -> None:
    """Without keys one is made up, in the form of the provider's; given ones are kept; none is shown."""
    made_up = quick()
    assert made_up.api_key.startswith("ak_")
    assert len(made_up.api_key) == 35
    assert quick(api_keys=["a", "b"]).api_key == "a"
    assert made_up.api_key not in repr(made_up)
    assert len({ApiKey().key, ApiKey().key, made_up.api_key}) == 3


async def test_keys_are_accounts_of_their_own_over_http() -> None:
    """Each key finds its own credits and tasks; another's task is a 404, a disabled key a 403."""
    keys = [
        ApiKey(key="ak_a", name="a", credits=7),
        ApiKey(key="ak_b", name="b"),
        ApiKey(key="ak_c", name="c", disabled=True),
    ]
    async with quick(api_keys=keys) as server, aiohttp.ClientSession(server.url) as session:

        async def get(path: str, key: str) -> Any:
            async with session.get(path, headers={"X-Api-Key": key}) as response:
                return await response.json()

        balance = "/api/v1/client/account/balance"
        told = [await get(balance, key) for key in ("ak_a", "ak_b", "ak_c", "ak_d")]
        assert [one["code"] for one in told] == [200, 200, 403, 401]
        assert [one["data"]["balance"] for one in told[:2]] == [7, 1000]
        task_id = (await create(server))["data"]["task_id"]
        assert (await get(f"/api/v1/client/job/TaskInfo?task_id={task_id}", "ak_a"))["code"] == 200
        assert (await get(f"/api/v1/client/job/TaskInfo?task_id={task_id}", "ak_b"))["code"] == 404
        stats = await get("/_local/stats", "")
        assert stats["keys"]["a"]["charged"] == stats["charged"] == 1
        assert stats["keys"]["c"]["refused"] == {"403": 1}


@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("a.test", "a.test"),
    ],
)
def test_the_url_is_one_that_can_be_reached(host: str, reachable: str) -> None:
    """An address that listens everywhere is shown as loopback, IPv6 in brackets."""
    assert _reachable(host) == reachable


@pytest.mark.parametrize(
    ("remote", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.0.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("192.0.2.7", 403),
        ("::ffff:192.0.2.7", 403),
        (None, 403),
        ("", 403),
    ],
)
def test_the_machines_own_calls_are_for_the_machine(remote: str | None, status: int) -> None:
    """`/_local` answers loopback peers and nobody else."""
    api = FakeService()
    request = ServerRequest(method="GET", path="/_local/stats", remote=remote)
    assert api.service.handle(request).status == status


async def callbacks_ended(server: LocalServer) -> dict[str, int]:
    await until(lambda: sum(server.service.stats()["callbacks"].values()))
    counts: dict[str, int] = server.service.stats()["callbacks"]
    return counts


@pytest.mark.parametrize("refusals", [0, 2])
async def test_a_callback_arrives(receiver: Receiver, refusals: int) -> None:
    """The task's data is POSTed to its URL, again after a refusal, and counted once."""
    receiver.refusals = refusals
    async with quick() as server:
        await create(server, callback_url=receiver.url)
        assert await callbacks_ended(server) == {"sent": 1, "failed": 0, "forged": 0}
        assert len(receiver.received) == refusals + 1
        assert receiver.received[-1] == server.service.tasks()["video"][0]


async def test_a_callback_is_given_up_after_three_tries(receiver: Receiver) -> None:
    """A receiver that refuses three times, or is not there, is not asked again."""
    receiver.refusals = 100
    async with quick() as server:
        await create(server, callback_url=receiver.url)
        assert await callbacks_ended(server) == {"sent": 0, "failed": 1, "forged": 0}
        assert len(receiver.received) == 3
        server.service.reset()
        await create(server, callback_url="http://127.0.0.1:1/")
        assert await callbacks_ended(server) == {"sent": 0, "failed": 1, "forged": 0}


async def test_a_reset_stops_callbacks_that_are_tried_again(receiver: Receiver) -> None:
    """What was to be sent again before a reset is not sent after it."""
    receiver.refusals = 100
    async with quick(time_scale=1.0, render_seconds=0.0) as server:
        await create(server, callback_url=receiver.url)
        await until(lambda: receiver.received)
        sending = list(server._parts.sender._running) if server._parts else []
        server.service.reset()
        await asyncio.wait(sending)
        assert [task.cancelled() for task in sending] == [True]
        assert server.service.stats()["callbacks"] == {"sent": 0, "failed": 0, "forged": 0}
    assert len(receiver.received) == 1


async def test_a_callback_on_its_way_ends_with_the_server(receiver: Receiver) -> None:
    """A server that stops gives its callbacks up at once."""
    receiver.refusals = 100
    async with quick(time_scale=1.0, render_seconds=0.0) as server:
        await create(server, callback_url=receiver.url)
        await until(lambda: receiver.received)
    assert len(receiver.received) == 1


async def test_the_command_says_where_it_listens() -> None:
    """One line tells the address, with the key only if it was made up, and the server runs until cancelled."""
    for keys in ((), ("ak_given",)):
        said: asyncio.Queue[str] = asyncio.Queue()
        options: dict[str, Any] = {"render_seconds": 1.0, "say": said.put_nowait, "warn": said.put_nowait}
        running = asyncio.ensure_future(serve(port=0, api_keys=keys, **options))
        words = (await said.get()).split(" ")
        assert words[:2] == ["listening", "on"]
        assert words[3:-1] == ([] if keys else ["api", "key"])
        key = keys[0] if keys else words[-1]
        async with (
            aiohttp.ClientSession(words[2], headers={"x-api-key": key}) as session,
            session.get("/api/v1/client/account/balance") as response,
        ):
            assert (await response.json())["data"] == {"balance": 1000}
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert said.empty()


@pytest.mark.parametrize("found", [True, False])
async def test_the_command_opens_the_studio(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    """With --open a browser gets the address once the server listens; without a browser that is said."""
    shown, said = list[str](), list[str]()

    def browser(address: str) -> bool:
        shown.append(address)
        return found

    monkeypatch.setattr(webbrowser, "open", browser)
    options: dict[str, Any] = {"render_seconds": 1.0, "say": said.append, "warn": said.append}
    running = asyncio.ensure_future(serve(port=0, opens=True, **options))
    await until(lambda: shown and len(said) == 2 - found)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert shown == [said[0].split(" ")[2] + "/"]
    assert said[1:] == ([] if found else [f"no browser was found: open {shown[0]} in one"])


async def test_the_command_warns_where_others_can_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A host that is not loopback is warned about on stderr; the line on stdout stays one line."""
    running = asyncio.ensure_future(serve(host="0.0.0.0", port=0, render_seconds=1.0))
    out, err = "", ""
    async with asyncio.timeout(60):
        while "\n" not in out:
            await asyncio.sleep(0.005)
            more = capsys.readouterr()
            out, err = out + more.out, err + more.err
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert out.startswith("listening on http://127.0.0.1:")
    assert out.count("\n") == 1
    assert err.startswith("warning: 0.0.0.0 ")


async def test_the_sdk_and_the_server_understand_each_other() -> None:
    """A client submits, follows and reads a balance; the music task's tracks are found."""
    async with (
        quick() as server,
        SunoVideoClient(base_url=server.url, api_key=server.api_key) as client,
    ):
        task = await client.submit(Track(task_id="m1", suno_id="s1", author="Ava"))
        video = await task.result(timeout=60)
        assert video.url.startswith(server.url)
        assert video.credits == 2
        assert await client.balance() == 998
        assert [track.title for track in await client.tracks("task_harbour01")]


@pytest.mark.parametrize("rounds", range(6))
async def test_a_connection_at_the_very_end_is_closed(rounds: int) -> None:
    """Whoever connects while the server stops is let go of, and leaves nothing open."""
    async with LocalServer(render_seconds=1) as server:
        caller = socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        for _ in range(rounds):
            await asyncio.sleep(0)
    caller.close()
    gc.collect()
