"""Clients that insist: each says one text after the other, until it is acknowledged or refused for good."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from faults.crowd import OWNER, QUICK, TICK_S
from faults.tally import Tally, total
from support.processes import SECRET
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.contract.errors import BusFull, BusUnavailable, LeaseLost
from voicebus.contract.events import User
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.position import Position
from voicebus_stack.tokens import make_token

PAUSE_S: Final = 0.05  # between two texts, or two attempts at one


class Speaker:
    """Says numbered texts in a session of its own until it is told to stop."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.said: list[str] = []
        self.acknowledged = 0
        self.refusals = Counter[str]()  # by code
        self.ready = asyncio.Event()
        self.silent = asyncio.Event()  # it says nothing more, and all that it said is settled
        self._over = asyncio.Event()

    def stop(self) -> None:
        """It says nothing more, once what it says now is settled."""
        self._over.set()

    async def run(self, voicebus: Voicebus) -> None:
        """Speaks, and stays connected until it is cancelled."""
        async with voicebus.connect(self.session_id, position=Position.BEGINNING, options=QUICK) as connection:
            self.ready.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(connection))
                while not self._over.is_set():
                    self.said.append(f"text {len(self.said)}")
                    await self._say(connection, self.said[-1])
                    await asyncio.sleep(PAUSE_S)
                self.silent.set()

    async def _listen(self, connection: Connection) -> None:
        async for _ in connection:
            pass  # a client that takes nothing is slowed down

    async def _say(self, connection: Connection, text: str) -> None:
        while True:
            try:
                await connection.send_text(text, id=text)
            except VoicebusError as error:
                self.refusals[error.code] += 1
                if not error.temporary:
                    return
                await asyncio.sleep(PAUSE_S)
            else:
                self.acknowledged += 1
                return


class Speakers:
    """Some of them, and what their sessions hold in the end."""

    def __init__(self, bus: Bus, speakers: Sequence[Speaker]) -> None:
        self._bus = bus
        self._speakers = speakers

    @property
    def acknowledged(self) -> int:
        """How many texts were."""
        return sum(speaker.acknowledged for speaker in self._speakers)

    @property
    def refusals(self) -> Counter[str]:
        """How often they were refused something, by code."""
        return sum((speaker.refusals for speaker in self._speakers), Counter[str]())

    @property
    def refused(self) -> list[int]:
        """How often each of them was."""
        return [speaker.refusals.total() for speaker in self._speakers]

    async def settle(self, *, within_s: float = 30) -> None:
        """They say nothing more; returns when all that they said is settled, or the time is over."""
        for speaker in self._speakers:
            speaker.stop()
        try:
            async with asyncio.timeout(within_s):
                for speaker in self._speakers:
                    await speaker.silent.wait()
        except TimeoutError:
            pass  # what is not settled counts as lost

    async def tally(self) -> Tally:
        """Of all that was said, as the sessions' logs hold its effects."""
        return total([await self._tally(speaker) for speaker in self._speakers])

    async def tally_but_for_places(self, *, within_s: float = 30) -> Tally:
        """The same where Redis forgot texts: clients say them again as soon as they know, perhaps behind later ones."""
        end_s = asyncio.get_running_loop().time() + within_s
        while (found := await self.tally()).lost and asyncio.get_running_loop().time() < end_s:  # noqa: ASYNC110 - Redis tells nobody
            await asyncio.sleep(PAUSE_S)
        return Tally(found.lost, found.repeated)

    async def _tally(self, speaker: Speaker) -> Tally:
        events = await events_of(self._bus, speaker.session_id)
        texts = [event.data.content for event in events if isinstance(event, User)]
        if not speaker.silent.is_set():
            texts = [text for text in texts if text != speaker.said[-1]]  # nobody has told it
        return Tally.of(speaker.said, texts)


async def take_all(bus: Bus, session_id: str) -> None:
    """A worker that is done with a session's texts as soon as they come, until it is cancelled."""
    stages = bus.stages("agent", f"taker-{session_id}")
    while True:
        try:
            while (lease := await stages.lease(session_id)) is None:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(TICK_S)
            while True:
                if delivery := await lease.next():
                    await lease.emit(Emission().cursor(delivery.id))
                else:
                    await lease.renew()
                    await asyncio.sleep(PAUSE_S)
        except (BusFull, BusUnavailable, LeaseLost):
            await asyncio.sleep(TICK_S)


@asynccontextmanager
async def speakers(bus: Bus, url: str, count: int) -> AsyncIterator[Speakers]:
    """So many, at a gateway, with a worker for each; all are connected, and begin."""
    made = [Speaker(await open_session(bus, owner=OWNER)) for _ in range(count)]
    voicebus = Voicebus(url, make_token(SECRET, OWNER), options=QUICK)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(speaker.run(voicebus)) for speaker in made]
        running += [tasks.create_task(take_all(bus, speaker.session_id)) for speaker in made]
        try:
            async with asyncio.timeout(60):
                for speaker in made:
                    await speaker.ready.wait()
            yield Speakers(bus, made)
        finally:
            for task in running:
                task.cancel()
            await voicebus.close()
