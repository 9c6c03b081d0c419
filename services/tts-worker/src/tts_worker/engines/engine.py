"""What every speech engine offers, whatever synthesises behind it."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from voicebus.contract.errors import StageFailed

SAMPLE_BYTES = 2


class EngineError(StageFailed):
    """An engine can't be used: not installed, an unknown voice, a process that doesn't start."""

    def __init__(self, message: str) -> None:
        super().__init__("tts_failed", message)


class SynthesisError(EngineError):
    """One text couldn't be spoken to its end; the engine goes on with the next."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How to speak. An empty name is the engine's own default."""

    name: str = ""
    speed: float = 1.0  # times the voice's normal rate
    pitch: float = 1.0  # times the voice's normal pitch


class TtsEngine(Protocol):
    """Speaks texts as raw audio: mono, signed 16-bit little-endian samples. An async context manager."""

    codec: Literal["pcm16"]

    @property
    def name(self) -> str:
        """The name that the engine is configured by."""

    @property
    def sample_rate(self) -> int:
        """Samples per second; known once the engine was entered."""

    @property
    def waited_s(self) -> float:
        """How long the first text that waits to be spoken has waited, in seconds; 0 if none does."""

    async def __aenter__(self) -> Self:
        """Make the engine ready. Raises `EngineError`."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all that was started."""

    def speak(self, text: str, *, skip_samples: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the audio of `text` in equal chunks (the last one may be shorter), each as soon as it is there.

        The same text gives the same bytes, always: with `skip_samples` it gives those behind that many samples, so a
        text that was cut off joins without a seam. Nothing comes for a text without a word. `aclose` (use
        `contextlib.aclosing`) stops the synthesis at once. Raises `SynthesisError`.
        """


class Chunks:
    """Cuts audio that comes in pieces of any size into equal chunks, without its first `skip_bytes`."""

    def __init__(self, chunk_bytes: int, *, skip_bytes: int = 0) -> None:
        self._chunk_bytes = chunk_bytes
        self._skip_bytes = skip_bytes
        self._buffer = bytearray()

    def push(self, audio: bytes) -> Iterator[bytes]:
        """Add audio; yields the chunks that it filled."""
        skipped = min(self._skip_bytes, len(audio))
        self._skip_bytes -= skipped
        self._buffer += audio[skipped:]
        while len(self._buffer) >= self._chunk_bytes:
            yield bytes(self._buffer[: self._chunk_bytes])
            del self._buffer[: self._chunk_bytes]

    def rest(self) -> Iterable[bytes]:
        """The last, shorter chunk, if there is one."""
        return [bytes(self._buffer)] if self._buffer else []
