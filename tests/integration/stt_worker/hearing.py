"""What the tests need to listen to recordings, and to look behind an engine."""

import asyncio
import io
import wave
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from stt_worker.audio import Checkpoint
from stt_worker.engines.engine import SttEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from stt_worker.listen import Final, Heeded, Listener
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadPool
from voicebus.contract.audio import AudioSpec

ROOT = Path(__file__).parents[3]
RECORDINGS = ROOT / "tests" / "data"
QUESTION = ROOT / "stack" / "src" / "voicebus_stack" / "audio" / "question.wav"
WAV = Checkpoint.at_start(AudioSpec(format="wav"))


def recording(name: str) -> bytes:
    """A WAV file."""
    return (QUESTION if name == QUESTION.stem else RECORDINGS / f"{name}.wav").read_bytes()


def speech(name: str = "question") -> bytes:
    """The samples of a recording with 16 kHz, mono, 16 bit."""
    with wave.open(io.BytesIO(recording(name))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return bytes(file.readframes(file.getnframes()))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


async def heeded(engine: SttEngine, vads: VadPool, data: bytes, *, start: Checkpoint = WAV, size: int) -> list[Heeded]:
    """All that is heard in these bytes, which come in chunks of this size."""
    found: list[Heeded] = []
    async with vads.take() as vad:
        listener = Listener(engine.open, vad, start, Endpointing())
        try:
            for piece in pieces(data, size):
                async with aclosing(listener.feed(piece)) as news:
                    found += [heeded async for heeded in news]
            async with aclosing(listener.finish()) as news:
                found += [heeded async for heeded in news]
        finally:
            await listener.close()
    return found


def finals(found: list[Heeded]) -> list[str]:
    return [heard.text for heard in found if isinstance(heard, Final)]


def server(engine: PocketsphinxEngine) -> int:
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
