"""A session whose client is the test: it speaks into the microphone and hears what the worker makes of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from integration.stt_worker.hearing import pieces
from support.sessions import events_of, open_session
from support.workers import Working

from stt_worker.engines.engine import SttEngine
from stt_worker.transcribe import Transcriber
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadPool
from voicebus.bus.bus import Bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.items import EphemeralItem, EventItem, parse_live
from voicebus.chassis.worker import Worker
from voicebus.contract.audio import AudioSpec
from voicebus.contract.codec import load_event
from voicebus.contract.events import Error, Event, Metric, Stt, User

VADS = VadPool()
FRAME_S = 0.02
PCM = AudioSpec(format="pcm16")
WAV = AudioSpec(format="wav")
SILENCE = bytes(32_000)


class Talk:
    """One session. Also a listener on its channel."""

    def __init__(self, bus: Bus, session_id: str) -> None:
        self.bus = bus
        self.session_id = session_id
        self.heard: list[Event] = []
        self.stream = ""
        self._news = asyncio.Event()
        self._offset = 0

    def messages(self, payloads: Sequence[bytes]) -> None:
        for item in map(parse_live, payloads):
            if isinstance(item, EventItem | EphemeralItem):
                self.heard.append(load_event(item.body))
                self._news.set()

    def lost(self) -> None:
        raise AssertionError("published messages were lost")

    async def ask(self, text: str) -> None:
        """Submits a text. Nobody answers."""
        await self.bus.inbox.submit(self.session_id, text, agent_type="personal")

    async def speak(self, data: bytes, spec: AudioSpec = WAV, *, chunk: int = 640, stream: str = "") -> None:
        """A whole stream, as fast as it goes."""
        await self.start(spec, stream=stream)
        await self.say(data, chunk=chunk)
        await self.stop()

    async def start(self, spec: AudioSpec = WAV, *, stream: str = "") -> None:
        """Opens a stream, with a name of its own if nothing else is said."""
        self.stream, self._offset = stream or uuid4().hex, 0
        await self.bus.inbox.audio_start(self.session_id, "c1", self.stream, spec, 0)

    async def say(self, data: bytes, *, chunk: int = 640, real_time: bool = False) -> None:
        """Sends audio, `chunk` bytes at a time; in real time that is one chunk each 20 ms."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for i, piece in enumerate(pieces(data, chunk)):
            if real_time:
                await asyncio.sleep(max(0.0, began + (i + 1) * FRAME_S - loop.time()))
            self._offset = await self.bus.inbox.audio(self.session_id, "c1", self.stream, self._offset, piece)

    async def stop(self) -> None:
        """Ends the stream."""
        await self.bus.inbox.audio_stop(self.session_id, "c1", self.stream)

    async def until(self, condition: Callable[[list[Event]], bool], *, timeout_s: float = 20.0) -> None:
        """Waits until what was heard so far meets the condition."""
        async with asyncio.timeout(timeout_s):
            while not condition(self.heard):
                self._news.clear()
                await self._news.wait()

    async def until_said(self, *texts: str) -> None:
        """Waits until so many turns were opened, and with these texts."""
        await self.until_turns(len(texts))
        assert [event.data.content for event in self.users] == list(texts)

    async def until_turns(self, count: int) -> None:
        """Waits until so many turns were opened."""
        await self.until(lambda _: len(self.users) >= count)

    async def until_interrupted(self) -> None:
        """Waits until a turn was cut."""
        await self.until(lambda heard: any(event.type == "interrupted" for event in heard))

    @property
    def users(self) -> list[User]:
        return [event for event in self.heard if isinstance(event, User)]

    @property
    def partials(self) -> list[Stt]:
        return [event for event in self.heard if isinstance(event, Stt) and not event.data.is_final]

    def speaks_in(self, utterance: int) -> bool:
        """Whether something was understood of the first or second utterance of `two-requests`."""
        starts = [partial.data.start_ms or 0 for partial in self.partials]
        return any((start < 2_500) == (utterance == 1) for start in starts)

    @property
    def finals(self) -> list[Stt]:
        return [event for event in self.heard if isinstance(event, Stt) and event.data.is_final]

    @property
    def errors(self) -> list[str]:
        return [event.data.code for event in self.heard if isinstance(event, Error)]

    @property
    def metrics(self) -> list[Metric]:
        return [event for event in self.heard if isinstance(event, Metric)]

    async def log(self) -> list[Event]:
        """The durable events behind the session's start."""
        return (await events_of(self.bus, self.session_id))[1:]

    async def message_ids(self) -> list[str]:
        """The ids of all that interrupted, and of the client's messages."""
        ids = await self.bus.calls.command("ZRANGE", self.bus.keys.of(self.session_id).seen, 0, -1)
        return [message_id.decode() for message_id in ids]

    async def mail_ids(self) -> list[str]:
        """Mail that the stt stage still holds."""
        mailbox = self.bus.keys.of(self.session_id).mail("stt")
        return [mail_id.decode() for mail_id, _ in await self.bus.calls.command("XRANGE", mailbox, "-", "+")]

    async def waiting(self) -> int:
        """How much mail the stt stage still holds."""
        return int(await self.bus.calls.command("XLEN", self.bus.keys.of(self.session_id).mail("stt")))

    async def until_waiting(self, most: int, *, timeout_s: float = 10.0) -> None:
        """Waits until no more mail than this waits."""

        async def few() -> bool:
            return await self.waiting() <= most

        await _poll(few, timeout_s=timeout_s)

    async def lose_mail(self, number: int) -> None:
        """Takes a mail out of the stt stage's mailbox; 0 is the first one that waits."""
        mailbox = self.bus.keys.of(self.session_id).mail("stt")
        await self.bus.calls.command("XDEL", mailbox, (await self.mail_ids())[number])

    async def until_owned(self) -> None:
        """Waits until a worker owns the stage."""

        async def leased() -> bool:
            return (await self._fields("stt.state")) == [b"leased"]

        await _poll(leased)

    async def until_tried(self, *, by: int) -> None:
        """Waits until the stage's first, second … owner has begun with the mail that waits."""

        async def tried() -> bool:
            leases, token, tried_by = await self._fields("stt.leases", "stt.token", "stt.tried_by")
            return int(leases or 0) == by and token == tried_by

        await _poll(tried)

    async def released(self) -> bool:
        """Whether no worker owns the stage and none is asked for."""
        ready = self.bus.keys.of(self.session_id).ready("stt")
        return await self.bus.calls.command("ZSCORE", ready, self.session_id) is None

    async def until_released(self, *, timeout_s: float = 10.0) -> None:
        """Waits until the stage was given back."""
        await _poll(self.released, timeout_s=timeout_s)

    async def _fields(self, *names: str) -> list[bytes | None]:
        fields: list[bytes | None] = await self.bus.calls.command(
            "HMGET", self.bus.keys.of(self.session_id).session, *names
        )
        return fields

    async def agent_mail(self) -> list[Delivery]:
        """What the agent was asked, in order; takes it."""
        lease = await self.bus.stages("agent", "agent-1").lease(self.session_id)
        assert lease is not None
        delivery = await lease.next()
        return [delivery] if delivery else []


async def _poll(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = 10.0) -> None:
    """For what Redis tells nobody."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def talk(bus: Bus) -> AsyncIterator[Talk]:
    """A new session."""
    opened = Talk(bus, await open_session(bus))
    async with bus.subscriptions.listening(bus.keys.of(opened.session_id).live, opened):
        yield opened


def working(bus: Bus, engine: SttEngine, *, idle_s: float = 5.0, drain_s: float = 5.0) -> Working:
    """An stt worker in this process."""
    transcriber = Transcriber(bus.sessions, engine, VADS, endpointing=Endpointing(), idle_s=idle_s, attempts=3)
    worker = Worker(bus, "stt", f"stt-{uuid4().hex[:6]}", transcriber.serve, capacity=4)
    return Working(worker, drain_s=drain_s)
