"""Speaks through forks of a pristine process; `tts_worker.engines.forkserver` says why."""

import dataclasses
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Literal, Self

from tts_worker.engines.engine import SAMPLE_BYTES, Chunks, EngineError, SynthesisError, Voice
from tts_worker.engines.forkserver import END, SAMPLE_RATE, TEXT
from tts_worker.speakable import has_words, one_line
from voicebus.chassis.forks import Fork, ForkServer, raised_as
from voicebus.chassis.forkserver import FAILED
from voicebus.chassis.room import Room

START_TIMEOUT_S = 10.0
PATIENCE_S = 20.0  # so long a fork may take for its next audio


class ForkedEngine:
    """One fork per text, at most `max_syntheses` at a time; further texts wait."""

    codec: Literal["pcm16"] = "pcm16"

    def __init__(self, name: str, voice: Voice | None = None, *, chunk_ms: int = 60, max_syntheses: int = 4) -> None:
        self.name = name
        self._chunk_ms = chunk_ms
        self._room = Room(max_syntheses)
        self._server = ForkServer(
            "tts_worker.engines.forkserver",
            name,
            json.dumps(dataclasses.asdict(voice or Voice())),
            start_timeout_s=START_TIMEOUT_S,
            patience_s=PATIENCE_S,
        )

    @property
    def waited_s(self) -> float:
        """How long the first text that waits has waited."""
        return self._room.waited_s

    @property
    def sample_rate(self) -> int:
        """Samples per second, as the loaded voice has it."""
        return int(SAMPLE_RATE.unpack(self._server.greeting)[0])

    async def __aenter__(self) -> Self:
        with raised_as(EngineError, SynthesisError):
            await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def speak(self, text: str, *, skip_samples: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the audio of `text` while it is being synthesised."""
        text = one_line(text)
        if not has_words(text):
            return
        chunk_bytes = self.sample_rate * self._chunk_ms // 1000 * SAMPLE_BYTES
        chunks = Chunks(chunk_bytes, skip_bytes=skip_samples * SAMPLE_BYTES)
        async with self._room, self._fork() as fork:
            fork.send(TEXT, text.encode())
            async for audio in _audio_of(fork):
                for chunk in chunks.push(audio):
                    yield chunk
        for chunk in chunks.rest():
            yield chunk

    @asynccontextmanager
    async def _fork(self) -> AsyncIterator[Fork]:
        """A fork; it is gone at the end of the block."""
        with raised_as(EngineError, SynthesisError):
            fork = await self._server.fork()
            try:
                yield fork
            finally:
                await fork.close()


async def _audio_of(fork: Fork) -> AsyncIterator[bytes]:
    """The audio that a fork sends, up to its end. Raises `SynthesisError` if it fails, `ForkLost` if it is lost."""
    while True:
        kind, content = await fork.receive()
        if kind == END:
            return
        if kind == FAILED:
            raise SynthesisError(content.decode())
        yield content
