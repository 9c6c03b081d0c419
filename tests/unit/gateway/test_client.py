"""One client's tasks, and how they end with it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import cast

import pytest

from gateway.auth import Caller
from gateway.client import GONE, Client, Closed
from gateway.connections import Connections
from gateway.drain import Drain
from gateway.link import Link
from voicebus.contract.close import Close
from voicebus.contract.errors import Refused
from voicebus.contract.events import Pong
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session

SESSION = Session(
    session_id="s",
    owner="alice",
    members=(),
    agent_type="personal",
    mode="text",
    status="open",
    context={},
    created_at=datetime.now(UTC),
    ttl_s=60,
    turn=0,
    active_turn=None,
    position=Position(epoch="01234567", seq=0, speech=0),
)


class Socket:
    """Stands for the link."""

    def __init__(self) -> None:
        self.blocked = False
        self.written: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (int(code), reason)


class Ends:
    """How often the client was said to be over."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
async def connections() -> AsyncIterator[Connections]:
    shared = Connections(Drain(0))
    async with shared.open():
        yield shared


@pytest.fixture
def socket() -> Socket:
    return Socket()


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def client(socket: Socket, connections: Connections, ends: Ends) -> Client:
    return Client(cast("Link", socket), connections, SESSION, Caller("alice", None), ends)


async def test_who_tells_waits_while_the_client_does_not_read(client: Client, socket: Socket) -> None:
    socket.blocked = True
    telling = asyncio.create_task(client.tell(Pong))
    await asyncio.sleep(0)
    client.roomy()  # but it is blocked again before anybody has written
    for _ in range(3):
        await asyncio.sleep(0)
    assert socket.written == []
    socket.blocked = False
    client.roomy()
    await asyncio.wait_for(telling, 5)
    assert len(socket.written) == 1


async def test_who_waits_for_room_goes_on_when_the_client_is_gone(client: Client, socket: Socket) -> None:
    socket.blocked = True
    waiting = asyncio.create_task(client.room())
    await asyncio.sleep(0)
    client.end(GONE)
    await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Closed(Close.ENDED, "session_ended"), Close.ENDED, "session_ended"),
        (Refused("too_slow"), Close.TOO_SLOW, "too_slow"),
        (ValueError("a bug"), Close.INTERNAL, ""),
    ],
)
async def test_what_a_task_raises_ends_the_connection_once(
    client: Client, socket: Socket, ends: Ends, error: Exception, code: int, reason: str
) -> None:
    others = asyncio.Event()

    async def work() -> None:
        raise error

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            others.set()

    client.start(other())
    await asyncio.sleep(0)
    client.start(work())
    await asyncio.wait_for(others.wait(), 5)
    assert socket.closed == (code, reason)
    assert (client.is_over, ends.count) == (True, 1)
    client.end(GONE)
    client.close(Close.DRAINING)
    assert ends.count == 1


async def test_what_a_client_said_last_is_carried_out_but_not_for_one_that_was_sent_away(
    client: Client, connections: Connections, socket: Socket
) -> None:
    sent_away = Client(cast("Link", socket), connections, SESSION, client.caller, Ends())
    carried_out, go = set[str](), asyncio.Event()

    async def work(name: str) -> None:
        await go.wait()
        carried_out.add(name)

    for name, of in (("gone", client), ("sent away", sent_away)):
        of.start(work(name), goes_on=True)
    client.start(work("not asked for any more"))
    await asyncio.sleep(0)
    client.end(GONE)
    sent_away.close(Close.TOKEN)
    go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert carried_out == {"gone"}


async def test_nothing_is_begun_for_one_that_is_over(client: Client) -> None:
    client.end(GONE)
    begun = False

    async def work() -> None:
        nonlocal begun
        begun = True

    client.start(work())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not begun
