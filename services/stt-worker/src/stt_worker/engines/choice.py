"""Which engine recognises."""

import os
from typing import Literal

from stt_worker.engines.engine import SttEngine
from stt_worker.engines.instant import InstantEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine

EngineName = Literal["pocketsphinx", "instant"]

# An utterance takes 0.2 of a core while it is spoken: what is left is for the rest of the machine, and for machines
# slower than the one that was measured.
DECODERS_PER_CORE = 3


def default_decoders() -> int:
    """Utterances that this machine can decode at the same time in real time, with a reserve."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return DECODERS_PER_CORE * cores


def make_engine(name: EngineName, *, decoders: int, instant_text: str) -> SttEngine:
    """Return the engine, not yet entered; it decodes at most `decoders` utterances at the same time."""
    if name == "instant":
        return InstantEngine(instant_text)
    return PocketsphinxEngine(decoders=decoders)
