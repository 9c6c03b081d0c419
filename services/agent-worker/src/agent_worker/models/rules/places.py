"""Where a value stands in a sentence, and what the words around it say about whose value it is."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from agent_worker.models.rules.cues import FILLERS, Mention, affinity
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set

LEAD_IN: Final = word_set(
    """
    hey hi hello ok okay so well um uh oh please now and then also can could will would you i i'd i'll i'm want need
    like love to let's lets us me just kindly go ahead try my the for
    """
)
QUESTIONS: Final = word_set(
    "what what's whats which who who's whose when when's where where's how is are do does did has have was were"
)
NAMED: Final = 3.0  # the parameter's name stands before the value
NAMED_AFTER: Final = 2.5  # "three copies"
_LIMITS: Final = {"at most": "below", "up to": "below", "no more": "below", "at least": "above"}
_JOINTS_BACK: Final = {
    "": 1.0,
    "of": 1.0,
    "as": 1.0,
    "as the": 1.0,
    "as a": 1.0,
    "as its": 1.0,
    "for the": 0.5,
    "for": 0.5,
}


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
    known: Container[str] = ()  # stems of all that the tool itself says

    @property
    def leading(self) -> bool:
        """Whether the first word that matters names the tool: what follows is then its object."""
        first = next((at for at, norm in enumerate(self.sentence.norms) if norm not in LEAD_IN), -1)
        return first in self.triggers

    def cue(self, start: int) -> str:
        """The preposition before a word, over articles; "less than" and the like are "below" and "above"."""
        at = start - 1
        while at >= 0 and self.sentence.norms[at] in {"the", "a", "an"}:
            at -= 1
        before = self.sentence.norms[max(0, at - 1) : at + 1]
        if before[-1:] == ["than"]:
            return "below" if before[0] in {"less", "fewer", "cheaper", "lower", "smaller"} else "above"
        return _LIMITS.get(" ".join(before)) or (before[-1] if before else "")

    def evidence(self, parameter: Parameter, named: Iterable[Mention], start: int, end: int) -> float:
        """How much the words around a value say that it belongs to the parameter."""
        announced = max((score for score, _ in self.announcements(named, start, end)), default=0.0)
        return max(announced, 2 * affinity(self.cue(start), parameter))

    def announcements(self, named: Iterable[Mention], start: int, end: int) -> Iterator[tuple[float, Mention]]:
        """The mentions of a parameter that belong to a value, each with what it is worth."""
        norms = self.sentence.norms
        for mention in named:
            if mention.end <= start:
                between = norms[mention.end : start]
                counted = "of" in between and mention.start in self._after_numbers  # "twenty percent of fifty"
                if len(between) <= 3 and not counted and all(word in FILLERS for word in between):
                    yield NAMED * mention.weight, mention
            elif mention.start >= end:
                joint = " ".join(norms[end : mention.start])
                if joint in _JOINTS_BACK:
                    yield NAMED_AFTER * mention.weight * _JOINTS_BACK[joint], mention

    @cached_property
    def _after_numbers(self) -> frozenset[int]:
        return frozenset(number.end for number in self.sentence.numbers)

    def beside_trigger(self, start: int, end: int) -> bool:
        """Whether a value stands next to the words that named the tool: "tell me ten facts"."""
        return end in self.triggers or start - 1 in self.triggers or (
            start - 2 in self.triggers and self.sentence.norms[start - 1] in {"to", "number", "of", "by", "for"}
        )  # fmt: skip
