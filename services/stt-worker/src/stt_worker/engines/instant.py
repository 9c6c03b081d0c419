"""An engine that answers at once, with a fixed text. What a turn then takes is what the bus takes."""

from types import TracebackType
from typing import Final, Self

from stt_worker.engines.engine import Transcript


class InstantEngine:
    """Understands `text` in any speech; with an empty text, nothing."""

    name: Final = "instant"
    load: Final = 0.0
    waited_s: Final = 0.0

    def __init__(self, text: str) -> None:
        self._text = text

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    async def open(self) -> "InstantDecoding":
        """Begin an utterance, without waiting."""
        return InstantDecoding(self._text)


class InstantDecoding:
    """An utterance that nobody listens to."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._heard = False

    async def feed(self, pcm: bytes) -> str:
        """The text, as soon as there is audio."""
        self._heard = self._heard or bool(pcm)
        return self._text if self._heard else ""

    async def settle(self) -> None:
        """Nothing is to be prepared."""

    async def finish(self) -> Transcript:
        """The text, for certain."""
        text = self._text if self._heard else ""
        return Transcript(text, 1.0 if text else 0.0)

    async def close(self) -> None:
        """Nothing was occupied."""
