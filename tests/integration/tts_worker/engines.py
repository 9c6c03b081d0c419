"""What the tests need to look behind an engine."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from tts_worker.engines.engine import TtsEngine
from tts_worker.engines.forked import ForkedEngine

LONG_TEXT = "The quick brown fox, which nobody had expected to see there, jumps over the lazy dog. " * 15  # about 90 s


async def spoken(engine: TtsEngine, text: str, skip_samples: int = 0) -> bytes:
    """All audio of a text."""
    async with contextlib.aclosing(engine.speak(text, skip_samples=skip_samples)) as chunks:
        return b"".join([chunk async for chunk in chunks])


def server(engine: ForkedEngine) -> int:
    """The process that the engine forks from."""
    process = engine._server._process
    assert process is not None
    return process.pid


def children(process: int) -> list[int]:
    """The running child processes of a process; none if it is gone."""
    try:
        return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def forks(engine: ForkedEngine) -> list[int]:
    """The texts that are being synthesised, as processes."""
    return children(server(engine))


def alive(process: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until something outside of this process is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody when another process's child ends
            await asyncio.sleep(0.005)
