"""A client that reads slowly: served from the log, at its own cost only."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from integration.gateway.here import gateway_here
from integration.gateway.neighbours import said_in
from jose import jwt
from support.processes import SECRET, RunningGateway, gateway_process
from support.report import Show
from support.sessions import open_session
from support.wire import Wire, wire
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads

SIZE = 8_000  # bytes of an event
TOGETHER = 10  # events in one write, and one that is ephemeral
WRITES = 300  # 24 MB: more than sockets hold


@pytest.fixture(scope="module")
def small_gateway(redis_url: str) -> object:
    with gateway_process(redis_url, "gw", QUEUE_MAX="64") as gateway:
        yield gateway


@asynccontextmanager
async def slow_wire(gateway: RunningGateway, session_id: str, **options: Any) -> AsyncIterator[Wire]:
    """A client that reads nothing behind its welcome until it is told to; its socket holds little."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", gateway.port))
    async with wire(gateway, session_id, sock=raw, max_queue=1, **options) as client:
        await client.until("welcome")
        client.socket.transport.pause_reading()
        yield client


async def write(lease: Lease, session_id: str, writes: int) -> None:
    token = events.Token(session_id=session_id, turn=1, data=payloads.TokenData(token="x" * SIZE, response_id="r"))
    typing = events.Thinking(session_id=session_id, turn=1, data=payloads.StatusData(status="thinking"))
    for _ in range(writes):
        emission = Emission(1, "r")
        for _ in range(TOGETHER):
            emission.event(token)
        await lease.emit(emission.ephemeral(typing))


async def an_answered_session(bus: Bus) -> tuple[str, Lease]:
    session_id = await open_session(bus, "hello")
    lease = await bus.stages("agent", "w").lease(session_id)
    assert lease is not None
    return session_id, lease


def resident_bytes(gateway: RunningGateway) -> int:
    return int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1]) * 4_096


async def test_a_slow_client_is_served_from_the_log_and_nobody_waits_for_it(
    small_gateway: RunningGateway, gateway_bus: Bus, show: Show
) -> None:
    session_id, lease = await an_answered_session(gateway_bus)
    async with slow_wire(small_gateway, session_id) as slow, wire(small_gateway, session_id) as quick:
        await quick.until("welcome")
        before = resident_bytes(small_gateway)
        for _ in range(WRITES):
            await write(lease, session_id, 1)
            await quick.until("thinking")
        grown = resident_bytes(small_gateway) - before
        durable = [message["seq"] for message in quick.seen if message["type"] == "token"]
        assert durable == list(range(3, 3 + WRITES * TOGETHER))
        assert [message["type"] for message in quick.seen].count("thinking") == WRITES
        assert grown < WRITES * TOGETHER * SIZE / 2

        slow.socket.transport.resume_reading()
        await slow.until(lambda message: message.get("seq") == durable[-1])
        assert [message["seq"] for message in slow.seen if message["type"] == "token"] == durable
        came = [message["type"] for message in slow.seen].count("thinking")
        show(f"grown by {grown / 1e6:.1f} MB for {WRITES * TOGETHER * SIZE / 1e6:.0f} MB; {came} ephemeral events came")
        assert came < WRITES / 2
        await write(lease, session_id, 1)
        await slow.until("thinking")  # live again


async def test_a_client_behind_what_is_kept_is_closed_and_told_what_it_missed(
    small_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id, lease = await an_answered_session(gateway_bus)
    async with slow_wire(small_gateway, session_id) as slow, wire(small_gateway, session_id) as quick:
        await quick.until("welcome")
        await write(lease, session_id, WRITES)
        head = 2 + WRITES * TOGETHER
        await quick.until(lambda message: message.get("seq") == head)
        await gateway_bus.calls.command("XTRIM", gateway_bus.keys.of(session_id).log, "MINID", f"{head - 9}-0")
        slow.socket.transport.resume_reading()
        with suppress(ConnectionClosed):
            await slow.until("gap")
        assert slow.socket.close_code == 4508
        got = [message["seq"] for message in slow.seen if message["type"] == "token"]
        assert got == list(range(3, 3 + len(got)))
        await quick.send(type="ping")
        await quick.until("pong")
    epoch = slow.seen[0]["data"]["epoch"]
    async with wire(small_gateway, session_id, f"?epoch={epoch}&after={got[-1]}") as again:
        gap = await again.until("gap")
        assert gap["data"] == {"stream": "events", "from": got[-1] + 1, "to": head - 10, "reason": "trimmed"}
        assert (await again.receive())["type"] == "state_snapshot"
        assert [(await again.receive())["seq"] for _ in range(10)] == list(range(head - 9, head + 1))


async def test_who_reads_nothing_can_say_nothing_once_its_token_has_expired(
    redis_url: str, gateway_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.connection._WARN_BEFORE_EXPIRY_S", 1)
    session_id, lease = await an_answered_session(gateway_bus)
    async with gateway_here(redis_url, jwt_leeway_s=0) as gateway:
        expires_s = int(time.time()) + 8
        claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "iat": expires_s - 60, "exp": expires_s}
        header = {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}
        async with slow_wire(gateway, session_id, additional_headers=header) as client:
            await write(lease, session_id, WRITES)  # its socket is full before it is warned
            await asyncio.sleep(max(0.0, expires_s - time.time()) + 0.2)
            before = await said_in(gateway_bus, session_id)
            transport = client.socket.transport
            async with asyncio.timeout(15):
                while not transport.is_closing():
                    text = Frame(Opcode.TEXT, b'{"type":"text","content":"too late"}').serialize(mask=True)
                    transport.write(text + Frame(Opcode.PONG, b"here").serialize(mask=True))
                    await asyncio.sleep(0.05)
        assert await said_in(gateway_bus, session_id) == before
