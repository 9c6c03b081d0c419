"""The toolbox as a process of its own, spoken to by a real MCP client, and by `rules` in plain sentences."""

import asyncio
import json
import re
import socket
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from integration.agent_tools.harness import eventually
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult, RequestParamsMeta, TextContent
from unit.agent_rules.invented_servers import Tool

from agent_worker.models.rules.routing import route
from agent_worker.toolbox.settings import ToolboxSettings


@asynccontextmanager
async def toolbox(folder: Path) -> AsyncGenerator[Client]:
    arguments = ["-m", "agent_worker.toolbox", "--families", str(folder / "families.json")]
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=arguments))) as client:
        yield client


async def call(client: Client, tool: str, /, sub: str = "ada", **arguments: Any) -> CallToolResult:
    return await client.call_tool(tool, arguments, meta=cast("RequestParamsMeta", {"voicebus/sub": sub}))


def text(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def tools_of(client: Client) -> list[Tool]:
    return [Tool(tool.name, tool.description, tool.input_schema) for tool in (await client.list_tools()).tools]


SENTENCES: list[tuple[str, str, dict[str, Any], str]] = [
    ("what time is it in new york", "time_in_city", {"city": "new york"}, r"It is \d+:\d\d [AP]M in New York\."),
    ("what day is it today in tokyo", "date_in_city", {"city": "tokyo"}, r"It is \w+day, \w+ \d+, \d{4} in Tokyo\."),
    ("please add twenty three and nineteen", "add", {"numbers": [23, 19]}, r"23 plus 19 is 42\."),
    ("what is 23+19?", "add", {"numbers": [23, 19]}, r"23 plus 19 is 42\."),
    ("how much is twelve times twelve", "multiply", {"numbers": [12, 12]}, r"12 times 12 is 144\."),
    ("subtract five from twenty", "subtract", {"minuend": 20, "subtrahend": 5}, r"20 minus 5 is 15\."),
    ("what is twenty divided by four", "divide", {"dividend": 20, "divisor": 4}, r"20 divided by 4 is 5\."),
    ("what's 15% of 80", "percentage", {"percent": 15, "number": 80}, r"15 percent of 80 is 12\."),
    ("two to the power of ten", "power", {"base": 2, "exponent": 10}, r"2 to the power of 10 is 1024\."),
    ("square root of two", "square_root", {"number": 2}, r"The square root of 2 is about 1\.41421.*"),
    ("which families are there", "list_families", {}, r"There are no families yet\."),
    ("create a family called smith", "create_family", {"name": "smith"}, r"The Smith family was created\."),
    (
        "add anna to the smith family as mother",
        "add_family_member",
        {"family": "smith", "member": "anna", "role": "mother"},
        r"Anna was added to the Smith family as mother\.",
    ),
    ("who is in the smith family", "list_family_members", {"family": "smith"}, r"The Smith family has one member: .*"),
    (
        "remove anna from the smith family",
        "remove_family_member",
        {"family": "smith", "member": "anna"},
        r"Anna was removed from the Smith family\.",
    ),
    ("delete the smith family", "delete_family", {"name": "smith"}, r"The Smith family was deleted\."),
    (
        "describe the table purchase order",
        "describe_table",
        {"table": "purchase order"},
        r"fact_bs_purchase_order is .*",
    ),
    ("search the catalogue for suppliers", "search_catalogue", {"query": "suppliers"}, r"There are \d+ hits .*"),
    ("tell me ten facts about redis", "tell_facts", {"topic": "redis", "count": 10}, r"Redis keeps .*"),
    ("tell me a story of twelve sentences", "tell_story", {"sentences": 12}, r"In a small harbour town .*"),
    ("count to twenty", "count_to", {"number": 20}, r"One, two, three.* twenty\."),
]


async def test_plain_sentences_reach_the_tools_and_are_answered_in_sentences(tmp_path: Path) -> None:
    async with toolbox(tmp_path) as client:
        tools = await tools_of(client)
        for sentence, name, arguments, answer in SENTENCES:
            found = route(sentence, tools, datetime.now(UTC))
            assert (found.tool, found.arguments, found.missing) == (name, arguments, ()), sentence
            result = await call(client, name, **arguments)
            assert not result.is_error, text(result)
            assert re.fullmatch(answer, text(result)), (sentence, text(result))


async def test_it_is_ready_in_less_than_a_second_of_work(tmp_path: Path) -> None:
    arguments = ["-m", "agent_worker.toolbox", "--families", str(tmp_path / "families.json")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    began = time.monotonic()
    process.stdin.write(
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},'
        b'"clientInfo":{"name":"test","version":"0"}}}\n'
    )
    line = await process.stdout.readline()
    took = time.monotonic() - began
    process.stdin.close()
    await process.wait()
    assert json.loads(line)["result"]["serverInfo"]["name"] == "toolbox"
    assert took < 5  # on a busy machine; under one second on an idle one


async def test_tools_say_what_calling_them_twice_does(tmp_path: Path) -> None:
    changing = {"create_family", "add_family_member", "remove_family_member", "delete_family"}
    async with toolbox(tmp_path) as client:
        for tool in (await client.list_tools()).tools:
            hints = tool.annotations
            assert hints
            assert hints.read_only_hint == (tool.name not in changing)
            assert hints.idempotent_hint == (tool.name not in changing)
            assert hints.destructive_hint == (tool.name in {"remove_family_member", "delete_family"})
            assert tool.description
            assert all(one.get("description") for one in tool.input_schema["properties"].values()), tool.name


async def test_families_belong_to_users_and_outlive_the_process(tmp_path: Path) -> None:
    async with toolbox(tmp_path) as client:
        assert text(await call(client, "create_family", name="Smith")) == "The Smith family was created."
        again = await call(client, "create_family", name="the smith family")
        assert again.is_error
        assert "There is a Smith family already." in text(again)
        assert text(await call(client, "list_families", sub="bob")) == "There are no families yet."
    async with toolbox(tmp_path) as client:
        assert text(await call(client, "list_families")) == "There is one family: Smith with no members."
        unknown = await call(client, "list_family_members", family="Jones")
        assert unknown.is_error
        assert "There is no Jones family. There is Smith." in text(unknown)


async def test_tables_are_listed_as_data(tmp_path: Path) -> None:
    async with toolbox(tmp_path) as client:
        listed = await call(client, "list_tables", type="FACT")
        assert listed.structured_content
        assert {"name": "fact_bs_purchase_order", "type": "FACT"} in listed.structured_content["result"]
        assert all(table["type"] == "FACT" for table in listed.structured_content["result"])


async def test_over_http_it_serves_the_same_tools_on_loopback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "agent_worker.toolbox", "--http", str(port), "--families", str(tmp_path / "families.json")
    )
    try:
        await eventually(lambda: listening(port))
        async with Client(f"http://127.0.0.1:{port}/mcp") as client:
            assert text(await call(client, "add", numbers=[23, 19])) == "23 plus 19 is 42."
            assert await status(port, "/livez") == 200
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_over_http_it_ends_soon_though_a_request_is_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "agent_worker.toolbox", "--http", str(port))
    try:
        await eventually(lambda: listening(port))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n"
        )
        writer.write(f"{head}Accept: application/json, text/event-stream\r\n\r\n".encode())
        assert await status(port, "/livez") == 200
        process.terminate()
        async with asyncio.timeout(10):
            await process.wait()
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return int(line.split()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert ToolboxSettings().families_path == tmp_path / "voicebus" / "families.json"
    monkeypatch.setenv("TOOLBOX_FAMILIES", str(tmp_path / "mine.json"))
    assert ToolboxSettings().families_path == tmp_path / "mine.json"
