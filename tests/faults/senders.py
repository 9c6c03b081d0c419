"""Who says something while the way breaks, and who hears it: each keeps what it said, and what came."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from faults.crowd import QUICK, TICK_S

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.mail import UserTurn
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.outbox import Ack
from voicebus_client.position import Position

PAUSE_S: Final = 0.2  # between what is said at once and what follows


class Sender:
    """A client that says some numbered texts at once, and the next ones when these are acknowledged."""

    def __init__(self, name: str, session_id: str, together: int) -> None:
        self.session_id = session_id
        self.sent: list[str] = []
        self.acknowledged: set[str] = set()
        self.seen: list[str] = []  # of all clients
        self.ready = asyncio.Event()
        self.speaks = asyncio.Event()  # something is on its way
        self._name = name
        self._together = together
        self._over = False
        self._news = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many of its messages are not acknowledged."""
        return len(self.sent) - len(self.acknowledged)

    def said(self, text: str) -> bool:
        """Whether the text is one of its own."""
        return text.startswith(f"{self._name}: ")

    def stop(self) -> None:
        """It says nothing more."""
        self._over = True
        self._news.set()

    async def run(self, voicebus: Voicebus) -> None:
        """Speaks and listens until it is cancelled."""
        async with (
            voicebus.connect(self.session_id, position=Position.BEGINNING, options=QUICK) as connection,
            asyncio.TaskGroup() as tasks,
        ):
            self.ready.set()
            tasks.create_task(self._speak(connection))
            async for event in connection:
                if event.type == "user":
                    self.seen.append(event.data["content"])
                    self._news.set()

    async def settled(self, everybody: Sequence["Sender"]) -> None:
        """Returns when all that it said is acknowledged, and it has seen what everybody of its session said."""
        await self._until(lambda: not self.waiting and len(self.seen) >= sum(len(other.sent) for other in everybody))

    async def _speak(self, connection: Connection) -> None:
        while not self._over:
            for _ in range(self._together):
                text = f"{self._name}: {len(self.sent)}"
                self.sent.append(text)
                connection.send_text(text).add_done_callback(partial(self._note, text))
            self.speaks.set()
            await self._until(lambda: self._over or not self.waiting)
            self.speaks.clear()
            await asyncio.sleep(PAUSE_S)

    def _note(self, text: str, ack: asyncio.Future[Ack]) -> None:
        if not ack.cancelled() and ack.exception() is None:
            self.acknowledged.add(text)
            self._news.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()


class Hearer:
    """A worker that owns a session's agent stage and answers nothing: what it is asked is done with."""

    def __init__(self, bus: Bus, session_id: str) -> None:
        self.session_id = session_id
        self.heard: list[str] = []
        self._stages = bus.stages("agent", f"hearer-{session_id}")

    async def run(self) -> None:
        """Takes mail until it is cancelled."""
        lease: Lease | None = None
        while lease is None:
            await asyncio.sleep(TICK_S)  # until there is something to hear
            lease = await self._stages.lease(self.session_id)
        last, renewed_s = lease.cursor, 0.0
        loop = asyncio.get_running_loop()
        while True:
            mail = await lease.mail_after(last)
            self.heard += [entry.content for _, entry in mail if isinstance(entry, UserTurn)]
            if mail:
                last = mail[-1][0]
                await lease.emit(Emission().cursor(last))
            if loop.time() - renewed_s > lease.renewed_every_s:
                await lease.renew()
                renewed_s = loop.time()
            await asyncio.sleep(TICK_S)


@asynccontextmanager
async def conversing(voicebus: Voicebus, speaking: Sequence[Sender], hearing: Sequence[Hearer]) -> AsyncIterator[None]:
    """They are connected while inside."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(sender.run(voicebus)) for sender in speaking]
        running += [tasks.create_task(hearer.run()) for hearer in hearing]
        async with asyncio.timeout(60):
            for sender in speaking:
                await sender.ready.wait()
        try:
            yield
        finally:
            for task in running:
                task.cancel()
