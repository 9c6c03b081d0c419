"""One turn with a running stack, watched from the client's side."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.turns import cuts_short
from voicebus_stack.question import FRAME_MS, Question

_PATIENCE_S = 30.0
_SILENCE_S = 6.0


@dataclass
class Turn:
    """What came, and when: times by this machine's monotonic clock, in seconds."""

    began_s: float
    events: list[Event] = field(default_factory=list)
    voiced: list[tuple[int, float]] = field(default_factory=list)  # in which somebody speaks: frame's start in ms, sent
    last_frame_s: float | None = None  # of the recording, as far as it was sent

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
    def heard_ms(self) -> int | None:
        """Where in the recording the transcript ends."""
        return self.transcript.data.get("end_ms") if self.transcript else None

    @property
    def last_voiced_s(self) -> float | None:
        """When the last frame of what was transcribed was sent in which somebody speaks."""
        end_ms = self.heard_ms
        sent_s = [sent_s for start_ms, sent_s in self.voiced if end_ms is None or start_ms <= end_ms]
        return sent_s[-1] if sent_s else None

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


async def say(connection: Connection, text: str) -> Turn:
    """A turn in writing.

    Raises:
        TurnFailed: it took too long, or its session ended.
        VoicebusError: the server refused.
    """
    turn = Turn(time.monotonic())
    async with _in_time(_PATIENCE_S):
        await connection.send_text(text)
        await _watch(connection, turn)
    return turn


async def speak(
    connection: Connection, question: Question, *, stop_at_once: bool = False, understood_s: float = _PATIENCE_S
) -> Turn:
    """A spoken turn: the recording in real time up to a first transcript, or with silence behind it.

    With `stop_at_once` the microphone is closed behind the last voiced frame, so that no endpointing is awaited.

    Raises:
        TurnFailed: it took too long, nothing was understood within `understood_s` after the microphone was closed,
            its session ended, or the server refused.
    """
    turn = Turn(time.monotonic())
    try:
        async with _in_time(question.duration_s + _SILENCE_S + _PATIENCE_S), asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(connection, turn))
            await _feed(connection, question, turn, stop_at_once=stop_at_once)
            await _understood(turn, watching, understood_s)
    except* (TurnFailed, VoicebusError) as group:
        raise TurnFailed(str(group.exceptions[0])) from group
    return turn


@asynccontextmanager
async def _in_time(patience_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(patience_s):
            yield
    except TimeoutError as error:
        raise TurnFailed("the turn was not over in time") from error


async def _watch(connection: Connection, turn: Turn) -> None:
    """Collects events until the turn is over."""
    async for event in connection:
        turn.events.append(event)
        if turn.over:
            return
    raise TurnFailed("the session ended before the turn was over")


async def _feed(connection: Connection, question: Question, turn: Turn, *, stop_at_once: bool) -> None:
    voiced, last = question.voiced, len(question.frames) - 1
    stream = connection.audio_stream("pcm16", sample_rate=question.sample_rate, channels=question.channels)
    async with stream as microphone:
        async for i, frame in question.in_real_time(then_silence_s=_SILENCE_S):
            await microphone.write(frame)
            if i in voiced:
                turn.voiced.append((i * FRAME_MS, time.monotonic()))
            if i <= last:
                turn.last_frame_s = time.monotonic()
            if turn.transcript or (stop_at_once and i == voiced[-1]):
                break


async def _understood(turn: Turn, watching: asyncio.Task[None], patience_s: float) -> None:
    await asyncio.wait([watching], timeout=patience_s)
    if not turn.transcript and not turn.over:
        raise TurnFailed("nothing was understood in the recording")
