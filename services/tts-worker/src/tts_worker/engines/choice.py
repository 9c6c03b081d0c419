"""Which engine speaks."""

from typing import Literal

from tts_worker.engines import flite
from tts_worker.engines.engine import TtsEngine, Voice
from tts_worker.engines.forked import ForkedEngine
from tts_worker.engines.instant import InstantEngine

EngineName = Literal["auto", "flite", "espeak", "instant"]


def make_engine(name: EngineName, voice: Voice, *, chunk_ms: int = 60, max_syntheses: int = 4) -> TtsEngine:
    """Return the engine, not yet entered. `auto` is flite where its library is installed, else espeak-ng.

    Audio comes in chunks of `chunk_ms`; at most `max_syntheses` texts are synthesised at the same time.
    """
    if name == "instant":
        return InstantEngine(chunk_ms=chunk_ms)
    if name == "auto":
        name = "flite" if flite.is_installed() else "espeak"
    return ForkedEngine(name, voice, chunk_ms=chunk_ms, max_syntheses=max_syntheses)
