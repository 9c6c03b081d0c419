"""A client that is cut off in the middle of an answer gets each missed event once and in order, at any gateway."""

import random

from support.processes import RunningGateway
from support.report import Show
from support.wire import Message, wire

from voicebus_client.client import Voicebus

QUESTION = "tell me ten facts about redis"


class Listener:
    """Notes what came, over any number of connections, and where it stands."""

    def __init__(self) -> None:
        self.events: list[Message] = []
        self.chunks: list[Message] = []
        self.epoch = ""

    def take(self, message: Message) -> None:
        if message["type"] == "welcome":
            self.epoch = message["data"]["epoch"]
        elif message["type"] == "tts":
            self.chunks.append(message)
        elif "seq" in message:
            self.events.append(message)

    @property
    def position(self) -> str:
        if not self.epoch:
            return "?after=0&speech=0&audio=binary"
        seq = self.events[-1]["seq"] if self.events else 0
        n = self.chunks[-1]["data"]["n"] if self.chunks else 0
        return f"?epoch={self.epoch}&after={seq}&speech={n}&audio=binary"

    @property
    def done(self) -> bool:
        response = next((event for event in self.events if event["type"] == "response"), None)
        if response is None:
            return False
        last = response["data"]["segments"] - 1
        return any(chunk["data"]["segment"] == last and chunk["data"]["is_last"] for chunk in self.chunks)


async def listen(gateways: list[RunningGateway], session_id: str, cuts: random.Random | None) -> tuple[Listener, int]:
    """Listens until the answer was heard; with `cuts` it is cut off again and again, and returns elsewhere."""
    listener, connections = Listener(), 0
    while not listener.done:
        gateway = gateways[connections % len(gateways)]
        connections += 1
        async with wire(gateway, session_id, listener.position) as client:
            listener.take(await client.until("welcome"))
            frames = cuts.randint(1, 12) if cuts else None
            while not listener.done and frames != 0:
                listener.take(await client.receive())
                frames = frames - 1 if frames is not None else None
            client.cut()
    return listener, connections


async def test_cut_off_again_and_again_a_client_misses_nothing(
    gateways: list[RunningGateway], voicebus: Voicebus, show: Show
) -> None:
    seed = random.randrange(10**6)
    session = await voicebus.create_session()
    async with wire(gateways[0], session.session_id) as client:
        await client.send(type="text", id="q", content=QUESTION)
        await client.until("ack")
    cut, connections = await listen(gateways, session.session_id, random.Random(seed))
    whole, _ = await listen(gateways, session.session_id, None)
    show(f"seed {seed}: {connections} connections, {len(cut.events)} events, {len(cut.chunks)} chunks")
    assert connections > 10
    assert [event["seq"] for event in cut.events] == list(range(1, len(cut.events) + 1))
    assert cut.events == whole.events
    assert [chunk["data"]["n"] for chunk in cut.chunks] == list(range(1, len(cut.chunks) + 1))
    assert cut.chunks == whole.chunks
