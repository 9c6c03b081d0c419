"""How a WebSocket begins, however its request comes; raw bytes over raw sockets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from support.processes import RunningGateway, bearer_of
from support.sessions import open_session
from websockets.frames import Frame, Opcode

from voicebus.bus.bus import Bus

PING = Frame(Opcode.TEXT, b'{"type":"ping"}').serialize(mask=True)
PONG = b'"type":"pong"'


def request(gateway: RunningGateway, path: str, **changed: str | None) -> bytes:
    """A client's request; a header that is None is left out."""
    headers = {
        "Host": f"127.0.0.1:{gateway.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Authorization": bearer_of("alice")["Authorization"],
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode()


@asynccontextmanager
async def raw(gateway: RunningGateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(10):
            yield reader, writer
    finally:
        writer.close()


async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asked: bool = False) -> None:
    """The client is welcomed, and its message answered, which it has sent already if it `asked`."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head  # of the RFC's example
    if not asked:
        writer.write(PING)
    came = b""
    while PONG not in came:
        more = await reader.read(4_096)
        assert more, came
        came += more
    assert b'"type":"welcome"' in came


@pytest.fixture
async def path(gateway_bus: Bus) -> str:
    return f"/ai/ws/{await open_session(gateway_bus)}"


@pytest.mark.parametrize("cuts", [(), (1,), (40,), (-4,), (-1,), (20, 60, 200)])
async def test_a_request_may_come_in_pieces(gateway: RunningGateway, path: str, cuts: Sequence[int]) -> None:
    whole = request(gateway, path)
    places = [0, *(cut % len(whole) for cut in cuts), len(whole)]
    async with raw(gateway) as (reader, writer):
        for first, last in pairwise(places):
            writer.write(whole[first:last])
            await writer.drain()
            await asyncio.sleep(0.02)
        await served(reader, writer)


async def test_a_request_may_follow_others_on_its_connection(gateway: RunningGateway, path: str) -> None:
    async with raw(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(len(b"ok\n"))
        writer.write(request(gateway, path))
        await served(reader, writer)


async def test_what_a_client_says_right_behind_its_request_is_heard(gateway: RunningGateway, path: str) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(request(gateway, path) + PING)
        await served(reader, writer, asked=True)


@pytest.mark.parametrize("connection", ["keep-alive, Upgrade", "upgrade"])
async def test_headers_may_be_written_in_other_ways(gateway: RunningGateway, path: str, connection: str) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(request(gateway, path, Connection=connection, Upgrade="WebSocket"))
        await served(reader, writer)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Sec_WebSocket_Key": None}, 400),
        ({"Sec_WebSocket_Key": "short"}, 400),
        ({"Sec_WebSocket_Key": "ümläut"}, 400),
        ({"Sec_WebSocket_Version": "12"}, 426),
        ({"Sec_WebSocket_Version": None}, 426),
    ],
)
async def test_what_is_no_request_for_a_websocket_is_refused_and_the_connection_closed(
    gateway: RunningGateway, path: str, changed: dict[str, str | None], status: int
) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(request(gateway, path, **changed))
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert (b"Sec-WebSocket-Version: 13\r\n" in answer) == (status == 426)


async def test_where_there_is_nothing_nobody_is_let_in(gateway: RunningGateway) -> None:
    async with raw(gateway) as (reader, writer):
        writer.write(request(gateway, "/ai/elsewhere"))
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
