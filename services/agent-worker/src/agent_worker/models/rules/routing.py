"""Which tool a sentence asks for, and with which arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from agent_worker.models.rules.arguments import fill
from agent_worker.models.rules.filling import Filling
from agent_worker.models.rules.matching import Match, match
from agent_worker.models.rules.profile import Profile, Tool, profile_of
from agent_worker.models.rules.schema import Parameter, Path
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.vocabulary import Heard, Vocabulary

CONFIDENT: Final = 0.42  # below it no tool is called
_EVIDENCE: Final = 0.3  # of the best word; less is no reason to look at a tool
_NEAR: Final = 0.3  # a tool that may have been meant
_MARGIN: Final = 0.03  # between two tools, below which neither is called if it does something
_SHORTLIST: Final = 5  # tools whose arguments are looked for
_MAX_KEPT: Final = 512  # sentences that a router keeps the routes of


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
    near: tuple[Profile, ...] = ()  # the tools that may have been meant, if there is no tool

    def refilled(self, values: Mapping[Path, Any]) -> "Route":
        """The same request with these values."""
        filling = Filling(dict(values))
        missing = filling.missing(self.profile.parameters) if self.profile else ()
        return replace(self, filling=filling, arguments=filling.arguments(), missing=missing)

    fit: float = 0.0  # how well the words fit, whatever is missing
    borrowed: Parameter | None = None  # gets its value from the result of the request before


def route(text: str, tools: Sequence[Tool], now: datetime) -> Route:
    """The tool that a sentence asks for, with all arguments that can be read from it."""
    return Router([profile_of(tool) for tool in tools]).route(text, now)


class Router:
    """Routes sentences to the tools of one moment; each sentence is worked out once."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.profiles = profiles
        self.vocabulary = Vocabulary(profiles)
        self._known: dict[tuple[str, datetime], Route] = {}

    def route(self, text: str, now: datetime) -> Route:
        """As the function of this name."""
        found = self._known.get((text, now))
        if found is None:
            if len(self._known) >= _MAX_KEPT:
                self._known.clear()
            found = self._known[text, now] = self._routed(Sentence(text, now))
        return found

    def _routed(self, sentence: Sentence) -> Route:
        heard = Heard(sentence, self.vocabulary)
        matches = [one for profile in self.profiles if (one := match(heard, profile)).evidence >= _EVIDENCE]
        ranked = sorted(matches, key=lambda one: -one.score())[:_SHORTLIST]
        candidates = sorted(map(_candidate, ranked), key=lambda candidate: -candidate.confidence)
        if not candidates:
            return Route(None)
        best = candidates[0]
        if best.confidence >= CONFIDENT and not _tied(candidates):
            return best
        near = tuple(one.profile for one in candidates if one.profile and one.confidence >= _NEAR)
        return Route(None, confidence=min(best.confidence, CONFIDENT), near=near)


@lru_cache(maxsize=8)
def router_for(profiles: tuple[Profile, ...]) -> Router:
    """The router of these tools: a turn asks the model several times, and each time looks back at earlier turns."""
    return Router(profiles)


def _tied(candidates: Sequence[Route]) -> bool:
    """Whether another deed fits as well, so that doing either would be a guess: "the light in the kitchen"."""
    best, *others = candidates
    if best.profile is None or not best.profile.acts:
        return False
    return any(abs(one.fit - best.fit) < _MARGIN and one.confidence > best.confidence - _MARGIN for one in others)


def _candidate(found: Match) -> Route:
    profile = found.profile
    filling = fill(profile, found.sentence, found.triggers)
    missing = filling.missing(profile.parameters)
    intent = "clarify" if missing else profile.name
    confidence, fit = found.confidence(filling), found.score(filling)
    return Route(profile.name, filling.arguments(), missing, confidence, intent, profile, filling, fit=fit)
