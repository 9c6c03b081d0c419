"""Clients that ask too much, never finish, or send nonsense: each gets its answer, and nobody else notices."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest
import websockets
from integration.gateway.neighbours import acknowledges, neighbours_at, said_in
from support.processes import RunningGateway, bearer_of, gateway_process
from support.sessions import open_session
from support.wire import wire
from websockets.frames import Frame, Opcode

from voicebus.bus.bus import Bus
from voicebus_client.dial import Socket

BURST = 10_000
MB = 1_000_000


@pytest.fixture(scope="session")
def abused(redis_url: str) -> Iterator[RunningGateway]:
    limits = {"MESSAGES_PER_SESSION": "20", "MESSAGES_PER_USER": "100000", "REQUEST_S": "1"}
    with gateway_process(redis_url, "gw", **limits) as running:
        yield running


def memory_mb(gateway: RunningGateway) -> float:
    """Resident, in megabytes."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text().split("VmRSS:")[1]
    return int(status.split()[0]) / 1000


async def closed_with(gateway: RunningGateway, code: int) -> int:
    """How many connections, by the gateway's metrics."""
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        told = (await http.get("/metrics")).text
    found = re.search(rf'voicebus_connections_closed_total{{code="{code}"}} (\d+)', told)
    return int(found[1]) if found else 0


async def test_a_burst_of_messages_gets_what_is_allowed_and_an_answer_to_each(
    abused: RunningGateway, gateway_bus: Bus
) -> None:
    sub = uuid4().hex
    session_id = await open_session(gateway_bus, owner=sub)
    async with neighbours_at(abused, gateway_bus, await open_session(gateway_bus)) as neighbours:
        before = memory_mb(abused)
        async with wire(abused, session_id, sub=sub) as client:
            await client.until("welcome")
            messages = [json.dumps({"type": "text", "id": f"m{i}", "content": "hello"}) for i in range(BURST)]

            async def send() -> None:
                for message in messages:
                    await client.socket.send(message)

            sending = asyncio.create_task(send())
            answers = dict[str, str]()
            while len(answers) < BURST:
                got = await client.receive()
                if got["type"] in {"ack", "error"}:
                    answers[got["data"].get("ref") or got["data"]["id"]] = got["data"].get("code", "ok")
            await sending
            grown = memory_mb(abused) - before
        await neighbours.talk()
    outcomes = list(answers.values())
    assert (outcomes.count("ok"), outcomes.count("too_many_messages")) == (20, BURST - 20)
    assert len(await said_in(gateway_bus, session_id)) == 20
    print(f"{BURST} messages in a burst: memory grew by {grown:.1f} MB")
    assert grown < 20


async def test_a_burst_from_a_client_that_reads_nothing_is_held_up(abused: RunningGateway, gateway_bus: Bus) -> None:
    sub = uuid4().hex
    session_id = await open_session(gateway_bus, owner=sub)
    async with neighbours_at(abused, gateway_bus, await open_session(gateway_bus)) as neighbours:
        before = memory_mb(abused)
        async with wire(abused, session_id, sub=sub) as client:
            await client.until("welcome")
            client.socket.transport.pause_reading()
            frame = Frame(Opcode.TEXT, json.dumps({"type": "ping", "x": "y" * 1_000}).encode()).serialize(mask=True)
            for _ in range(60):  # 60 MB, as far as it is taken
                client.socket.transport.write(frame * 1_000)
                await asyncio.sleep(0)
            await neighbours.talk()
            grown = memory_mb(abused) - before
            client.cut()
    print(f"60 MB of questions whose answers are not read: memory grew by {grown:.1f} MB")
    assert grown < 20


@pytest.mark.parametrize("frame", [b"\x81\x80\0\0\0\0", b"\x81\x82\0\0\0\0{}"], ids=["empty", "object"])
async def test_a_megabyte_of_tiny_messages_keeps_nobody_waiting(
    abused: RunningGateway, gateway_bus: Bus, frame: bytes
) -> None:
    session_id = await open_session(gateway_bus)
    async with (
        neighbours_at(abused, gateway_bus, session_id) as neighbours,
        AsyncExitStack() as stack,
    ):
        before = memory_mb(abused)
        clients = [await stack.enter_async_context(wire(abused, session_id)) for _ in range(4)]
        for client in clients:
            await client.until("welcome")
            client.socket.transport.pause_reading()
        for client in clients:
            client.socket.transport.write(frame * (MB // len(frame)))
        await asyncio.sleep(0.1)  # it answers what it has read, until its answers pile up
        for client in clients:
            sock = client.socket.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.socket.transport.abort()  # with a reset
        async with asyncio.timeout(5):
            await neighbours.talk()
        assert memory_mb(abused) - before < 20


@pytest.mark.parametrize("shape", ["one frame", "in pieces"])
async def test_a_message_of_100_mb_is_refused_before_it_is_here(
    abused: RunningGateway, gateway_bus: Bus, shape: str
) -> None:
    session_id = await open_session(gateway_bus)
    async with neighbours_at(abused, gateway_bus, session_id) as neighbours:
        before, refused_before = memory_mb(abused), await closed_with(abused, 1009)
        async with wire(abused, session_id, close_timeout=30) as client:
            await client.until("welcome")
            transport = client.socket.transport
            if shape == "one frame":
                transport.write(b"\x82\xff" + (100 * MB).to_bytes(8, "big") + bytes(4))
            else:
                transport.write(Frame(Opcode.BINARY, b"x", fin=False).serialize(mask=True))
            piece = bytes(MB) if shape == "one frame" else Frame(Opcode.CONT, bytes(MB), fin=False).serialize(mask=True)
            with suppress(RuntimeError):  # the server has said its last word, and the library will say no more
                for _ in range(100):
                    transport.write(piece)
                    await asyncio.sleep(0)
            assert await client.close_code() == 1009
        assert await closed_with(abused, 1009) == refused_before + 1
        grown = memory_mb(abused) - before
        await neighbours.talk()
    print(f"100 MB, {shape}: memory grew by {grown:.1f} MB")
    assert grown < 20


async def test_who_never_reads_an_answer_is_cut_off(redis_url: str, gateway_bus: Bus) -> None:
    session_id, sub = await open_session(gateway_bus), uuid4().hex
    with gateway_process(redis_url, "gw", STALLED_S="1") as gateway:
        request = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nX-A: {sub}\r\n\r\n".encode()
        async with neighbours_at(gateway, gateway_bus, session_id) as neighbours:
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(raw, ("127.0.0.1", gateway.port))

            async def ask() -> None:
                while True:  # the answers fill all buffers
                    await loop.sock_sendall(raw, request * 100)

            with raw, pytest.raises(ConnectionError):
                await asyncio.wait_for(ask(), 20)
            await neighbours.talk()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /ai/health HTTP/1.1\r\nHost: x\r\nX-A: ",
        b"POST /ai/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\n",
    ],
    ids=["nothing", "half a header", "half a body", "half of the second request"],
)
async def test_who_never_finishes_a_request_is_let_go(abused: RunningGateway, gateway_bus: Bus, begun: bytes) -> None:
    async with neighbours_at(abused, gateway_bus, await open_session(gateway_bus)) as neighbours:
        streams = [await asyncio.open_connection("127.0.0.1", abused.port) for _ in range(50)]
        for _, writer in streams:
            writer.write(begun)
        await neighbours.talk()
        async with asyncio.timeout(5):
            for reader, writer in streams:
                await reader.read()  # until the end
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
        async with wire(abused, neighbours.session_id) as client:  # whose request came is not let go
            await client.until("welcome")
            await asyncio.sleep(1.2)
            await client.send(type="text", id="late", content="still here")
            await client.until(acknowledges("late"))


@pytest.mark.parametrize(
    "path",
    [
        "%00",
        "a%00b",
        "%F0%9F%8E%89",
        "..",
        "../x",
        "%2e%2e%2fx",
        "..%2f..%2fetc%2fpasswd",
        "a" * 300,
        "a b",
        "%ff",
        "a|b",
        "{1}",
    ],
)
async def test_ids_that_no_session_can_have(abused: RunningGateway, gateway_bus: Bus, path: str) -> None:
    url = f"{abused.ws}/ai/ws/{path}"
    try:
        async with websockets.connect(url, additional_headers=bearer_of("alice"), create_connection=Socket) as socket:
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4001
    except websockets.InvalidStatus as refused:  # with slashes it is another path, with blanks none
        status = refused.response.status_code
    else:
        status = 404
    assert status in {400, 403, 404}


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("?after=1&after=2", {}, 4400),
        ("?audio=binary&audio=base64", {}, 4400),
        ("", {"Origin": "https://evil.example"}, 4003),
        ("", {"Origin": "null"}, 4003),
        ("?token=x", {}, None),
    ],
)
async def test_what_an_opening_may_say(
    abused: RunningGateway, gateway_bus: Bus, query: str, headers: dict[str, str], code: int | None
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(abused, session_id, query, additional_headers=bearer_of("alice") | headers) as client:
        if code is None:
            await client.until("welcome")
        else:
            assert await client.close_code() == code


@pytest.mark.parametrize("offered", [["soap"], ["voicebus.v2"], ["bearer.x"], ["voicebus.v1", "bearer."]])
async def test_an_unknown_subprotocol_is_not_taken_up(
    abused: RunningGateway, gateway_bus: Bus, offered: list[str]
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(abused, session_id, subprotocols=offered) as client:
        assert client.socket.subprotocol == ("voicebus.v1" if "voicebus.v1" in offered else None)
        await client.until("welcome")


async def test_a_token_of_a_megabyte_is_refused(abused: RunningGateway, gateway_bus: Bus) -> None:
    before = memory_mb(abused)
    async with httpx2.AsyncClient(base_url=abused.url) as http:
        for size in (20_000, MB):
            try:
                answer = await http.get("/ai/sessions", headers={"Authorization": "Bearer " + "x" * size})
                assert answer.status_code in {400, 401}
            except httpx2.TransportError:  # it was closed while the client was still sending
                assert size == MB
    session_id = await open_session(gateway_bus)
    async with wire(abused, session_id) as client:
        await client.send(type="auth", id="a", token="x" * 60_000)
        assert (await client.until("error"))["data"]["code"] == "bad_message"
        await client.send(type="auth", id="b", token="x" * MB)
        assert await client.close_code() == 1009
    assert memory_mb(abused) - before < 20
