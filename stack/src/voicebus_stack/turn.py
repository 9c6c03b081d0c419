"""One turn with a running stack, watched from the client's side."""

import asyncio
import time
from dataclasses import dataclass, field

from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.turns import cuts_short
from voicebus_stack.question import Question

_PATIENCE_S = 30.0
_SILENCE_S = 6.0


@dataclass
class Turn:
    """What came, and when: times by this machine's monotonic clock, in seconds."""

    began_s: float
    events: list[Event] = field(default_factory=list)
    last_voiced_s: float | None = None  # the last frame in which somebody speaks was sent
    last_frame_s: float | None = None  # of the recording

    def of(self, kind: str) -> list[Event]:
        """The events of a type."""
        return [event for event in self.events if event.type == kind]

    def first(self, kind: str) -> Event | None:
        """The first event of a type."""
        return next(iter(self.of(kind)), None)

    @property
    def transcript(self) -> Event | None:
        """The final one."""
        return next((event for event in self.of("stt") if event.data["is_final"]), None)

    @property
    def partials(self) -> list[Event]:
        """Transcripts on the way, in order."""
        return [event for event in self.of("stt") if not event.data["is_final"]]

    @property
    def asked_s(self) -> float:
        """When the user had finished."""
        return self.last_voiced_s if self.last_voiced_s is not None else self.began_s

    def latency_ms(self, event: Event | None) -> float | None:
        """From the end of the question to this event."""
        return None if event is None else (event.received_s - self.asked_s) * 1000

    @property
    def over(self) -> bool:
        """Answered, and all of it spoken."""
        response = self.first("response")
        if response is None:
            return any(cuts_short(event) for event in self.events)
        segments = response.data.get("segments", 0)
        ended = {event.data["segment"] for event in self.of("tts") if event.data["is_last"]}
        return segments == 0 or segments - 1 in ended

    @property
    def speech(self) -> tuple[bytes, int]:
        """The spoken answer: s16le mono samples and their rate in hertz."""
        chunks = self.of("tts")
        rate = chunks[0].data["sample_rate"] if chunks else 16_000
        return b"".join(chunk.audio for chunk in chunks), rate

    @property
    def heard_s(self) -> float:
        """When its speech has been heard to the end by somebody who hears it as it comes."""
        first = self.first("tts")
        audio, rate = self.speech
        return first.received_s + len(audio) / 2 / rate if first else self.began_s


class TurnFailed(Exception):
    """The turn did not come to its end."""


async def watch(connection: Connection, turn: Turn) -> None:
    """Collects events until the turn is over.

    Raises:
        TurnFailed: it took too long.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S + _SILENCE_S):
            while not turn.over:
                turn.events.append(await anext(connection))
    except TimeoutError as error:
        raise TurnFailed("the turn was not over in time") from error


async def say(connection: Connection, text: str) -> Turn:
    """A turn in writing."""
    turn = Turn(time.monotonic())
    ack = connection.send_text(text)
    await watch(connection, turn)
    await ack
    return turn


async def speak(connection: Connection, question: Question, *, stop_at_once: bool = False) -> Turn:
    """A spoken turn: the recording in real time, then silence until it is understood.

    With `stop_at_once` the microphone is closed behind the last voiced frame, so that no endpointing is awaited.
    """
    turn = Turn(time.monotonic())
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(connection, question, turn, stop_at_once=stop_at_once))
            tasks.create_task(watch(connection, turn))
    except* (TurnFailed, VoicebusError) as group:
        raise TurnFailed(str(group.exceptions[0])) from group
    return turn


async def _feed(connection: Connection, question: Question, turn: Turn, *, stop_at_once: bool) -> None:
    last_voiced, last = question.last_voiced, len(question.frames) - 1
    stream = connection.audio_stream("pcm16", sample_rate=question.sample_rate, channels=question.channels)
    async with stream as microphone:
        async for i, frame in question.in_real_time(then_silence_s=_SILENCE_S):
            await microphone.write(frame)
            if i == last_voiced:
                turn.last_voiced_s = time.monotonic()
            if i == last:
                turn.last_frame_s = time.monotonic()
            if (stop_at_once and i == last_voiced) or (i > last and turn.transcript):
                break
