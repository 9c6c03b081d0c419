"""A spoken question, fed as a microphone would."""

import array
import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from voicebus_client.wav import read_wav

FRAME_MS = 20
_RATES = range(8_000, 192_001)  # hertz
_VOICED_RMS = 0.02  # of full scale


@dataclass(frozen=True)
class Question:
    """A recording: interleaved s16le samples."""

    name: str
    samples: bytes
    sample_rate: int  # hertz
    channels: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of 20 ms."""
        return self.sample_rate * FRAME_MS // 1000 * 2 * self.channels

    @property
    def frames(self) -> list[bytes]:
        """The recording in frames."""
        return [self.samples[i : i + self.frame_bytes] for i in range(0, len(self.samples), self.frame_bytes)]

    @property
    def voiced(self) -> list[int]:
        """Indices of the frames in which somebody speaks; the last one's if nobody does."""
        loud = [i for i, frame in enumerate(self.frames) if _rms(frame) > _VOICED_RMS]
        return loud or [len(self.frames) - 1]

    @property
    def duration_s(self) -> float:
        """Its length."""
        return len(self.samples) / (2 * self.channels * self.sample_rate)

    async def in_real_time(self, *, then_silence_s: float) -> AsyncIterator[tuple[int, bytes]]:
        """The frames with their indices, each when it would come from a microphone; then silence."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        silence = [bytes(self.frame_bytes)] * int(then_silence_s * 1000 / FRAME_MS)
        for i, frame in enumerate([*self.frames, *silence]):
            await asyncio.sleep(max(0.0, began + (i + 1) * FRAME_MS / 1000 - loop.time()))
            yield i, frame


def bundled_question() -> Question:
    """ "What time is it in New York", spoken."""
    path = files("voicebus_stack") / "audio" / "question.wav"
    return load_question(Path(str(path)))


def load_question(path: Path) -> Question:
    """The recording in a WAV file.

    Raises:
        ValueError: it isn't 16-bit PCM at a rate that the gateway takes, or holds nothing.
        OSError: it can't be read.
    """
    recording = read_wav(path)
    rate = recording.spec.sample_rate
    if rate not in _RATES:
        raise ValueError(f"{path}: it needs a sample rate of {_RATES[0]:,} to {_RATES[-1]:,} Hz, not {rate:,}")
    if not recording.data:
        raise ValueError(f"{path}: nothing is recorded in it")
    return Question(path.name, recording.data, rate, recording.spec.channels)


def _rms(frame: bytes) -> float:
    samples = array.array("h", frame[: len(frame) // 2 * 2])
    return float((sum(s * s for s in samples) / max(1, len(samples))) ** 0.5 / 32768)
