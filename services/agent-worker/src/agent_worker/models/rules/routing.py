"""Which tool a sentence asks for, and with which arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agent_worker.models.rules.arguments import fill
from agent_worker.models.rules.filling import Filling
from agent_worker.models.rules.matching import Match, match
from agent_worker.models.rules.profile import Profile, Tool, profile_of
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.vocabulary import Heard, Vocabulary

CONFIDENT: Final = 0.42  # below it no tool is called
_EVIDENCE: Final = 0.3  # of the best word; less is no reason to look at a tool
_SHORTLIST: Final = 5  # tools whose arguments are looked for


@dataclass(frozen=True)
class Route:
    """What a sentence asks for."""

    tool: str | None  # None: nothing that the tools can do
    arguments: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Parameter, ...] = ()  # required, and not said
    confidence: float = 0.0  # 0 to 1
    intent: str = "help"  # the tool's name; "clarify" if something is missing; "help" without a tool
    profile: Profile | None = None
    filling: Filling = field(default_factory=Filling)
    borrowed: Parameter | None = None  # gets its value from the result of the request before


def route(text: str, tools: Sequence[Tool], now: datetime) -> Route:
    """The tool that a sentence asks for, with all arguments that can be read from it."""
    return Router([profile_of(tool) for tool in tools]).route(text, now)


class Router:
    """Routes sentences to the tools of one moment; each sentence is worked out once."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.profiles = profiles
        self._vocabulary = Vocabulary(profiles)
        self._known: dict[tuple[str, datetime], Route] = {}

    def route(self, text: str, now: datetime) -> Route:
        """As the function of this name."""
        found = self._known.get((text, now))
        if found is None:
            found = self._known[text, now] = self._routed(Sentence(text, now))
        return found

    def _routed(self, sentence: Sentence) -> Route:
        heard = Heard(sentence, self._vocabulary)
        matches = [one for profile in self.profiles if (one := match(heard, profile)).evidence >= _EVIDENCE]
        ranked = sorted(matches, key=lambda one: -one.score())[:_SHORTLIST]
        best = max(map(_candidate, ranked), key=lambda candidate: candidate.confidence, default=Route(None))
        return best if best.confidence >= CONFIDENT else Route(None, confidence=best.confidence)


def _candidate(found: Match) -> Route:
    profile = found.profile
    filling = fill(profile, found.sentence, found.triggers)
    missing = filling.missing(profile.parameters)
    intent = "clarify" if missing else profile.name
    confidence = round(found.score(filling), 3)
    return Route(profile.name, filling.arguments(), missing, confidence, intent, profile, filling)
