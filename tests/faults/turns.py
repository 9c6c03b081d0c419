"""A turn as the client has it that asked, whoever of those that answer is killed meanwhile."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from voicebus.bus.bus import Bus
from voicebus.contract.keys import STAGES, Stage
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.events import Event
from voicebus_client.position import Position

PATIENCE_S: Final = 40.0  # for a whole turn


@dataclass
class Heard:
    """What came to the client in one turn."""

    session_id: str
    turn: int = 1
    spoken: int = 0  # the number of the chunk before which it is not over
    began_s: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    at_work: bool = False  # the worker that was killed had not done with its mail
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: Event) -> None:
        """The next event."""
        self.events.append(event)
        self._news.set()

    async def until(self, *kinds: str) -> None:
        """Waits for an event of one of these types."""
        while not any(event.type in kinds for event in self.events):
            self._news.clear()
            await self._news.wait()

    def first_s(self, kind: str) -> float:
        """When the first event of a type came, in seconds since the turn began."""
        return next(event.received_s for event in self.events if event.type == kind) - self.began_s

    def last_s(self, kind: str) -> float:
        """When the last one came."""
        return next(event.received_s for event in reversed(self.events) if event.type == kind) - self.began_s

    @property
    def answered_in_s(self) -> float:
        """How long the agent worked at it."""
        return self.last_s("response") - self.first_s("user")

    @property
    def longest_wait_s(self) -> float:
        """The longest time without an event."""
        times = [self.began_s, *(event.received_s for event in self.events)]
        return max(after - before for before, after in pairwise(times))

    @property
    def restarts(self) -> int:
        """Responses that were begun anew."""
        return sum(event.type == "response_restarted" for event in self.events)


Say = Callable[[Connection, Heard], Awaitable[object]]
Meanwhile = Callable[[Heard], Coroutine[Any, Any, None]]
Begun = Callable[[str], object]  # is given the session's id before anything is said in it


class Turns:
    """Asks questions, each in a session of its own."""

    def __init__(self, bus: Bus, voicebus: Voicebus, logs: Callable[[], str] = str) -> None:
        self.bus = bus
        self.voicebus = voicebus
        self.patience_s = PATIENCE_S
        self._logs = logs

    async def ask(self, say: Say | str, meanwhile: Meanwhile | None = None, *, begun: Begun | None = None) -> Heard:
        """Says the question in a new session, and listens until the answer was heard to its end.

        Raises:
            AssertionError: it was not in time; the message tells what there is.
        """
        session = await self.voicebus.create_session()
        if begun is not None:
            begun(session.session_id)
        return await self.follow(Heard(session.session_id), say, meanwhile)

    async def follow(self, heard: Heard, say: Say | str, meanwhile: Meanwhile | None = None) -> Heard:
        """As `ask`, in a session from its beginning, until its turn of this number was heard to its end."""
        try:
            async with (
                asyncio.timeout(self.patience_s),
                self.voicebus.connect(heard.session_id, position=Position.BEGINNING) as connection,
                asyncio.TaskGroup() as tasks,
            ):
                heard.began_s = time.monotonic()
                if meanwhile is not None:
                    tasks.create_task(meanwhile(heard))
                tasks.create_task(self._listen(connection, heard))
                await (connection.send_text(say) if isinstance(say, str) else say(connection, heard))
        except TimeoutError as error:
            raise AssertionError(await self._what_came(heard)) from error
        return heard

    async def history(self, heard: Heard) -> list[tuple[str, str]]:
        """The conversation as the session shows it: who said what."""
        session = await self.voicebus.session(heard.session_id)
        return [(message.role, message.content) for message in session.history]

    async def owner(self, stage: Stage, session_id: str) -> int:
        """The process id of the worker that has the session's stage, or had it last."""
        k = self.bus.keys.of(session_id)
        async with asyncio.timeout(10):
            while (owner := await self.bus.calls.command("HGET", k.session, f"{stage}.owner")) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # Redis tells nobody
        return int(owner.rpartition(b"-")[2])

    async def waiting(self, stage: Stage, session_id: str) -> int:
        """How much mail the stage is not done with."""
        return int(await self.bus.calls.command("XLEN", self.bus.keys.of(session_id).mail(stage)))

    async def _listen(self, connection: Connection, heard: Heard) -> None:
        async for event in connection:
            heard.take(event)
            if event.type in ("response", "error", "tts") and await self._over(heard):
                return

    async def _over(self, heard: Heard) -> bool:
        """Whether the turn was answered, all of it spoken, and that has come."""
        if not any(event.type in ("response", "error") and event.turn == heard.turn for event in heard.events):
            return False
        if await self.waiting("tts", heard.session_id):
            return False
        newest = await self.bus.calls.command(
            "XREVRANGE", self.bus.keys.of(heard.session_id).speech, "+", "-", "COUNT", 1
        )
        spoken_to = max((event.data["n"] for event in heard.events if event.type == "tts"), default=0)
        return spoken_to >= max(heard.spoken, int(newest[0][0].partition(b"-")[0]) if newest else 0)

    async def _what_came(self, heard: Heard) -> str:
        """For the message of a turn that did not end: the events, what the bus holds of the session, and the logs."""
        waiting = {stage: await self.waiting(stage, heard.session_id) for stage in STAGES}
        fields = await self.bus.calls.command("HGETALL", self.bus.keys.of(heard.session_id).session)
        came = [event.type for event in heard.events if event.type != "tts"]
        return f"the turn did not end; there came {came}\nmail: {waiting}\nsession: {fields}\n{self._logs()}"
