"""What one client says: its order, and how much of it is read ahead."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import pytest
from support.process_tree import until

from gateway.auth import Caller
from gateway.client import Client
from gateway.connections import Connections
from gateway.drain import Drain
from gateway.incoming import Incoming
from gateway.link import Link
from gateway.outgoing import Outgoing
from gateway.settings import GatewaySettings
from gateway.state import Gateway
from voicebus.bus.inbox import Accepted, AudioOpened
from voicebus.bus.lane import Addressee, PartKeys
from voicebus.contract.close import Close
from voicebus.contract.errors import Refused
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session

READ_AHEAD = 16
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
PING = '{"type":"ping"}'


def text(number: int) -> str:
    return f'{{"type":"text","id":"t{number}","content":"{number}"}}'


class Socket:
    """Stands for the link."""

    def __init__(self) -> None:
        self.blocked = False
        self.reading = True
        self.at_ticks = False
        self.told: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    def write(self, frames: bytes) -> None:
        self.told.append(orjson.loads(frames[frames.index(b"{") :]))

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (int(code), reason)

    def read_at(self, ticks: object, *_: object) -> None:
        self.at_ticks = ticks is not None

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Bus:
    """Stands for the bus and the limits: notes messages, each after a moment, and refuses one when told to."""

    def __init__(self) -> None:
        self.settings = GatewaySettings(jwt_secret="s" * 32)
        self.bus = self.inbox = self.admission = self.limits = self
        self.said: list[str] = []
        self.error: Exception | None = None

    async def message(self, *_: Any, **__: Any) -> None:
        await asyncio.sleep(0)

    def audio_keys(self, _session: str) -> PartKeys:
        return PartKeys.of()

    async def audio_number(self, *_: Any) -> int:
        return 1

    async def audio_start(self, *_: Any) -> AudioOpened:
        return AudioOpened(0, 1)

    def admit(self, *_: Any, **__: Any) -> None:
        pass

    def send_audio(self, to: Addressee, *_: Any) -> None:
        to.set_result([b"taken"])

    async def audio(self, *where: Any) -> int:
        if len(where) == 5 and isinstance(where[4], bytes):  # as the inbox; else it is what the limits have
            raise Refused("audio_taken_over")
        return 0

    async def submit(self, _session: str, content: str, **_: Any) -> Accepted:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        self.said.append(content)
        return Accepted(len(self.said))


class Speaker:
    """A client and what is behind it."""

    def __init__(self, connections: Connections) -> None:
        self.socket, self.bus = Socket(), Bus()
        self.bus.connections = connections  # type: ignore[attr-defined]
        client = Client(cast("Link", self.socket), connections, SESSION, Caller("alice", None), lambda: None)
        outgoing = cast("Outgoing", type("Sends", (), {"stopwatch": None}))
        self.incoming = Incoming(
            client, cast("Gateway", self.bus), outgoing, mode="text", address="", renewed=lambda _: None
        )
        self.client = client


@pytest.fixture
async def speaker() -> AsyncIterator[Speaker]:
    connections = Connections(Drain(0))
    async with connections.open():
        yield Speaker(connections)


async def test_what_is_said_before_the_welcome_waits_and_keeps_its_order(speaker: Speaker) -> None:
    for number in range(5):
        speaker.incoming.heard(text(number))
    for _ in range(20):
        await asyncio.sleep(0)
    assert speaker.bus.said == []
    speaker.incoming.begin(None)
    speaker.incoming.heard(text(5))
    await until(lambda: len(speaker.bus.said) == 6)
    assert speaker.bus.said == [str(number) for number in range(6)]
    await until(lambda: len(speaker.socket.told) == 6)
    assert [(each["type"], each["data"]["id"]) for each in speaker.socket.told] == [
        ("ack", f"t{number}") for number in range(6)
    ]


async def test_a_socket_is_not_read_while_too_much_of_it_waits(speaker: Speaker) -> None:
    speaker.incoming.begin(None)
    speaker.socket.blocked = True  # so that what was said first can't be answered
    speaker.incoming.heard(PING)
    await asyncio.sleep(0)
    for _ in range(READ_AHEAD):
        assert speaker.socket.reading
        speaker.incoming.heard(PING)
    assert not speaker.socket.reading
    speaker.socket.blocked = False
    speaker.client.roomy()
    await until(lambda: len(speaker.socket.told) == READ_AHEAD + 1)
    assert speaker.socket.reading


async def test_who_says_nonsense_is_told_and_goes_on(speaker: Speaker) -> None:
    speaker.incoming.begin(None)
    for said in ("{", '{"type":"text","id":"a"}', text(1)):
        speaker.incoming.heard(said)
    await until(lambda: len(speaker.socket.told) == 3)
    assert [each["type"] for each in speaker.socket.told] == ["error", "error", "ack"]
    assert speaker.socket.told[1]["data"]["ref"] == "a"
    assert speaker.bus.said == ["1"]


async def test_who_speaks_to_a_session_that_has_ended_is_sent_away(speaker: Speaker) -> None:
    speaker.incoming.begin(None)
    speaker.bus.error = Refused("session_ended")
    speaker.incoming.heard(text(1))
    await until(lambda: speaker.socket.closed is not None)
    assert speaker.socket.closed == (Close.ENDED, "session_ended")


async def test_who_loses_its_stream_is_not_read_at_ticks_any_more(speaker: Speaker) -> None:
    speaker.incoming.begin(None)
    speaker.incoming.heard('{"type":"audio.start","id":"1","stream":"s","format":"pcm16"}')
    await until(lambda: speaker.socket.at_ticks)
    speaker.incoming.heard(b"ab")
    await until(lambda: not speaker.socket.at_ticks)
    await until(lambda: speaker.socket.told[-1]["type"] == "error")
    assert speaker.socket.told[-1]["data"]["code"] == "audio_taken_over"
