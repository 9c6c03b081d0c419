"""WAV files: read to be fed as if spoken, written from the speech that comes back."""

import asyncio
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from voicebus_client.events import Event
from voicebus_client.microphone import Microphone
from voicebus_client.upload import AudioSpec

_SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Recording:
    """PCM, 16 bit little-endian, interleaved."""

    spec: AudioSpec
    data: bytes

    @property
    def duration_s(self) -> float:
        """How long it plays, in seconds."""
        return len(self.data) / (self.spec.sample_rate * self.spec.channels * _SAMPLE_BYTES)

    def pieces(self, ms: int) -> Iterator[bytes]:
        """The data in pieces of so many milliseconds; the last one may be shorter."""
        size = max(1, self.spec.sample_rate * ms // 1000) * self.spec.channels * _SAMPLE_BYTES
        for start in range(0, len(self.data), size):
            yield self.data[start : start + size]


def read_wav(path: Path) -> Recording:
    """The recording in a WAV file.

    Raises:
        ValueError: it isn't one, or its samples don't have 16 bits.
        OSError: it can't be read.
    """
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != _SAMPLE_BYTES:
                raise ValueError(f"{path}: samples of 16 bits are needed, not {8 * file.getsampwidth()}")
            if not file.getframerate():
                raise ValueError(f"{path}: its header has a rate of 0")
            spec = AudioSpec("pcm16", file.getframerate(), file.getnchannels())
            return Recording(spec, file.readframes(file.getnframes()))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not a WAV file with PCM samples: {str(error) or 'it is cut short'}") from error


async def feed(microphone: Microphone, recording: Recording, *, piece_ms: int = 40, speed: float = 1.0) -> None:
    """Writes a recording piece by piece as fast as it would be spoken, or `speed` times that.

    Raises:
        VoicebusError: as `Microphone.write`.
    """
    now = asyncio.get_running_loop().time
    start_s = now()
    for number, piece in enumerate(recording.pieces(piece_ms), start=1):
        await asyncio.sleep(start_s + number * piece_ms / 1000 / speed - now())
        await microphone.write(piece)


class SpeechFile:
    """Writes the speech of `tts` events to a WAV file, which is written with the first of them. Used as `with`.

    Without a path it drops them. Entering it raises OSError if the file can't be written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: wave.Wave_write | None = None

    def __enter__(self) -> Self:
        if self.path is not None:
            self.path.open("ab").close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        elif self.path is not None and not self.path.stat().st_size:
            self.path.unlink()

    @property
    def begun(self) -> bool:
        """Whether any speech came."""
        return self._file is not None

    def add(self, event: Event) -> None:
        """Appends a chunk.

        Raises:
            ValueError: its sample rate is another one than before.
        """
        rate = event.number("sample_rate")
        if self.path is None:
            return
        if self._file is None:
            self._file = wave.open(str(self.path), "wb")  # noqa: SIM115 - __exit__ closes it
            self._file.setnchannels(1)
            self._file.setsampwidth(_SAMPLE_BYTES)
            self._file.setframerate(rate)
        elif self._file.getframerate() != rate:
            raise ValueError(f"speech at {rate} Hz does not fit into a file at {self._file.getframerate()} Hz")
        self._file.writeframesraw(event.audio)
