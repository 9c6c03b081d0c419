"""What the tests need to look behind an engine."""

import contextlib

from support.process_tree import children, pid

from tts_worker.engines.engine import TtsEngine
from tts_worker.engines.forked import ForkedEngine

LONG_TEXT = "The quick brown fox, which nobody had expected to see there, jumps over the lazy dog. " * 15  # about 90 s


async def spoken(engine: TtsEngine, text: str, skip_samples: int = 0) -> bytes:
    """All audio of a text."""
    async with contextlib.aclosing(engine.speak(text, skip_samples=skip_samples)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def server(engine: ForkedEngine) -> int:
    """The process that the engine forks from."""
    return pid(engine._server)


def forks(engine: ForkedEngine) -> list[int]:
    """The texts that are being synthesised, as processes."""
    return children(server(engine))
