"""Where a value stands in a sentence, and what the words around it say about whose value it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from agent_worker.models.rules.cues import FILLERS, Mention, affinity
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence

LEAD_IN: Final = frozenset(
    "hey hi hello ok okay so well um uh oh please now and then also can could will would you i i'd i'll i'm want need like "
    "love to let's lets us me just kindly go ahead try my the for".split()
)
NAMED: Final = 3.0  # the parameter's name stands before the value
NAMED_AFTER: Final = 2.5  # "three copies"


@dataclass(frozen=True, slots=True)
class Claim:
    """A value that a parameter may take from the words `start` to `end` (exclusive)."""

    parameter: Parameter
    value: Any
    start: int
    end: int
    score: float
    facet: str = ""  # "day" and "time": of one moment two parameters may take one each


@dataclass(frozen=True)
class Place:
    """What stands around a possible value."""

    sentence: Sentence
    triggers: frozenset[int]  # words that named the tool

    @property
    def leading(self) -> bool:
        """Whether the first word that matters names the tool: what follows is then its object."""
        first = next((at for at, norm in enumerate(self.sentence.norms) if norm not in LEAD_IN), -1)
        return first in self.triggers

    def cue(self, start: int) -> str:
        """The preposition before a word, over articles."""
        at = start - 1
        while at >= 0 and self.sentence.norms[at] in {"the", "a", "an"}:
            at -= 1
        return self.sentence.norms[at] if at >= 0 else ""

    def evidence(self, parameter: Parameter, named: Iterable[Mention], start: int, end: int) -> float:
        """How much the words around a value say that it belongs to the parameter."""
        best = affinity(self.cue(start), parameter) * 2
        norms = self.sentence.norms
        for mention in named:
            between = norms[mention.end : start]
            if mention.end <= start and len(between) <= 3 and all(word in FILLERS for word in between):
                best = max(best, NAMED * mention.weight)
            if mention.start >= end and norms[end : mention.start] in ([], ["of"], ["as"], ["as", "the"]):
                best = max(best, NAMED_AFTER * mention.weight)
            if mention.start >= end and norms[end : mention.start] in (["for", "the"], ["for"]):
                best = max(best, NAMED_AFTER * mention.weight * 0.5)
        return best

    def beside_trigger(self, start: int, end: int) -> bool:
        """Whether a value stands next to the words that named the tool: "tell me ten facts"."""
        return end in self.triggers or start - 1 in self.triggers or (
            start - 2 in self.triggers and self.sentence.norms[start - 1] in {"to", "number", "of", "by", "for"}
        )  # fmt: skip
