"""Who is there while Redis fails: two gateways, clients that listen and clients that speak, and who watches."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faults.crowd import Crowd, crowd
from faults.gateways import Gateways
from faults.proxy import proxy
from faults.readiness import Readiness, readiness
from faults.scenario import FULL, SEED, Outcome, Record
from faults.speakers import Speakers, speakers

from voicebus.bus.bus import open_bus
from voicebus.bus.settings import BusSettings

CLIENTS, SESSIONS, RATE, SPEAKERS = (60, 6, 20, 6) if FULL else (12, 2, 20, 2)
ROUNDS: Final = 3 if FULL else 1  # of the same fault
PREFIX: Final = "faults"
PARTITIONS: Final = 4


@dataclass(frozen=True)
class Scene:
    """All of them, at work."""

    listening: Crowd
    speaking: Speakers
    ready: Readiness
    chance: random.Random

    async def pause(self) -> None:
        """A little time in which nothing happens."""
        await asyncio.sleep(self.chance.uniform(0.3, 1.0))

    async def recorded(
        self, record: Record, name: str, faults: str, *, forgetful: bool = False, remarks: str = ""
    ) -> None:
        """Waits until all are ready and have everything, and writes down how it went.

        A forgetful Redis may have lost what it had accepted, but everybody must have been told.
        """
        await self.ready.all_ready()
        await self.speaking.settle()
        await self.listening.settle()
        if forgetful:
            tally = self.listening.tally_but_for_told + await self.speaking.tally_but_for_places()
        else:
            tally = self.listening.tally + await self.speaking.tally()
        forgotten = f" and {self.listening.forgotten} taken back" if forgetful else ""
        came = f"{self.listening.accepted} events{forgotten}, {self.speaking.acknowledged} messages"
        record(
            Outcome(
                name,
                f"{CLIENTS} clients, {SESSIONS * RATE} events/s, {SPEAKERS} speakers",
                faults,
                tally,
                self.listening.recovery_s,
                f"{came}, {remarks}" if remarks else came,
            )
        )
        assert not self.listening.failures
        assert forgetful or not self.listening.gaps


@contextmanager
def two_gateways(redis_url: str, folder: Path) -> Iterator[Gateways]:
    """They are ready, and serve any number of scenes; killed at the end."""
    running = Gateways(redis_url, PREFIX, 2, folder)
    try:
        asyncio.run(running.start(0, 1))
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def scene(redis_url: str, gateways: Gateways) -> AsyncIterator[Scene]:
    """Everybody is at work."""
    settings = BusSettings(redis_url=redis_url, prefix=PREFIX, partitions=PARTITIONS)
    async with (
        open_bus(settings) as bus,
        open_bus(settings) as other,  # so that what is on its way to Redis over the first one are events
        proxy(gateways.ports) as way,
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE) as listening,
        speakers(other, way.url, SPEAKERS) as speaking,
        readiness(gateways.ports) as ready,
    ):
        await ready.all_ready()
        yield Scene(listening, speaking, ready, random.Random(SEED))
