"""What the tests need to listen to recordings, and to look behind an engine."""

import io
import wave
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path

from support.process_tree import pid

from stt_worker.audio import Checkpoint
from stt_worker.engines.engine import SttEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from stt_worker.listen import Final, Listener, SpeechEvent
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadPool
from voicebus.contract.audio import AudioSpec

ROOT = Path(__file__).parents[3]
RECORDINGS = ROOT / "tests" / "data"
QUESTION = ROOT / "stack" / "src" / "voicebus_stack" / "audio" / "question.wav"
WAV = Checkpoint.at_start(AudioSpec(format="wav"))
SPOKEN = {
    "question": ["what time is it in new york"],
    "tokyo-8khz": ["what time is it in tokyo"],
    "good-morning-44khz-stereo": ["good morning"],
    "good-morning-48khz-float": ["good morning"],
    "two-requests": ["what time is it in paris", "please add twenty three and nineteen"],
    "noise": [],
}


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


async def speech_events(
    engine: SttEngine,
    vads: VadPool,
    data: bytes,
    *,
    start: Checkpoint = WAV,
    size: int,
    then: Callable[[SpeechEvent], None] = lambda _: None,
) -> list[SpeechEvent]:
    """All that is heard in these bytes, which come in chunks of this size; `then` is told of each at once."""
    found: list[SpeechEvent] = []

    async def take(news: AsyncGenerator[SpeechEvent, None]) -> None:
        async with aclosing(news):
            async for heard in news:
                found.append(heard)
                then(heard)

    async with vads.take() as vad:
        listener = Listener(engine.open, vad, start, Endpointing())
        try:
            for piece in pieces(data, size):
                await take(listener.feed(piece))
            await take(listener.finish())
        finally:
            await listener.close()
    return found


def finals(found: list[SpeechEvent]) -> list[str]:
    return [heard.text for heard in found if isinstance(heard, Final)]


def server(engine: PocketsphinxEngine) -> int:
    """The process that the engine forks from."""
    return pid(engine._server)
