"""A server behind streamable HTTP: broken connections cost single calls, and the server may come and go."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from integration.agent_tools.harness import LEGACY_SERVER, HttpProcess, call, eventually, http, lines, relay, toolset

from agent_worker.tools.config import HttpServer, ServerOptions


@pytest.fixture(params=["http", "http-json"])  # answers as streams of events, or as JSON
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[HttpProcess]:
    async with http(tmp_path, request.param) as process:
        yield process


async def test_a_reset_connection_costs_its_own_call_only(server: HttpProcess, tmp_path: Path) -> None:
    async with relay(server.port) as cutter, toolset(server.config(port=cutter.port)) as tools:
        async with asyncio.TaskGroup() as tasks:
            neighbours = [
                tasks.create_task(call(tools, "echo_once", text=f"neighbour {i}", gate="gate")) for i in range(4)
            ]
            noted = tasks.create_task(call(tools, "note", text="cut"))
            put = tasks.create_task(call(tools, "put", text="again"))
            await eventually(lambda: len(lines(tmp_path / "started")) == 4)
            await eventually(lambda: bool(lines(tmp_path / "notes")) and bool(lines(tmp_path / "puts")))
            assert cutter.reset(b'"note"') == 1
            assert cutter.reset(b'"put"') == 1
            assert (await noted).outcome == "unknown"
            assert (await put).content == "again"
            (tmp_path / "gate").touch()
        assert [task.result().content for task in neighbours] == [f"neighbour {i}" for i in range(4)]
        assert len(lines(tmp_path / "started")) == 4
        assert lines(tmp_path / "notes") == ["cut"]
        assert lines(tmp_path / "puts") == ["again", "again"]


async def test_a_server_that_was_killed_is_used_again_when_it_is_back(server: HttpProcess, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    async with toolset(server.config()) as tools:
        await server.kill()
        waiting = asyncio.create_task(call(tools, "note", text="patience"))  # never sent: it may wait
        await eventually(lambda: not tools.status()[0].up)
        await eventually(lambda: "can't be reached" in str(tools.status()[0].error))
        await server.start()
        assert (await waiting).content == "patience"
        assert lines(tmp_path / "notes") == ["patience"]
        assert tools.status()[0].up


async def test_cancelling_and_time_outs_reach_the_server(tmp_path: Path) -> None:
    options = ServerOptions(timeout_s=1)
    async with http(tmp_path) as server, toolset(server.config(voicebus=options)) as tools:
        noted = asyncio.create_task(call(tools, "note", text="called off"))
        await eventually(lambda: lines(tmp_path / "notes") == ["called off"])
        noted.cancel()
        await eventually(lambda: lines(tmp_path / "cancelled") == ["called off"])
        assert (await call(tools, "note", text="too slow")).outcome == "unknown"
        await eventually(lambda: lines(tmp_path / "cancelled") == ["called off", "too slow"])
        assert (await call(tools, "add", a=1, b=1)).content == 2


async def test_a_tool_that_appears_later_is_offered(tmp_path: Path) -> None:
    async with http(tmp_path) as server, toolset(server.config()) as tools:
        assert (await call(tools, "grow", name="plus")).outcome == "ok"
        await eventually(lambda: "plus" in [definition.name for definition in tools.definitions()])


async def test_a_session_that_the_server_forgot_is_opened_anew_and_the_call_made_once(tmp_path: Path) -> None:
    async with http(tmp_path, script=LEGACY_SERVER) as server, toolset(server.config()) as tools:
        first = await call(tools, "count")
        (tmp_path / "forget").touch()
        second = await call(tools, "count")
        assert (first.content, second.content) == ("call 2", "call 4")  # 1 and 3 were the sessions


async def test_headers_are_sent_and_a_refusal_is_told(tmp_path: Path) -> None:
    """A Host that the server does not accept stands for every 4xx."""
    async with http(tmp_path) as server:
        refused = server.config(headers={"Host": "elsewhere.example"})
        async with toolset(refused) as tools:
            (status,) = tools.status()
            assert not status.up
            assert "421" in str(status.error)


async def test_nothing_listens_there(tmp_path: Path) -> None:
    async with http(tmp_path) as server:
        pass
    nowhere = HttpServer(name="nowhere", url=f"http://127.0.0.1:{server.port}/mcp")
    async with toolset(nowhere) as tools:
        assert tools.definitions() == []
        assert "can't be reached" in str(tools.status()[0].error)
