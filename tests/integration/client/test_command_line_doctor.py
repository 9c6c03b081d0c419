"""What `doctor` says where there is no gateway, or an odd one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from time import time
from typing import Any

import orjson
import pytest

from voicebus_client.cli.doctor import examine
from voicebus_client.cli.findings import Finding
from voicebus_client.cli.settings import Settings

PARTS = {"redis": "ok", "subscriptions": "ok"}


@asynccontextmanager
async def answering(body: Any, *, off_s: float = 0, status: str = "200 OK") -> AsyncIterator[str]:
    """A server that answers every request with this; its clock is so many seconds off."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        date = formatdate(time() + off_s, usegmt=True)
        head = f"HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def findings(url: str) -> dict[str, Finding]:
    return {found.name: found async for found in examine(Settings(url, None))}


async def test_where_nothing_listens_it_says_how_to_start(unused_tcp_port: int) -> None:
    found = await findings(f"http://127.0.0.1:{unused_tcp_port}")
    assert list(found) == ["gateway"]
    assert found["gateway"].mark == "wrong"
    assert "nothing answers" in found["gateway"].text
    assert "--url" in found["gateway"].advice


async def test_where_a_gateway_listens_elsewhere_it_says_so(
    unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering({"version": "0.1.0", "parts": PARTS}) as elsewhere:
        monkeypatch.setattr("voicebus_client.cli.doctor._PORTS", (unused_tcp_port, int(elsewhere.rpartition(":")[2])))
        found = await findings(f"http://127.0.0.1:{unused_tcp_port}")
    assert elsewhere in found["gateway"].advice


async def test_an_address_that_is_none_is_told() -> None:
    found = await findings("127.0.0.1:8000")
    assert (found["address"].mark, list(found)) == ("wrong", ["address"])


@pytest.mark.parametrize("body", [b"<html>welcome", b"[]", {"status": "up"}, {"parts": "fine"}], ids=str)
async def test_what_is_no_gateway_is_told_apart(body: Any) -> None:
    async with answering(body) as url:
        found = await findings(url)
    assert (found["gateway"].mark, list(found)) == ("wrong", ["gateway"])
    assert "no gateway" in found["gateway"].text


@pytest.mark.parametrize(
    ("off_s", "mark"), [(0, "good"), (-6, "warning"), (6, "warning"), (-60, "wrong"), (60, "wrong")]
)
async def test_a_clock_that_is_off_is_noticed(off_s: float, mark: str) -> None:
    async with answering({"version": "0.1.0", "parts": PARTS}, off_s=off_s) as url:
        clock = (await findings(url))["clock"]
    assert clock.mark == mark
    if off_s:
        assert ("ahead" in clock.text) is (off_s < 0)


@pytest.mark.parametrize(("version", "mark"), [("0.1.9", "good"), ("0.2.0", "warning"), ("1.1.0", "warning")])
async def test_versions_that_may_not_fit_are_noticed(version: str, mark: str) -> None:
    async with answering({"version": version, "parts": PARTS}) as url:
        assert (await findings(url))["version"].mark == mark


async def test_a_part_that_is_unwell_is_named_with_its_reason_and_advice() -> None:
    parts = {"redis": "no answer within 2 s", "subscriptions": "ok", "toaster": "cold"}
    async with answering({"version": "0.1.0", "parts": parts}, status="503 Service Unavailable") as url:
        found = await findings(url)
    assert (found["redis"].mark, found["redis"].text) == ("wrong", "no answer within 2 s")
    assert "REDIS_URL" in found["redis"].advice
    assert found["subscriptions"].mark == "good"
    assert (found["toaster"].mark, found["toaster"].text) == ("wrong", "cold")


def stage(**fields: Any) -> dict[str, Any]:
    worker = {"name": "a-1", "version": "0.1.0", "state": "ready", "details": {"model": "rules"}}
    whole = {"state": "healthy", "workers": 1, "held": 0, "capacity": 8, "waiting": 0, "oldest_waiting_s": 0}
    return whole | {"dead_letters": 0, "listed": [worker | fields.pop("worker", {})]} | fields


@pytest.mark.parametrize(
    ("fields", "marks", "said"),
    [
        ({}, ["good", "good"], "model rules"),
        ({"workers": 0, "listed": [], "reason": "no agent worker"}, ["wrong"], "no agent worker"),
        ({"waiting": 3, "oldest_waiting_s": 30}, ["warning", "good"], "3 wait"),
        ({"state": "degraded", "reason": "half of it"}, ["warning", "good"], "half of it"),
        ({"worker": {"state": "silent", "reason": "silent for 9 s"}}, ["good", "warning"], "silent for 9 s"),
        ({"worker": {"version": "0.0.9"}}, ["good", "warning"], "0.0.9"),
        ({"worker": {"details": {"mcp:lights": "down"}}}, ["good", "warning"], "mcp:lights down"),
        ({"dead_letters": 2}, ["good", "good", "warning"], "2 of what agent was to do"),
    ],
    ids=str,
)
async def test_workers_are_shown_as_the_gateway_knows_them(fields: dict[str, Any], marks: list[str], said: str) -> None:
    health = {"version": "0.1.0", "parts": PARTS, "stages": {"agent": stage(**fields), "odd": "as it is"}}
    async with answering(health) as url:
        found = [finding async for finding in examine(Settings(url, None))]
    begin = next(i for i, finding in enumerate(found) if finding.name == "agent")
    shown = found[begin : begin + len(marks)]
    assert [finding.mark for finding in shown] == marks
    assert any(said in finding.text for finding in shown)
    assert (found[begin + len(marks)].name, found[begin + len(marks)].text) == ("odd", "as it is")
