"""Clients that note how long each event took from its producer to them."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from statistics import quantiles

from faults.crowd import QUICK

from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.events import Token
from voicebus.contract.payloads import TokenData
from voicebus_client.client import Voicebus
from voicebus_client.position import Position

_SETTLED_S = 20


class Writer:
    """Owns a session's agent stage, and writes events of `size` bytes, numbered from 0."""

    def __init__(self, session_id: str, lease: Lease, size: int) -> None:
        self.session_id = session_id
        self.written_s: list[float] = []  # when, by number
        self._lease = lease
        self._padding = "x" * size

    async def write(self, count: int = 1) -> None:
        """The next ones, together."""
        emission = Emission(turn=1)
        for number in range(len(self.written_s), len(self.written_s) + count):
            data = TokenData(token=f"{number} {self._padding}", response_id="r")
            emission.event(Token(session_id=self.session_id, turn=1, data=data))
        self.written_s += [time.monotonic()] * count
        await self._lease.emit(emission)

    async def write_for(self, seconds: float, *, rate: float) -> None:
        """So many a second."""
        for _ in range(int(seconds * rate)):
            await self.write()
            await asyncio.sleep(1 / rate)

    async def hold(self) -> None:
        """Keeps the lease until it is cancelled."""
        while True:
            await self._lease.renew()
            await asyncio.sleep(self._lease.renewed_every_s)


class Fast:
    """A client that takes what comes at once."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.took_s: list[float] = []  # each, since it was written
        self.ready = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self, voicebus: Voicebus, writer: Writer) -> None:
        """Listens until it is cancelled."""
        async with voicebus.connect(writer.session_id, position=Position.BEGINNING, options=QUICK) as connection:
            self.ready.set()
            async for event in connection:
                if event.type == "token":
                    number = int(event.data["token"].partition(" ")[0])
                    self.seen.append(number)
                    self.took_s.append(event.received_s - writer.written_s[number])
                    self._news.set()

    async def has(self, count: int) -> None:
        """Returns when so many have come."""
        while len(self.seen) < count:
            self._news.clear()
            await self._news.wait()


class Audience:
    """Of one writer."""

    def __init__(self, writer: Writer, clients: Sequence[Fast]) -> None:
        self.clients = clients
        self._writer = writer

    async def p99_s(self, seconds: float, *, rate: float) -> float:
        """What 99 % of the events that are written in this time took at most."""
        before = len(self._writer.written_s)
        await self._writer.write_for(seconds, rate=rate)
        await self.caught_up()
        return quantiles((took for client in self.clients for took in client.took_s[before:]), n=100)[-1]

    async def caught_up(self) -> None:
        """Returns when all have all, or the time is over."""
        try:
            async with asyncio.timeout(_SETTLED_S):
                for client in self.clients:
                    await client.has(len(self._writer.written_s))
        except TimeoutError:
            pass  # what did not come counts as lost


@asynccontextmanager
async def audience(voicebus: Voicebus, writer: Writer, *, clients: int) -> AsyncIterator[Audience]:
    """They are connected and have what was written before."""
    made = Audience(writer, [Fast() for _ in range(clients)])
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(client.run(voicebus, writer)) for client in made.clients]
        running.append(tasks.create_task(writer.hold()))
        try:
            async with asyncio.timeout(60):
                for client in made.clients:
                    await client.ready.wait()
            await made.caught_up()
            yield made
        finally:
            for task in running:
                task.cancel()
