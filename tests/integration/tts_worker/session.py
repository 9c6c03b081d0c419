"""A session whose agent is the test: it mails sentences and hears what is spoken."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self
from uuid import uuid4

import orjson
from support.workers import Working

from tts_worker.engines.engine import TtsEngine
from tts_worker.speak import Speaker
from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.items import EventItem, SpeechItem, parse_live
from voicebus.bus.lease import Lease
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.worker import Worker
from voicebus.contract.events import Envelope
from voicebus.contract.mail import Sentence
from voicebus.contract.payloads import TtsData
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession


@dataclass(frozen=True)
class Chunk:
    """A speech chunk as a client gets it."""

    n: int
    turn: int
    data: TtsData
    audio: bytes


class Conversation:
    """One session. Also a listener on its channel."""

    def __init__(self, bus: Bus, session_id: str, agent: Lease) -> None:
        self.bus = bus
        self.session_id = session_id
        self.agent = agent
        self.heard: list[Chunk] = []
        self._news = asyncio.Event()

    def messages(self, payloads: Sequence[bytes]) -> None:
        for item in map(parse_live, payloads):
            if isinstance(item, SpeechItem):
                self.heard.append(chunk_of(item))
                self._news.set()

    def lost(self) -> None:
        raise AssertionError("published messages were lost")

    async def ask(self) -> int:
        """Open a turn; returns its number."""
        accepted = await self.bus.inbox.submit(self.session_id, "hello", agent_type="personal")
        assert accepted.turn is not None
        return accepted.turn

    async def say(self, turn: int, *texts: str, response_id: str = "r1", first_segment: int = 0) -> None:
        """Mail sentences to the tts stage."""
        emission = Emission(turn, response_id)
        for segment, text in enumerate(texts, first_segment):
            emission.sentence(Sentence(turn=turn, response_id=response_id, segment=segment, text=text))
        await self.agent.emit(emission)

    async def until(self, condition: Callable[[list[Chunk]], bool], *, timeout_s: float = 20.0) -> None:
        """Wait until what was heard so far meets the condition."""
        async with asyncio.timeout(timeout_s):
            while not condition(self.heard):
                self._news.clear()
                await self._news.wait()

    async def until_end(self, turn: int, segment: int) -> None:
        """Wait for a segment's last chunk."""
        await self.until(
            lambda heard: any((c.turn, c.data.segment, c.data.is_last) == (turn, segment, True) for c in heard)
        )

    async def speech(self) -> list[Chunk]:
        """The speech that a client can replay."""
        return [chunk_of(item) for item in await self._items() if isinstance(item, SpeechItem)]

    async def events(self) -> list[Envelope]:
        """The durable events, with their types."""
        return [Envelope.model_validate_json(i.body) for i in await self._items() if isinstance(i, EventItem)]

    async def waiting_mail(self) -> int:
        """Sentences that still wait."""
        return int(await self.bus.calls.command("XLEN", self.bus.keys.of(self.session_id).mail("tts")))

    async def _items(self) -> list[EventItem | SpeechItem]:
        page = await self.bus.log.read(self.session_id, Position())
        items = list(page.items)
        while not page.complete:
            page = await self.bus.log.read(self.session_id, page.position)
            items += page.items
        return items


def chunk_of(item: SpeechItem) -> Chunk:
    header = orjson.loads(item.header)
    assert header["data"]["after_seq"] == item.seq
    return Chunk(item.n, header["turn"], TtsData(**header["data"], format="binary"), item.audio)


def audio_of(chunks: list[Chunk], segment: int) -> bytes:
    return b"".join(chunk.audio for chunk in chunks if chunk.data.segment == segment)


@asynccontextmanager
async def conversation(bus: Bus) -> AsyncIterator[Conversation]:
    """A new session."""
    session, _ = await bus.sessions.open(NewSession(), "alice")
    await bus.inbox.submit(session.session_id, "to be leased", agent_type="personal")
    agent = await bus.stages("agent", "agent-1").lease(session.session_id)
    assert agent is not None
    opened = Conversation(bus, session.session_id, agent)
    async with bus.subscriptions.listening(bus.keys.of(session.session_id).live, opened):
        yield opened


def working(bus: Bus, engine: TtsEngine) -> Working:
    """A tts worker in this process."""
    serve = mail_by_mail("tts", Speaker(engine).handle)
    return Working(Worker(bus, "tts", f"tts-{uuid4().hex[:6]}", serve, capacity=4))


class Halting:
    """Speaks as another engine does, but halts before chunk `at` until it may go on; there it raises its failures."""

    codec: Literal["pcm16"] = "pcm16"
    name: Final = "halting"
    waited_s: Final = 0.0

    def __init__(self, engine: TtsEngine, *, at: int) -> None:
        self._engine = engine
        self._at = at
        self.sample_rate = engine.sample_rate
        self.halted = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = asyncio.Event()
        self.failures: list[Exception] = []
        self.asked: list[tuple[str, int]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def speak(self, text: str, *, skip_samples: int = 0) -> AsyncGenerator[bytes, None]:
        self.asked.append((text, skip_samples))
        source = self._engine.speak(text, skip_samples=skip_samples)
        chunks = [chunk async for chunk in source]
        try:
            for number, chunk in enumerate(chunks):
                if number == self._at:
                    self.halted.set()
                    await self.go_on.wait()
                    if self.failures:
                        raise self.failures.pop()
                yield chunk
        finally:
            self.closed.set()
