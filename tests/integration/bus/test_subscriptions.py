"""Listeners come and go."""

import asyncio
from collections.abc import Sequence

import pytest

from voicebus.bus.bus import Bus
from voicebus.bus.server import sibling


class Ears:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.some = asyncio.Event()

    def messages(self, payloads: Sequence[bytes]) -> None:
        self.heard += payloads
        self.some.set()

    def lost(self) -> None:
        pass


async def test_whoever_stops_waiting_for_a_subscription_hears_nothing_of_it(bus: Bus) -> None:
    impatient, patient, channel = Ears(), Ears(), bus.keys.of("x").live

    async def listen() -> None:
        async with bus.subscriptions.listening(channel, impatient):
            pass

    waiting = asyncio.create_task(listen())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    async with bus.subscriptions.listening(channel, patient), asyncio.timeout(10):
        await bus.calls.command(bus.publish, channel, b"here")
        await patient.some.wait()
    assert (patient.heard, impatient.heard) == ([b"here"], [])


async def test_a_server_without_slots_has_no_channel(bus: Bus) -> None:
    gone = sibling(bus.servers.all[0].url, "127.0.0.1", 1)
    with pytest.raises(LookupError):
        bus.servers.channel_at(gone, "stem")
