"""Clients and readers: small processes on the real callers of the bus. Each call of theirs is one step."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from model.demand import demand
from model.expected import Expected, microphone
from model.faults import FaultyCalls, Network
from model.questions import text_of
from model.view import View

from gateway.feed import Feed
from voicebus.bus.inbox import Inbox
from voicebus.bus.items import Item
from voicebus.bus.log import Log
from voicebus.bus.sessions import Sessions
from voicebus.bus.settings import BusSettings
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import BusUnavailable, Refused
from voicebus.contract.keys import Keys
from voicebus.contract.payloads import OnBusy
from voicebus.contract.positions import Position
from voicebus.contract.sessions import conversation_of

PUBLISH = "PUBLISH"
SPEC = AudioSpec(format="pcm16")


@dataclass
class World:
    """What all processes share."""

    network: Network
    keys: Keys
    settings: BusSettings
    expected: dict[str, Expected]
    loop: asyncio.AbstractEventLoop
    turns_kept: int  # of a conversation
    failures: list[BaseException] = field(default_factory=list)


class Process:
    """Tasks that die together."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls = FaultyCalls(world.network)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether any task is under way."""
        return bool(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts a task."""
        task = self.world.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def crash(self) -> None:
        """All of it ends between two commands."""
        self.calls.crash()
        for task in self._tasks:
            task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.world.failures.append(error)


class Client(Process):
    """Puts something in, again and again until it is answered."""

    def __init__(self, world: World, session_id: str) -> None:
        super().__init__(world)
        self.session_id = session_id
        self.inbox = Inbox(self.calls, world.keys, world.settings, PUBLISH)
        self.stream = ""  # that it talks on

    @property
    def expected(self) -> Expected:
        """The session's."""
        return self.world.expected[self.session_id]

    async def say(self, message_id: str) -> None:
        """A text, or one that the agent is to say."""
        write = self.inbox.say if message_id.startswith("said") else self.inbox.submit
        submit = partial(write, self.session_id, text_of(message_id), agent_type="a", message_id=message_id)
        on_busy: OnBusy = "interrupt" if message_id.startswith("instead") else "queue"
        await self._insist(partial(submit, on_busy=on_busy), message_id)

    async def switch(self, message_id: str) -> None:
        """Another agent."""
        switch = partial(self.inbox.switch_agent, self.session_id, "a", message_id, message_id)
        await self._insist(switch, message_id)

    async def interrupt(self, message_id: str, turn: int | None, played_ms: int | None) -> None:
        """Cuts a turn short, or what goes on."""
        cut = partial(self.inbox.interrupt, self.session_id, agent_type="a", message_id=message_id)
        await self._insist(partial(cut, turn=turn, played_ms=played_ms))

    async def played(self, turn: int, segment: int, ms: int) -> None:
        """Tells what was heard."""
        await self._insist(partial(self.inbox.played, self.session_id, turn, segment, ms))

    async def decide(self, message_id: str, call_id: str, word: str) -> None:
        """A person's word on a tool call: 'approved' or 'denied'."""
        approve = partial(
            self.inbox.approve, self.session_id, call_id, approved=word == "approved", message_id=message_id
        )
        if await self._insist(approve, refused=("unknown_approval", "id_conflict")):
            counted = self.expected.approvals.words.get(message_id) == (call_id, word)
            demand(counted or self.expected.rolled_back, "acknowledged without effect:", message_id, call_id, word)

    async def end(self) -> None:
        """Ends the session."""
        sessions = Sessions(self.calls, self.world.keys, self.world.settings, PUBLISH)
        await self._insist(partial(sessions.end, self.session_id, "enough"))

    async def _insist(
        self, write: Callable[[], Coroutine[Any, Any, object]], message_id: str = "", refused: Sequence[str] = ()
    ) -> bool:
        """Whether it was accepted. The session may have ended, or be full, or have a reason that is expected here."""
        while True:
            try:
                await write()
            except BusUnavailable:
                continue
            except Refused as error:
                demand(error.code in ("session_ended", "overloaded", *refused), error.code)
                return False
            if message_id:
                self.expected.accepted.add(message_id)
            return True

    async def talk(self, stream: str, connection: str, end: int, step: int) -> None:
        """Sends a stream of so many bytes, `step` at a time, from where it stands; gives up if another takes over."""
        self.stream = stream
        offset: int | None = None
        while True:
            try:
                if offset is None:
                    started = await self.inbox.audio_start(
                        self.session_id, connection, stream, SPEC, 0, f"{stream}-start"
                    )
                    if started.done:
                        return
                    offset = started.expected
                elif offset < end:
                    data = microphone(stream, offset, min(end, offset + step))
                    offset = await self.inbox.audio(self.session_id, connection, stream, offset, data)
                    self.expected.safe[stream] = max(self.expected.safe[stream], offset)
                else:
                    await self.inbox.audio_stop(self.session_id, connection, stream, f"{stream}-stop", end=end)
                    return
            except BusUnavailable:
                continue
            except Refused as error:
                if error.code != "audio_gap":
                    return  # overloaded, or another one took over
                demand(self.expected.rolled_back, "a gap before", offset, "which was safe")
                offset = None


class Reader(Process):
    """A client's place in a session, and the gateway that serves it."""

    def __init__(self, world: World, session_id: str) -> None:
        super().__init__(world)
        self.session_id = session_id
        self.view = View(world.expected[session_id])
        self.heard: deque[Item] = deque()  # published, on its way
        self.connected = True
        self.feed = Feed(Position(), most_kept=4)
        self._log = Log(self.calls, world.keys, PUBLISH)

    def publish(self, item: Item) -> None:
        """Something was published."""
        if self.connected:
            self.heard.append(item)

    def hear(self) -> None:
        """The next item arrives."""
        item = self.heard.popleft()
        if self.feed.live(item):
            self.view.take(item)

    def cut(self) -> None:
        """What is published goes astray from here on."""
        self.connected = False
        self.heard.clear()

    def reconnect(self) -> None:
        """Hears again, and knows that it did not hear all."""
        self.connected = True
        self.feed.read_again()

    def move(self) -> None:
        """Goes on at another gateway."""
        self.calls.crash()
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self.calls = FaultyCalls(self.world.network)
        self._log = Log(self.calls, self.world.keys, PUBLISH)
        at = Position(epoch=self.feed.position.epoch, seq=self.view.seq, speech=self.view.n)
        self.feed = Feed(at, most_kept=4)
        self.heard.clear()
        self.connected = True

    def read(self) -> None:
        """Reads the next page."""
        self.spawn(self._read())

    async def _read(self) -> None:
        with suppress(BusUnavailable):
            page = await self._log.read(self.session_id, self.feed.position, most_events=3, most_chunks=2)
            for gap in page.gaps:
                self.view.gap(gap)
            out = self.feed.page(page)
            for item in out[: len(page.items)]:
                self.view.take(item)
            self.view.skip(page.position.speech)
            for item in out[len(page.items) :]:
                self.view.take(item)


async def look_back(calls: FaultyCalls, world: World, session_id: str, *, complete: bool) -> None:
    """Reads a session's conversation; it is `complete` if nothing is left to do."""
    sessions = Sessions(calls, world.keys, world.settings, PUBLISH)
    entries = conversation_of(await sessions.history(session_id))
    world.expected[session_id].conversation.compare(entries, world.turns_kept, complete=complete)
