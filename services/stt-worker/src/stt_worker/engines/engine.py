"""What every recogniser offers, whatever recognises behind it."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from voicebus.contract.errors import StageFailed


class EngineError(StageFailed):
    """The engine can't be used: not installed, or its process doesn't start."""

    def __init__(self, message: str) -> None:
        super().__init__("stt_failed", message)


class RecognitionError(EngineError):
    """One utterance was lost with whatever decoded it; the engine goes on with the next."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where it lies, in milliseconds since the start of the utterance's audio."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class Transcript:
    """An utterance's final text; empty if nothing was understood. Not every engine tells the words."""

    text: str
    confidence: float  # 0 to 1
    words: tuple[Word, ...] = ()


class Decoding(Protocol):
    """One utterance while it is decoded. Its audio is mono s16le at 16 kHz, from its start on without a hole.

    The same pieces of audio always give the same texts. Each method raises `RecognitionError` if the utterance can't
    be decoded to its end; then only `close` may follow.
    """

    async def feed(self, pcm: bytes) -> str:
        """Decode the next piece; returns what is understood so far, which may still change."""

    async def settle(self) -> None:
        """The utterance may be over: prepare its transcript. Does not wait; `feed` may follow."""

    async def finish(self) -> Transcript:
        """The utterance is over; only `close` may follow."""

    async def close(self) -> None:
        """Give back what the utterance occupies, at any time. More than once does nothing."""


class SttEngine(Protocol):
    """Recognises the speech of several streams side by side. An async context manager."""

    @property
    def name(self) -> str:
        """The name that the engine is configured by."""

    @property
    def load(self) -> float:
        """Utterances that are decoded or wait for it, per utterance that can be decoded in real time."""

    @property
    def waited_s(self) -> float:
        """How long the first utterance that waits to be decoded has waited, in seconds; 0 if none does."""

    async def __aenter__(self) -> Self:
        """Make the engine ready. Raises `EngineError`."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End all that was started."""

    async def open(self) -> Decoding:
        """Begin an utterance; waits while as many are being decoded as real time allows. Raises `EngineError`."""
