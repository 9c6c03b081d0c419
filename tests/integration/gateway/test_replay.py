"""A long replay: in chunks, in order with what comes meanwhile, and nobody else waits for it."""

import asyncio

import pytest
from integration.gateway.here import gateway_here
from support.report import Show
from support.sessions import open_session
from support.wire import Message, wire

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.items import EventItem, Page
from voicebus.bus.lease import Lease
from voicebus.bus.log import Log
from voicebus.contract import events, payloads
from voicebus.contract.positions import Position

EVENTS = 5_000
CHUNKS = 500  # of speech between them


async def write(lease: Lease, session_id: str) -> None:
    """Ten events, and a chunk of speech behind the ninth."""
    token = events.Token(session_id=session_id, turn=1, data=payloads.TokenData(token="x", response_id="r"))
    emission = Emission(1, "r")
    for n in range(10):
        emission.event(token)
        if n == 8:
            speech = events.Envelope(session_id=session_id, turn=1)
            emission.speech(speech, bytes(640), segment=0, sample_rate=16_000, is_last=False)
    await lease.emit(emission)


def place(message: Message) -> tuple[int, int]:
    data = message["data"]
    return (data["after_seq"], data["n"]) if message["type"] == "tts" else (message["seq"], 0)


async def test_a_replay_comes_in_chunks_and_in_order_while_others_are_served(
    redis_url: str, gateway_bus: Bus, monkeypatch: pytest.MonkeyPatch, show: Show
) -> None:
    session_id = await open_session(gateway_bus, "hello")
    lease = await gateway_bus.stages("agent", "w").lease(session_id)
    assert lease is not None
    for _ in range(EVENTS // 10):
        await write(lease, session_id)
    happened = list[str]()  # in this process: pages that the gateway reads, pongs that the neighbour gets
    sizes = list[int]()
    read = Log.read

    async def watched(log: Log, name: str, position: Position) -> Page:
        page = await read(log, name, position)
        if name == session_id and page.items:
            sizes.append(len([item for item in page.items if isinstance(item, EventItem)]))
            happened.append("page")
        return page

    monkeypatch.setattr(Log, "read", watched)
    async with (
        gateway_here(redis_url) as gateway,
        wire(gateway, await open_session(gateway_bus)) as neighbour,
        wire(gateway, session_id) as live,
    ):
        await live.until("welcome")
        await neighbour.until("welcome")

        async def keep_writing() -> None:
            while True:
                await write(lease, session_id)
                await live.until("tts")

        async def keep_asking() -> None:
            while True:
                await neighbour.send(type="ping")
                await neighbour.until("pong")
                happened.append("pong")

        async with asyncio.TaskGroup() as tasks:
            busy = [tasks.create_task(keep_writing()), tasks.create_task(keep_asking())]
            async with wire(gateway, session_id, "?after=0&speech=0", max_queue=16) as client:
                await client.until(lambda message: message.get("seq") == EVENTS)
                for task in busy:
                    task.cancel()
                head = (await gateway_bus.sessions.get(session_id)).position
                while not client.seen or place(client.seen[-1])[0] < head.seq:
                    await client.receive()
    assert client.seen.pop(0)["type"] == "welcome"
    durable = [message["seq"] for message in client.seen if message["type"] != "tts"]
    assert durable == list(range(1, head.seq + 1))
    assert [message["data"]["n"] for message in client.seen if message["type"] == "tts"] == list(
        range(1, head.speech + 1)
    )
    assert [place(message) for message in client.seen] == sorted(map(place, client.seen))
    assert head.seq > EVENTS + 2
    assert head.speech > CHUNKS
    assert max(sizes) <= 256
    between = "".join("." if what == "pong" else "|" for what in happened).strip(".")
    show(f"{len(durable)} events in {len(sizes)} pages, {between.count('.')} pongs between them")
    assert between.count(".") > 10
    assert len([pause for pause in between.split("|") if pause]) > 5
