"""How long one connection's user waits for an answer, on this gateway's clock. Pure but for the metrics.

A spoken question ends with the byte of the microphone's stream that holds its last word; when that byte came is known
here, and where it lies is in the final transcript. So the time to the first speech is what the user hears, but for
the way from here to the loudspeaker and back.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import orjson

from gateway import metrics
from voicebus.bus.items import EventItem, Item, SpeechItem
from voicebus.contract.commands import AudioStart, Command, Text

Input = Literal["text", "voice"]
Part = Literal["transcript", "first_token", "first_speech", "response"]

_MARKS = 4_096  # frames whose arrival is remembered: 80 s of 20 ms
_OPENING = 160  # bytes of an event, where its type and turn are
_TURN = re.compile(rb'"turn":(\d+)')
_SAMPLE_BYTES = {"pcm16": 2, "mulaw": 1}
_ANSWERS: tuple[tuple[bytes, Part], ...] = ((b'"type":"token"', "first_token"), (b'"type":"response"', "response"))
_SECONDS = {
    (kind, part): metrics.turn_seconds.labels(kind, part)
    for kind, parts in {
        "voice": ("transcript", "first_token", "first_speech", "response"),
        "text": ("first_token", "first_speech", "response"),
    }.items()
    for part in parts
}


class Stopwatch:
    """Times the newest question of the connection. Where `running` is false there is nothing to tell it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.running = False
        self._clock = clock
        self._bytes_per_s = 0  # of the open stream; 0: there is none, or its bytes don't tell the time
        self._first = 0  # byte of the stream that came here, or is remembered
        self._heard = 0  # bytes of it so far
        # Where each frame ended, and when it came: apart, as pairs would be looked at by the garbage collector.
        self._ends: deque[int] = deque(maxlen=_MARKS)
        self._times: deque[float] = deque(maxlen=_MARKS)
        self._input: Input = "text"
        self._asked_at = 0.0
        self._turn: bytes | None = None  # of the question, once it is known
        self._missing: set[Part] = set()

    def command(self, command: Command) -> None:
        """The client said something."""
        if isinstance(command, Text):
            self._begin("text", self._clock())
        elif isinstance(command, AudioStart):
            self._bytes_per_s = _SAMPLE_BYTES.get(command.format, 0) * command.sample_rate * command.channels
            self._first = self._heard = command.offset
            self._ends.clear()
            self._times.clear()
            self.running = self.running or bool(self._bytes_per_s)

    def heard(self, size: int) -> None:
        """So many bytes of the microphone came."""
        if self._bytes_per_s:
            if len(self._ends) == _MARKS:
                self._first = self._ends[0]
            self._heard += size
            self._ends.append(self._heard)
            self._times.append(self._clock())

    def sent(self, items: Sequence[Item]) -> None:
        """These went to the client."""
        for item in items:
            if isinstance(item, EventItem):
                self._note_event(item.body)
            elif isinstance(item, SpeechItem) and "first_speech" in self._missing:
                self._note("first_speech", item.header[:_OPENING])

    def _note_event(self, body: bytes) -> None:
        opening = body[:_OPENING]
        if b'"type":"stt"' in opening:
            self._note_transcript(orjson.loads(body)["data"].get("end_ms"))
        elif not self._missing:
            return
        elif self._turn is None and b'"type":"user"' in opening:
            self._turn = _turn(opening)
        else:
            for kind, part in _ANSWERS:
                if kind in opening:
                    self._note(part, opening)

    def _note_transcript(self, end_ms: int | None) -> None:
        spoken_at = None if end_ms is None else self._arrival(end_ms * self._bytes_per_s // 1000)
        if spoken_at is not None:
            self._begin("voice", spoken_at)
            _SECONDS["voice", "transcript"].observe(self._clock() - spoken_at)

    def _begin(self, kind: Input, at: float) -> None:
        self.running = True
        self._input, self._asked_at, self._turn = kind, at, None
        self._missing = {"first_token", "first_speech", "response"}

    def _note(self, part: Part, opening: bytes) -> None:
        if part in self._missing and self._turn is not None and _turn(opening) == self._turn:
            self._missing.discard(part)
            _SECONDS[self._input, part].observe(self._clock() - self._asked_at)

    def _arrival(self, byte: int) -> float | None:
        """When this byte of the stream came, if it came here."""
        if byte <= self._first:
            return None
        return next((at for end, at in zip(self._ends, self._times, strict=True) if end >= byte), None)


def _turn(opening: bytes) -> bytes | None:
    found = _TURN.search(opening)
    return found[1] if found else None
