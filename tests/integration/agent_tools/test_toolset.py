"""Several servers as one set of tools."""

import sys
from pathlib import Path

from integration.agent_tools.harness import call, eventually, now, stdio, toolset

from agent_worker.tools.config import ServerOptions, StdioServer, ToolOptions, default_servers


async def test_a_name_that_two_servers_use_says_whose_it_is(tmp_path: Path) -> None:
    one = stdio(tmp_path / "one", "one", voicebus=ServerOptions(tools={"weather": ToolOptions(enabled=False)}))
    two = stdio(tmp_path / "two", "two")
    async with toolset(one, two) as tools:
        names = [definition.name for definition in tools.definitions()]
        assert {"one__add", "two__add", "weather"} <= set(names)
        assert {"add", "one__weather", "two__weather"}.isdisjoint(names)
        assert (await call(tools, "one__whoami")).content != (await call(tools, "two__whoami")).content
        assert (await call(tools, "two__weather", city="Oslo")).outcome == "ok"  # also where it isn't needed
        assert (await call(tools, "whoami")).content == (await call(tools, "one__whoami")).content
        assert (await call(tools, "one__weather", city="Oslo")).outcome == "error"  # switched off


async def test_a_server_that_cannot_start_does_not_hinder_the_others(tmp_path: Path) -> None:
    missing = StdioServer(name="missing", command=str(tmp_path / "no such program"))
    broken = StdioServer(name="broken", command=sys.executable, args=("-c", "raise SystemExit(3)"))
    silent = StdioServer(name="silent", command=sys.executable, args=("-c", "import time; time.sleep(60)"))
    began = now()
    async with toolset(missing, broken, silent, stdio(tmp_path), ready_within_s=1) as tools:
        assert now() - began < 3
        await eventually(lambda: tools.status()[3].up)
        assert [status.up for status in tools.status()] == [False, False, False, True]
        assert "No such file" in str(tools.status()[0].error)
        assert (await call(tools, "add", a=1, b=1)).content == 2


async def test_what_the_configuration_says_about_a_tool_goes_before_its_annotations(tmp_path: Path) -> None:
    options = ServerOptions(
        tools={
            "note": ToolOptions(idempotent=True),
            "add": ToolOptions(read_only=False),
            "*": ToolOptions(enabled=False),
        }
    )
    async with toolset(stdio(tmp_path, voicebus=options)) as tools:
        assert [definition.name for definition in tools.definitions()] == ["add", "note"]
        assert tools.annotations("note").idempotent
        assert not tools.annotations("add").repeatable


async def test_the_toolbox_is_used_without_a_configuration() -> None:
    async with toolset(*default_servers({})) as tools:
        assert tools.status()[0].up
        assert len(tools.definitions()) >= 3
