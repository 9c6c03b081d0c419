"""An engine that answers at once: one short tone per text. What a turn then takes is what the bus takes."""

import math
from array import array
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Final, Literal, Self

from tts_worker.engines.engine import SAMPLE_BYTES, Chunks
from tts_worker.speakable import has_words

TONE_HZ = 440
TONE_MS = 60
AMPLITUDE = 8000
SAMPLE_RATE = 16_000


class InstantEngine:
    """Says `TONE_MS` of a tone for any text that has a word."""

    name: Final = "instant"
    codec: Literal["pcm16"] = "pcm16"
    sample_rate: Final = SAMPLE_RATE
    waited_s: Final = 0.0

    def __init__(self, *, chunk_ms: int = 60) -> None:
        self._chunk_bytes = SAMPLE_RATE * chunk_ms // 1000 * SAMPLE_BYTES
        step = 2 * math.pi * TONE_HZ / SAMPLE_RATE
        tone = array("h", (round(AMPLITUDE * math.sin(step * n)) for n in range(SAMPLE_RATE * TONE_MS // 1000)))
        self._tone = tone.tobytes()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def speak(self, text: str, *, skip_samples: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the tone."""
        if not has_words(text):
            return
        chunks = Chunks(self._chunk_bytes, skip_bytes=skip_samples * SAMPLE_BYTES)
        for chunk in [*chunks.push(self._tone), *chunks.rest()]:
            yield chunk
