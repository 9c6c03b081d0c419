"""Listens to one stream: microphone bytes in; partial and final transcripts, silence and their checkpoints out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from stt_worker import metrics
from stt_worker.audio import FRAME, RATE, Checkpoint
from stt_worker.ear import Ear, Passage
from stt_worker.engines.engine import Decoding, Transcript
from stt_worker.utterance import Action, Decode, Ended, Endpointing, Heard, Quiet, Settle, Started
from stt_worker.vad import Vad

PIECE_BYTES = 6 * FRAME * 2  # 192 ms are decoded at a time, and may change the partial text
_CHUNK_BYTES = 16 * 1024  # heard at a time: meanwhile nobody else is served


@dataclass(frozen=True, slots=True)
class SpeechHeard:
    """Somebody speaks, long enough to interrupt the assistant."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class Partial:
    """What is understood of an utterance so far; times are since the start of the stream."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Final:
    """An utterance's transcript. `speech_end` is the byte of the stream where the speech ended."""

    text: str
    confidence: float  # 0 to 1
    start_ms: int
    end_ms: int
    speech_end: int
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing was said before the checkpoint, or nothing that was understood."""

    checkpoint: Checkpoint
    after_speech: bool = False


Opener = Callable[[], Awaitable[Decoding]]
SpeechEvent = SpeechHeard | Partial | Final | Silence


class Listener:
    """One stream, from a checkpoint on. `opener` begins an utterance; `vad` is its own until `close`."""

    def __init__(self, opener: Opener, vad: Vad, checkpoint: Checkpoint, endpointing: Endpointing) -> None:
        self._opener = opener
        self._ear = Ear(checkpoint, vad, endpointing)
        self._decoding: Decoding | None = None
        self._pending = bytearray()  # audio to decode, less than a piece
        self._start_ms = 0
        self._audio_from = 0  # sample of the passage at which the utterance's audio begins
        self._decoded = 0  # samples of it that were decoded
        self._busy_s = 0.0  # time that this took
        self._text = ""

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._decoding is not None

    async def feed(self, data: bytes) -> AsyncGenerator[SpeechEvent, None]:
        """The stream's next bytes. Waits while they are decoded; use `contextlib.aclosing`.

        Raises:
            BadRequest: `audio_invalid` or `audio_unsupported`: nothing can be heard in this stream.
            EngineError: the utterance is lost to this listener; another one can begin at the last checkpoint.
        """
        for at in range(0, len(data), _CHUNK_BYTES):
            self._ear.write(data[at : at + _CHUNK_BYTES])
            for action in self._ear.hear():
                if event := await self._act_on(action):
                    yield event
                if isinstance(action, Ended):
                    await self.close()
            await asyncio.sleep(0)

    async def finish(self) -> AsyncGenerator[SpeechEvent, None]:
        """The stream ends, or pauses for long: what is open is finished. Only `close` may follow. Raises as `feed`."""
        for action in self._ear.finish():
            if event := await self._act_on(action):
                yield event
        await self.close()

    async def close(self) -> None:
        """Gives up what is open."""
        if self._decoding:
            decoding, self._decoding = self._decoding, None
            await decoding.close()

    async def _act_on(self, action: Action) -> SpeechEvent | None:
        passage = self._ear.passage
        if isinstance(action, Quiet) or passage is None:
            return Silence(self._ear.cut)
        match action:
            case Started():
                await self._begin(passage, action)
            case Decode():
                self._pending += action.pcm
                return await self._decode(passage, PIECE_BYTES)
            case Heard():
                return SpeechHeard(self._start_ms)
            case Settle():
                partial = await self._decode(passage, 1)
                await self._opened().settle()
                return partial
            case Ended():
                return await self._end(passage, action)
        return None

    async def _begin(self, passage: Passage, started: Started) -> None:
        await self.close()
        self._decoding = await self._opener()
        self._pending.clear()
        self._start_ms = passage.time_ms(started.speech)
        self._audio_from = started.audio
        self._decoded = 0
        self._busy_s = 0.0
        self._text = ""

    async def _decode(self, passage: Passage, least: int) -> Partial | None:
        """Decodes what is pending, if that is at least so many bytes."""
        text = self._text
        while len(self._pending) >= least:
            piece = bytes(self._pending[:PIECE_BYTES])
            del self._pending[:PIECE_BYTES]
            began = perf_counter()
            text = await self._opened().feed(piece)
            self._busy_s += perf_counter() - began
            self._decoded += len(piece) // 2
        if not text or text == self._text:
            return None
        self._text = text
        return Partial(text, self._start_ms, passage.time_ms(self._audio_from + self._decoded))

    async def _end(self, passage: Passage, ended: Ended) -> Final | Silence:
        await self._decode(passage, 1)
        began = perf_counter()
        transcript = await self._opened().finish()
        if self._decoded:
            busy_s = self._busy_s + perf_counter() - began
            metrics.real_time_factor.observe(busy_s * RATE / self._decoded)
        if not transcript.text:
            return Silence(self._ear.cut, after_speech=True)
        start_ms, end_ms = self._times(passage, transcript, ended)
        return Final(
            transcript.text,
            transcript.confidence,
            start_ms,
            end_ms,
            passage.offset(ended.speech_end),
            self._ear.cut,
        )

    def _times(self, passage: Passage, transcript: Transcript, ended: Ended) -> tuple[int, int]:
        """Of the first word's start and the last one's end, where the engine tells them."""
        if not transcript.words:
            return self._start_ms, passage.time_ms(ended.speech_end)
        from_ms = passage.time_ms(self._audio_from)
        return from_ms + transcript.words[0].start_ms, from_ms + transcript.words[-1].end_ms

    def _opened(self) -> Decoding:
        if self._decoding is None:
            raise RuntimeError("no utterance is open")
        return self._decoding
