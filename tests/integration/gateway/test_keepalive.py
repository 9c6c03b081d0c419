"""Clients that are there and clients that are not: two pings tell them apart."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from time import monotonic

import httpx2
import pytest
from support.process_tree import until
from support.processes import RunningGateway, gateway_process
from support.sessions import open_session
from support.wire import Wire, wire
from websockets.frames import Frame, Opcode
from websockets.protocol import State

from voicebus.bus.bus import Bus

INTERVAL_S = 0.4


@pytest.fixture(scope="module")
def quick_gateway(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, "gw", PING_INTERVAL_S=str(INTERVAL_S)) as gateway:
        yield gateway


class Pings:
    """Counts the pings that a client gets; `answers` says of each, by number from 1, whether it is answered."""

    def __init__(self, client: Wire, answers: Callable[[int], bool]) -> None:
        self.count = 0
        self._answers = answers
        self._send = client.socket.protocol.send_frame
        client.socket.protocol.send_frame = self._filtered  # type: ignore[method-assign]

    def _filtered(self, frame: Frame) -> None:
        if frame.opcode is Opcode.PONG:
            self.count += 1
            if not self._answers(self.count):
                return
        self._send(frame)


async def test_a_client_is_closed_after_two_unanswered_pings(quick_gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    async with (
        wire(quick_gateway, session_id, ping_interval=None) as silent,
        wire(quick_gateway, session_id, ping_interval=None) as sleepy,
        wire(quick_gateway, session_id, ping_interval=None) as lively,
    ):
        begun = monotonic()
        unanswered = Pings(silent, lambda number: False)
        every_other = Pings(sleepy, lambda number: number % 2 == 0)
        answered = Pings(lively, lambda number: True)
        assert await silent.close_code() == 1011
        assert silent.socket.close_reason == "keepalive ping timeout"
        assert unanswered.count == 2
        assert monotonic() - begun > 2.5 * INTERVAL_S
        for client, pings in ((sleepy, every_other), (lively, answered)):
            await until(lambda: pings.count >= 7 or client.socket.state is not State.OPEN)  # noqa: B023 - awaited
            assert pings.count >= 7


async def test_who_answers_late_lives_and_who_answers_what_was_not_asked_does_not(
    quick_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with (
        wire(quick_gateway, session_id, ping_interval=None) as late,
        wire(quick_gateway, session_id, ping_interval=None) as odd,
    ):
        answers: list[Frame] = []
        send = late.socket.protocol.send_frame

        def one_ping_late(frame: Frame) -> None:
            if frame.opcode is Opcode.PONG:
                answers.append(frame)
                frame = answers[-2] if len(answers) > 1 else Frame(Opcode.PONG, b"early")
            send(frame)

        late.socket.protocol.send_frame = one_ping_late  # type: ignore[method-assign]
        tell = odd.socket.protocol.send_frame
        odd.socket.protocol.send_frame = lambda frame: tell(  # type: ignore[method-assign]
            Frame(Opcode.PONG, b"hello") if frame.opcode is Opcode.PONG else frame
        )
        assert await odd.close_code() == 1011
        await until(lambda: len(answers) >= 7 or late.socket.state is not State.OPEN)
        assert len(answers) >= 7


async def connections(gateway: RunningGateway) -> float:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("voicebus_connections "))


@pytest.mark.parametrize("ended", [False, True], ids=["while the session is open", "when the session ends"])
async def test_a_client_that_reads_nothing_more_is_dropped_with_what_waits_for_it(
    quick_gateway: RunningGateway, gateway_bus: Bus, ended: bool
) -> None:
    session_id = await open_session(gateway_bus)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", quick_gateway.port))
    async with wire(quick_gateway, session_id, sock=raw, ping_interval=None) as client:
        await client.until("welcome")
        client.socket.transport.pause_reading()
        for n in range(200):
            await gateway_bus.inbox.submit(session_id, f"{n}" + "x" * 60_000, agent_type="personal")
            if n % 60 == 0:
                await drop_mail(gateway_bus, session_id)
        if ended:
            await gateway_bus.sessions.end(session_id, "deleted")
        gone = monotonic() + 10 * INTERVAL_S + 2
        while (still := await connections(quick_gateway)) and monotonic() < gone:  # noqa: ASYNC110 - another process
            await asyncio.sleep(INTERVAL_S / 4)
        assert not still
        client.cut()


async def test_a_client_whose_machine_takes_what_it_does_not_read_is_dropped_while_events_come(
    quick_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(quick_gateway, session_id, ping_interval=None) as client:
        await client.until("welcome")
        client.socket.transport.pause_reading()
        gone = monotonic() + 10 * INTERVAL_S + 2
        while (still := await connections(quick_gateway)) and monotonic() < gone:
            await gateway_bus.inbox.submit(session_id, "x", agent_type="personal")
            await drop_mail(gateway_bus, session_id)
        assert not still
        client.cut()


async def test_a_client_that_reads_slowly_is_not_taken_for_dead(
    quick_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    for n in range(20):
        await gateway_bus.inbox.submit(session_id, f"{n}" + "x" * 60_000, agent_type="personal")
    await drop_mail(gateway_bus, session_id)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", quick_gateway.port))
    async with wire(quick_gateway, session_id, "?after=0", sock=raw, ping_interval=None) as client:
        await client.until("welcome")
        begun = monotonic()
        pings = Pings(client, lambda number: True)
        while monotonic() - begun < 8 * INTERVAL_S:
            client.socket.transport.pause_reading()
            await asyncio.sleep(INTERVAL_S / 8)
            client.socket.transport.resume_reading()
            await asyncio.sleep(0)  # for its socket to be looked at
            await asyncio.sleep(0)  # for what is in it to be read
        assert not pings.count  # they wait behind what it has not read
        await client.until(lambda event: event.get("seq") == 21)
        await gateway_bus.inbox.submit(session_id, "still here?", agent_type="personal")
        await client.until(lambda event: event.get("seq") == 22)


async def drop_mail(bus: Bus, session_id: str) -> None:
    """As if an agent had answered."""
    await bus.calls.command("XTRIM", bus.keys.of(session_id).mail("agent"), "MAXLEN", 0)
