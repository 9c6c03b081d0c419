"""A client that is cut off after every frame, and goes on at the other gateway, gets what an undisturbed one gets."""

import asyncio
import socket
import struct
from itertools import pairwise
from typing import Any

import pytest
from support.processes import RunningGateway
from support.report import Show
from support.wire import Message, Wire, wire

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus

QUESTION = "please add twenty three and nineteen"
CLIENTS = 12  # with two more, and two not yet noticed to be gone, as many of a session as a gateway takes
LASTING = "after=0&speech=0&audio=binary"


class Listener:
    """Keeps what lasts of what it is sent, and knows where it stands."""

    def __init__(self) -> None:
        self.got: list[Message] = []  # durable events and speech, in the order of their arrival
        self.epoch = ""
        self.seq = 0
        self.n = 0

    def take(self, message: Message) -> None:
        if message["type"] == "welcome":
            self.epoch = message["data"]["epoch"]
        elif message["type"] == "tts":
            self.n = message["data"]["n"]
            self.got.append(message)
        elif "seq" in message:
            self.seq = message["seq"]
            self.got.append(message)

    @property
    def query(self) -> str:
        return f"?epoch={self.epoch}&after={self.seq}&speech={self.n}&audio=binary"

    @property
    def done(self) -> bool:
        """Whether the answer is complete, with all that is spoken of it."""
        ends = (message["data"]["segments"] - 1 for message in self.got if message["type"] == "response")
        last = next(ends, None)
        return any(
            message["type"] == "tts" and message["data"]["segment"] == last and message["data"]["is_last"]
            for message in self.got
        )


def name(message: Message) -> tuple[str, int]:
    return ("speech", message["data"]["n"]) if message["type"] == "tts" else ("event", message["seq"])


def place(message: Message) -> tuple[int, int]:
    """Where a message belongs: speech behind the event that it names."""
    data = message["data"]
    return (data["after_seq"], data["n"]) if message["type"] == "tts" else (message["seq"], 0)


def reset(client: Wire) -> None:
    """Ends the connection by an RST: what is on its way in either direction is lost."""
    raw: Any = client.socket.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.cut()


async def listen_on(gateway: RunningGateway, session_id: str, listener: Listener, ready: asyncio.Event) -> None:
    """One connection until the answer is complete."""
    async with wire(gateway, session_id, f"?{LASTING}") as client:
        listener.take(await client.until("welcome"))
        ready.set()
        while not listener.done:
            listener.take(await client.receive())


class InPieces(Listener):
    """Goes from gateway to gateway, and is cut off there after so many frames; counts what it went through."""

    def __init__(self, first: int, then: int) -> None:
        super().__init__()
        self.cuts = 0
        self.live = 0  # events that came live
        self._first = first
        self._then = then

    async def listen(self, gateways: list[RunningGateway], session_id: str, joined: asyncio.Barrier) -> None:
        """Until the answer is complete; everyone has joined before it begins."""
        while not self.done:
            async with wire(gateways[(self._first + self.cuts) % 2], session_id, self.query) as client:
                welcome = await client.receive()
                self.take(welcome)
                if not self.cuts:
                    await joined.wait()
                left = self._then if self.cuts else self._first
                while left and not self.done:
                    message = await client.receive()
                    self.live += message.get("seq", 0) > welcome["data"]["seq"]
                    self.take(message)
                    left -= 1
                reset(client)
            self.cuts += 1


class Asking(Listener):
    """Asks the question, and has a connection for each frame; each third one is cut behind its welcome already."""

    def __init__(self) -> None:
        super().__init__()
        self.cuts = 0

    async def listen(self, gateways: list[RunningGateway], session_id: str) -> None:
        """Until the answer is complete; asks until that is acknowledged."""
        acked = False
        while not self.done:
            async with wire(gateways[self.cuts % 2], session_id, self.query) as client:
                self.take(await client.receive())
                if not acked:
                    await client.send(type="text", id="q", content=QUESTION)
                if self.cuts % 3:
                    message = await client.receive()
                    acked = acked or message["type"] == "ack"
                    self.take(message)
                reset(client)
            self.cuts += 1


async def test_cut_after_every_frame_nothing_is_lost_repeated_or_misplaced(
    gateways: list[RunningGateway], voicebus: Voicebus, show: Show
) -> None:
    """One client is cut after each frame; of the others one is cut behind every frame as it comes live."""
    session_id = (await voicebus.create_session()).session_id
    whole, ready = Listener(), asyncio.Event()
    asking, others = Asking(), [InPieces(first, CLIENTS) for first in range(1, CLIENTS + 1)]
    joined = asyncio.Barrier(CLIENTS + 1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen_on(gateways[0], session_id, whole, ready))
        for other in others:
            tasks.create_task(other.listen(gateways, session_id, joined))
        await ready.wait()
        await joined.wait()
        await asking.listen(gateways, session_id)
    kinds = {message["type"] for message in whole.got}
    assert {"user", "tool_call", "tool_result", "token", "response", "tts"} <= kinds

    expected = {name(message) for message in whole.got}
    lost = repeated = misplaced = 0
    for listener in (asking, *others):
        names = [name(message) for message in listener.got]
        lost += len(expected - set(names))
        repeated += len(names) - len(set(names))
        misplaced += sum(place(before) > place(behind) for before, behind in pairwise(listener.got))
    cuts = asking.cuts + sum(other.cuts for other in others)
    show(f"cuts {cuts} lost {lost} repeated {repeated} misplaced {misplaced}")
    live = sum(other.live for other in others)
    show(f"{len(whole.got)} frames of {len(kinds)} types, {len(others)} clients got {live} events of them live")
    assert (lost, repeated, misplaced) == (0, 0, 0)
    assert all(listener.got == whole.got for listener in (asking, *others))
    assert asking.cuts > len(whole.got)
    assert live > len(others)


@pytest.fixture
async def bus(redis_url: str) -> Any:
    async with open_bus(BusSettings(redis_url=redis_url, prefix="e2e", partitions=4)) as bus:
        yield bus


async def test_what_cannot_be_replayed_is_a_gap_and_a_snapshot_follows(
    gateways: list[RunningGateway], voicebus: Voicebus, bus: Bus, show: Show
) -> None:
    session = await voicebus.create_session()
    whole, ready = Listener(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen_on(gateways[0], session.session_id, whole, ready))
        await ready.wait()
        async with wire(gateways[1], session.session_id) as client:
            await client.send(type="text", id="q", content=QUESTION)
            await client.until("ack")
    head = max(message["seq"] for message in whole.got if message["type"] != "tts")
    n = max(message["data"]["n"] for message in whole.got if message["type"] == "tts")
    epoch = whole.epoch

    async def gaps(query: str) -> list[list[dict[str, Any]]]:
        """The gaps that either gateway tells of, between the welcome and the snapshot."""
        found = []
        for gateway in gateways:
            async with wire(gateway, session.session_id, query) as client:
                await client.until("state_snapshot")
                assert [message["type"] for message in client.seen[:1]] == ["welcome"]
                assert {message["type"] for message in client.seen[1:-1]} == {"gap"}
                assert client.seen[-1]["data"]["state"]["position"]["epoch"] == epoch
                found.append([message["data"] for message in client.seen[1:-1]])
        return found

    def gap(stream: str, first: int, last: int, reason: str) -> dict[str, Any]:
        return {"stream": stream, "from": first, "to": last, "reason": reason}

    ahead = [gap("events", head + 1, head + 7, "ahead"), gap("speech", n + 1, n + 9, "ahead")]
    assert await gaps(f"?epoch={epoch}&after={head + 7}&speech={n + 9}") == [ahead, ahead]
    changed = [gap("events", 1, 3, "epoch_changed"), gap("speech", 1, 2, "epoch_changed")]
    assert await gaps("?epoch=ffffffff&after=3&speech=2") == [changed, changed]
    await bus.calls.command("XTRIM", bus.keys.of(session.session_id).log, "MINID", "4-0")
    trimmed = [gap("events", 2, 3, "trimmed")]
    assert await gaps(f"?epoch={epoch}&after=1&speech={n}") == [trimmed, trimmed]
    show(f"gaps: {', '.join(each[0]['reason'] for each in (ahead, changed, trimmed))}")
