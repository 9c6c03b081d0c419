"""Which tool a sentence asks for, and with which arguments."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from agent_worker.models.rules.arguments import Filling, fill
from agent_worker.models.rules.likeness import SYNONYMS, likeness, opposite
from agent_worker.models.rules.places import LEAD_IN, Place
from agent_worker.models.rules.profile import SUMMARY, Deed, Profile, Tool, deed_of, profile_of, weakness
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.words import PARTICLES, STOP_WORDS, stem

CONFIDENT: Final = 0.42  # below it no tool is called
_EVIDENCE: Final = 0.3  # of the best word; less is no reason to look at a tool
_SHORTLIST: Final = 5
_RESULTS: Final = frozenset({"result", "answer", "sum", "total", "product", "difference"})  # of the request before
QUESTIONS: Final = frozenset(
    "what what's whats which who who's whose when when's where where's how is are do does did has have was were".split()
)


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
    return route_sentence(Sentence(text, now), [profile_of(tool) for tool in tools])


def route_sentence(sentence: Sentence, profiles: Sequence[Profile]) -> Route:
    """As `route`, for what was prepared already."""
    if not profiles or not len(sentence):
        return Route(None)
    vocabulary = Vocabulary(profiles)
    matches = [vocabulary.match(sentence, profile) for profile in profiles]
    ranked = sorted(matches, key=lambda match: -match.score())[:_SHORTLIST]
    candidates = [_candidate(match) for match in ranked if match.evidence >= _EVIDENCE]
    best = max(candidates, key=lambda candidate: candidate.confidence, default=Route(None))
    return best if best.confidence >= CONFIDENT else Route(None, confidence=best.confidence)


class Vocabulary:
    """The words of all tools; those that few tools use weigh more."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self._tools = len(profiles)
        self._counts = Counter(term for profile in profiles for term in profile.weights)
        self.names = Counter(stem for profile in profiles for stem in profile.name_stems)
        self._alike: dict[str, dict[str, float]] = {}

    def rarity(self, term: str) -> float:
        """The weight of a word; one that no tool uses weighs as much as one that a single tool uses."""
        return math.log(1 + self._tools / max(1, self._counts[term]))

    def alike(self, said: str) -> Mapping[str, float]:
        """The tools' words that a said word may stand for, with their likeness."""
        found = self._alike.get(said)
        if found is None:
            near = {term for term in SYNONYMS.get(said, ()) if term in self._counts}
            exact = {said} if said in self._counts else set(self._counts)
            found = {term: alike for term in near | exact | self._prefixed(said) if (alike := likeness(said, term))}
            self._alike[said] = found
        return found

    def match(self, sentence: Sentence, profile: Profile) -> "Match":
        """How well a sentence's words fit a tool."""
        hits: dict[int, tuple[float, float]] = {}
        for at, word in enumerate(sentence.words):
            particle = word.norm in PARTICLES and word.stem in profile.name_stems
            if word.quote or (word.norm in STOP_WORDS and not particle):
                continue
            pairs = [
                (alike * profile.weights.get(term, 1.0 if particle else 0.0), alike)
                for term, alike in self.alike(word.stem).items()
            ]
            best = max(pairs, default=(0.0, 0.0))
            if best[0]:
                hits[at] = best
        for at, (left, right) in enumerate(pairwise(sentence.norms)):
            if worth := profile.weights.get(stem(left + right)):  # "check out" for checkout
                hits[at] = hits[at + 1] = (worth, 1.0)
        return Match(self, sentence, profile, hits)

    def _prefixed(self, said: str) -> set[str]:
        return {term for term in self._counts if term[:4] == said[:4]} if len(said) >= 4 else set()


@dataclass(frozen=True)
class Match:
    """The words of a sentence that fit a tool: index → (worth, likeness)."""

    vocabulary: Vocabulary
    sentence: Sentence
    profile: Profile
    hits: Mapping[int, tuple[float, float]]

    @property
    def evidence(self) -> float:
        """How much there is at all."""
        return max((worth * weakness(self.sentence.stems[at]) for at, (worth, _) in self.hits.items()), default=0.0)

    @property
    def triggers(self) -> frozenset[int]:
        """The words that name the tool, rather than a value."""
        return frozenset(
            at
            for at, (worth, alike) in self.hits.items()
            if worth >= SUMMARY * 0.8 and (alike >= 0.75 or worth >= 0.6) and self._first(at)
        )

    @property
    def leading(self) -> bool:
        """Whether the sentence begins with the words that name the tool."""
        return Place(self.sentence, self.triggers).leading

    def _first(self, at: int) -> bool:
        return self.sentence.stems.index(self.sentence.stems[at]) == at

    def score(self, filling: Filling | None = None) -> float:
        """How likely the sentence asks for this tool, 0 to 1; better known once the arguments were read."""
        said = self._said_share(filling or Filling())
        named = self._named_share(filling)
        score = (0.6 * said + 0.4 * named) * _deed_factor(self.sentence, self.profile, self.hits)
        if filling is not None and self.profile.parameters:
            required = [one for one in self.profile.parameters if one.required and one.constant is None]
            share = 1 - len(filling.missing(self.profile.parameters)) / max(1, len(required))
            score *= 0.75 + 0.25 * share
        return min(1.0, score)

    def _said_share(self, filling: Filling) -> float:
        """How much of what was said is explained by the tool's words; arguments don't count, guessed ones do half."""
        explained = total = 0.0
        for at, word in enumerate(self.sentence.words):
            worth = self.hits.get(at, (0.0, 0.0))[0]
            guessed = at in filling.guessed
            if at in filling.used and not guessed and worth < SUMMARY:
                continue
            value = self._is_value(at)
            if not worth and word.norm in _RESULTS and at and self.sentence.norms[at - 1] == "the":
                continue
            if (word.norm in STOP_WORDS and not value) and not worth:
                continue
            weight = self._weight(at) * (self._doubt(at) if guessed else 0.3 if value else 1.0)
            explained, total = explained + weight * worth, total + weight
        return explained / total if total else 0.0

    def _weight(self, at: int) -> float:
        said = self.sentence.stems[at]
        rarities = [self.vocabulary.rarity(term) for term in self.vocabulary.alike(said)]
        return max(rarities, default=self.vocabulary.rarity(said)) * weakness(said)

    def _doubt(self, at: int) -> float:
        """How much a word in a guessed argument speaks against the tool: more if it names another tool."""
        if self.vocabulary.names[self.sentence.stems[at]]:
            return 0.6
        if not self.leading:
            return 0.5
        first = min(self.triggers)
        return 0.15 if self.hits[first][1] == 1 else 0.35

    def _is_value(self, at: int) -> bool:
        spans = (*self.sentence.numbers, *self.sentence.moments, *self.sentence.durations)
        return any(span.start <= at < span.end for span in spans)

    def _named_share(self, filling: Filling | None) -> float:
        """How much of the tool's name was said; a word that names a parameter counts once that has its value."""
        paths = filling.values.keys() - filling.guessed_paths if filling else ()
        given = {stem for one in self.profile.parameters if one.path in paths for stem in one.name_stems}
        said = found = 0.0
        for stem in self.profile.name_stems:
            weight = self.vocabulary.rarity(stem) * weakness(stem) * (0.5 if stem in PARTICLES else 1.0)
            alike = max((likeness(self.sentence.stems[at], stem) for at in range(len(self.sentence))), default=0.0)
            if stem in given:
                alike = max(alike, 0.9)
            said, found = said + weight, found + weight * alike
        return found / said if said else 0.0


def _candidate(match: Match) -> Route:
    filling = fill(match.profile, match.sentence, match.triggers)
    missing = filling.missing(match.profile.parameters)
    confidence = round(match.score(filling), 3)
    intent = "clarify" if missing else match.profile.name
    return Route(match.profile.name, filling.arguments(), missing, confidence, intent, match.profile, filling)


def _deed_factor(sentence: Sentence, profile: Profile, hits: Mapping[int, object]) -> float:
    """Below 1 if the sentence asks for another kind of deed than the tool does, or for the opposite."""
    factor = 1.0
    own = set(profile.name_stems)
    for stem in own:
        if any(opposite(said, stem) and said not in own for said in sentence.stems):
            factor = min(factor, 0.4)
    wanted = asked_deed(sentence)
    if wanted and profile.deed and wanted != profile.deed:
        factor *= 0.7 if "read" in {wanted, profile.deed} else 0.85
    del hits
    return factor


def asked_deed(sentence: Sentence) -> Deed:
    """The kind of deed that the first word that matters asks for; a question asks to read."""
    for norm in sentence.norms:
        if norm in QUESTIONS:
            return "read"
        if norm not in LEAD_IN:
            return deed_of(norm)
    return ""
