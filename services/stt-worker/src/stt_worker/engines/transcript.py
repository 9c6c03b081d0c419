"""Pure: from a recogniser's segments to a transcript."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stt_worker.engines.engine import Transcript, Word

_VARIANT = re.compile(r"\(\d+\)$")
_FILLER = re.compile(r"^(<.*>|\[.*\]|\+\+.*\+\+)$")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of audio and the dictionary entry recognised in it, in milliseconds since the utterance's start."""

    entry: str
    start_ms: int
    end_ms: int
    probability: float


def spoken_word(entry: str) -> str | None:
    """The word of a dictionary entry such as `new(2)`; None for silence, noise and sentence marks."""
    return None if _FILLER.match(entry) else _VARIANT.sub("", entry)


def spoken_text(hypothesis: str) -> str:
    """The words of a hypothesis."""
    words = (spoken_word(entry) for entry in hypothesis.split())
    return " ".join(word for word in words if word)


def transcript_of(segments: Iterable[Segment]) -> Transcript:
    """The transcript of these segments; its confidence is the mean of its words'."""
    words = tuple(
        Word(word, segment.start_ms, segment.end_ms, round(min(max(segment.probability, 0.0), 1.0), 3))
        for segment in segments
        if (word := spoken_word(segment.entry))
    )
    if not words:
        return Transcript("", 0.0)
    confidence = sum(word.confidence for word in words) / len(words)
    return Transcript(" ".join(word.text for word in words), round(confidence, 3), words)
