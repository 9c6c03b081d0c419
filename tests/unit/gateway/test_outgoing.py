"""What one client is sent: live, from the log, and its end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from support.process_tree import until

from gateway.auth import Caller
from gateway.client import Client
from gateway.connections import Connections
from gateway.drain import Drain
from gateway.follower import Batch
from gateway.frames import text_frame
from gateway.link import Link
from gateway.outgoing import Outgoing
from voicebus.bus.bus import Bus
from voicebus.bus.items import EphemeralItem, EventItem, Page
from voicebus.contract.close import Close
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session

EPOCH = "01234567"
QUEUE_MAX = 100
PAGE_MOST = 16
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
    position=Position(epoch=EPOCH, seq=0, speech=0),
)


def event(seq: int, kind: str = "token", **fields: str) -> EventItem:
    more = "".join(f',"{name}":"{value}"' for name, value in fields.items())
    return EventItem(EPOCH, seq, b'{"seq":%d,"type":"%s"%s}' % (seq, kind.encode(), more.encode()))


class Log:
    """Stands for the session's: as much of the bus as a follower needs."""

    def __init__(self) -> None:
        self.log = self
        self.events: list[EventItem] = []
        self.reads = 0

    def publish(self, *events: EventItem) -> list[EventItem]:
        self.events += events
        return list(events)

    async def read(self, _session_id: str, position: Position, **_: Any) -> Page:
        self.reads += 1
        await asyncio.sleep(0)
        head = Position(epoch=EPOCH, seq=len(self.events), speech=0)
        items = self.events[position.seq : position.seq + PAGE_MOST]
        return Page(head.model_copy(update={"seq": position.seq + len(items)}), head, list(items))


class Socket:
    """Stands for the link."""

    def __init__(self) -> None:
        self.blocked = False
        self.written: list[bytes] = []
        self.closed: tuple[int, str] | None = None

    @property
    def frames(self) -> bytes:
        return b"".join(self.written)

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (int(code), reason)


class Joined:
    """A client that was welcomed to an empty session, and what is behind it."""

    def __init__(self, connections: Connections) -> None:
        self.log = Log()
        self.socket = Socket()
        self.client = Client(cast("Link", self.socket), connections, SESSION, Caller("alice", None), lambda: None)
        self.welcomes = 0
        self.outgoing = Outgoing(
            self.client,
            cast("Bus", self.log),
            connections,
            SESSION,
            None,
            audio="base64",
            queue_max=QUEUE_MAX,
            welcome=self._welcome,
        )

    async def _welcome(self, _batch: Batch, _head: Position, _resumed: bool) -> None:
        self.welcomes += 1

    def publish(self, *events: EventItem) -> None:
        self.outgoing.follower.push(self.log.publish(*events))

    def take_all(self) -> None:
        """The client reads again."""
        self.socket.blocked = False
        self.client.roomy()
        self.outgoing.roomy()


@pytest.fixture
async def joined() -> AsyncIterator[Joined]:
    connections = Connections(Drain(0))
    async with connections.open():
        joined = Joined(connections)
        joined.outgoing.start()
        await until(lambda: joined.welcomes == 1)
        yield joined


async def test_what_is_published_while_a_client_joins_is_sent_once() -> None:
    connections = Connections(Drain(0))
    async with connections.open():
        joined = Joined(connections)
        joined.publish(event(1), event(2))  # it can hear, and has not begun to read
        await asyncio.sleep(0)
        joined.outgoing.start()
        joined.publish(event(3))
        await until(lambda: joined.socket.frames.count(b'"seq":3') > 0)
        assert joined.socket.frames == frames_of(joined.log.events)
        assert (joined.welcomes, joined.log.reads) == (1, 1)


def frames_of(events: list[EventItem]) -> bytes:
    return b"".join(text_frame(each.body) for each in events)


async def test_what_is_handed_out_together_is_written_at_once(joined: Joined) -> None:
    joined.publish(*(event(seq) for seq in range(1, 21)))
    await until(lambda: bool(joined.socket.written))
    assert joined.socket.written == [frames_of(joined.log.events)]
    assert joined.log.reads == 1


async def test_a_client_that_reads_again_gets_all_that_waited_in_order(joined: Joined) -> None:
    joined.socket.blocked = True
    for seq in range(1, QUEUE_MAX + 1):
        joined.publish(event(seq))
        await asyncio.sleep(0)
    assert joined.socket.written == []
    joined.take_all()
    await until(lambda: joined.socket.frames == frames_of(joined.log.events))
    assert joined.log.reads == 1


async def test_a_client_that_fell_behind_goes_on_from_the_log(joined: Joined) -> None:
    joined.socket.blocked = True
    for seq in range(1, 3 * QUEUE_MAX):
        joined.publish(event(seq))
    joined.outgoing.follower.push([EphemeralItem(EPOCH, len(joined.log.events), b'{"never":"sent"}')])
    joined.take_all()
    await until(lambda: joined.socket.frames == frames_of(joined.log.events))
    joined.publish(event(3 * QUEUE_MAX))
    await until(lambda: joined.socket.frames == frames_of(joined.log.events))


async def test_what_is_published_while_the_log_is_read_comes_once(joined: Joined) -> None:
    joined.log.publish(*(event(seq) for seq in range(1, 50)))  # nobody heard of it
    joined.publish(event(50))
    for seq in range(51, 60):
        await asyncio.sleep(0)
        joined.publish(event(seq))
    await until(lambda: len(joined.socket.frames) >= len(frames_of(joined.log.events)))
    assert joined.socket.frames == frames_of(joined.log.events)


async def test_the_last_event_of_a_session_ends_the_connection_behind_it(joined: Joined) -> None:
    joined.publish(event(1), event(2, "session_end"))
    await until(lambda: joined.socket.closed is not None)
    assert joined.socket.closed == (Close.ENDED, "session_ended")
    assert joined.socket.frames == frames_of(joined.log.events)


async def test_a_client_that_is_closed_is_written_nothing_more(joined: Joined) -> None:
    joined.client.close(Close.TOKEN, "token_expired")
    joined.publish(event(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert joined.socket.written == []


async def test_what_the_client_is_told_by_itself_names_the_agent_of_the_moment(joined: Joined) -> None:
    joined.publish(event(1, "agent_switch", agent_type="coach"))
    await until(lambda: joined.client.agent == "coach")
