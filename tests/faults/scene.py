"""Who is there while Redis fails: two gateways, clients that listen and clients that speak, and who watches."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from operator import ge
from pathlib import Path
from typing import Final

from faults.crowd import Crowd, crowd
from faults.gateways import Gateways
from faults.proxy import proxy
from faults.readiness import Readiness, readiness
from faults.scenario import FULL, SEED, Outcome, Record
from faults.speakers import Speakers, speakers
from faults.tally import Tally
from support.process_tree import soon

from voicebus.bus.bus import open_bus
from voicebus.bus.settings import BusSettings

CLIENTS, SESSIONS, RATE, SPEAKERS = (60, 6, 20, 6) if FULL else (12, 2, 20, 2)
ROUNDS: Final = 3 if FULL else 1  # of the same fault
MORE: Final = (10, 25) if FULL else (6, 20)  # events of each session between two faults
GO_ON_S: Final = 30
PREFIX: Final = "faults"
PARTITIONS: Final = 4


@dataclass
class Scene:
    """All of them, at work."""

    listening: Crowd
    speaking: Speakers
    ready: Readiness
    chance: random.Random
    stuck: bool = False  # something did not come in time

    async def more(self, counts: Callable[[], Sequence[int]], count: int) -> None:
        """Returns when each of the counts is so much higher, or the time is over: then the scene is `stuck`."""
        enough = [each + count for each in counts()]
        if not self.stuck:
            self.stuck = not await soon(lambda: all(map(ge, counts(), enough)), timeout_s=GO_ON_S)

    async def go_on(self) -> None:
        """Nothing happens until each source has written some more events, and each client has heard as many more."""
        await self.more(self.events, self.chance.randint(*MORE))

    def events(self) -> list[int]:
        """How many each source has written, and each client has heard."""
        written = [len(source.accepted) for source in self.listening.sources]
        return written + [len(listener.seen) for listener in self.listening.listeners]

    async def recorded(
        self, record: Record, name: str, faults: str, *, forgetful: bool = False, remarks: str = ""
    ) -> None:
        """Waits until all are ready, go on and have everything, and writes down how it went.

        A forgetful Redis may have lost what it had accepted, but everybody must have been told.
        """
        await self.ready.all_ready()
        await self.go_on()
        await self.speaking.settle()
        await self.listening.settle()
        if forgetful:
            heard, said = self.listening.tally_but_for_told, await self.speaking.tally_but_for_places()
        else:
            heard, said = self.listening.tally, await self.speaking.tally()
        forgotten = f" and {self.listening.forgotten} taken back" if forgetful else ""
        came = f"{self.listening.accepted} events{forgotten}, {self.speaking.acknowledged} messages"
        if heard + said != Tally():
            came += f" (of the events: {heard})"
        record(
            Outcome(
                name,
                f"{CLIENTS} clients, {SESSIONS * RATE} events/s, {SPEAKERS} speakers",
                faults,
                heard + said,
                self.listening.recovery_s,
                f"{came}, {remarks}" if remarks else came,
            )
        )
        assert not self.ready.late
        assert not self.stuck
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
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE, bare=True) as listening,
        speakers(other, way.url, SPEAKERS) as speaking,
        readiness(gateways.ports) as ready,
    ):
        await ready.all_ready()
        yield Scene(listening, speaking, ready, random.Random(SEED))
