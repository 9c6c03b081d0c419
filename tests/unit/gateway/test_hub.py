"""What comes for a session, and when it is handed out."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from support.process_tree import until

from gateway.connections import PACE_S, Connections
from gateway.drain import Drain
from gateway.hub import Hub
from voicebus.bus.bus import Bus
from voicebus.bus.items import Item
from voicebus.contract.keys import Keys


class Subscriptions:
    """Stands for the bus's: confirms at once."""

    def __init__(self) -> None:
        self.listener: Any = None

    async def add(self, listeners: dict[str, Any]) -> None:
        (self.listener,) = listeners.values()

    def remove(self, *_: Any) -> None:
        self.listener = None


class FakeBus:
    """As much of it as the hub needs."""

    def __init__(self) -> None:
        self.keys = Keys("t", 4)
        self.subscriptions = Subscriptions()


class Follower:
    """Notes what is handed out together."""

    def __init__(self) -> None:
        self.handed_out: list[list[int]] = []
        self.happened: list[str] = []

    def push(self, items: Sequence[Item]) -> None:
        self.handed_out.append([item.seq for item in items])
        self.happened += [f"{item.seq}" for item in items]

    def lost(self) -> None:
        self.happened.append("lost")


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def follower() -> Follower:
    return Follower()


@pytest.fixture
async def hub(bus: FakeBus, follower: Follower) -> Hub:
    hub = Hub(cast("Bus", bus), Connections(Drain(0)))
    await hub.add("s", follower)
    return hub


def event(seq: int) -> bytes:
    return b'e|01234567|%d|{"seq":%d}' % (seq, seq)


async def rounds(count: int = 2) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_together_is_handed_out_together(hub: Hub, bus: FakeBus, follower: Follower) -> None:
    other = Follower()
    await hub.add("s", other)
    for seqs in ((1, 2), (3,)):
        bus.subscriptions.listener.messages(list(map(event, seqs)))
    assert follower.handed_out == other.handed_out == [[1, 2], [3]]


async def test_a_session_with_very_many_is_handed_out_every_few_milliseconds_and_nothing_is_left(
    hub: Hub, bus: FakeBus, follower: Follower
) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for seq in range(1, 2_001):
        bus.subscriptions.listener.messages([event(seq)])
        await rounds()
    took_s = loop.time() - began
    await until(lambda: sum(map(len, follower.handed_out)) == 2_000)
    assert [seq for seqs in follower.handed_out for seq in seqs] == list(range(1, 2_001))
    assert len(follower.handed_out) <= 20 + 1.2 * took_s / PACE_S
    assert follower.handed_out[:10] == [[seq] for seq in range(1, 11)]
    await asyncio.sleep(20 * PACE_S)  # then it is as quick as ever
    bus.subscriptions.listener.messages([event(2_001)])
    await rounds()
    assert follower.handed_out[-1] == [2_001]


async def test_what_came_before_a_loss_is_handed_out_before_it_is_told(
    hub: Hub, bus: FakeBus, follower: Follower
) -> None:
    bus.subscriptions.listener.messages([event(1)])
    bus.subscriptions.listener.lost()
    bus.subscriptions.listener.messages([event(2)])
    await rounds()
    assert follower.happened == ["1", "lost", "2"]


async def test_who_cannot_take_it_reads_it_again(hub: Hub, bus: FakeBus, follower: Follower) -> None:
    bus.subscriptions.listener.messages([b"e|01234567|no number|{}"])
    await rounds()
    assert follower.happened == ["lost"]
    bus.subscriptions.listener.messages([event(1)])
    await rounds()
    assert follower.handed_out == [[1]]


async def test_nothing_is_handed_out_to_who_has_left(hub: Hub, bus: FakeBus, follower: Follower) -> None:
    for seq in range(1, 101):  # so many that they are kept back for a moment
        bus.subscriptions.listener.messages([event(seq)])
    listener, handed_out = bus.subscriptions.listener, len(follower.handed_out)
    hub.remove("s", follower)
    listener.messages([event(101)])
    await asyncio.sleep(2 * PACE_S)
    assert len(follower.handed_out) == handed_out < 100
