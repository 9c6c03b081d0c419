"""How well a sentence fits a tool."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from agent_worker.models.rules.filling import Filling
from agent_worker.models.rules.likeness import HINT, RELATIVE, likeness, opposite
from agent_worker.models.rules.places import LEAD_IN, QUESTIONS, Place
from agent_worker.models.rules.profile import NAME, SUMMARY, Profile
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.synonyms import HINTS
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.verbs import Deed, deed_of, weakness
from agent_worker.models.rules.vocabulary import Heard
from agent_worker.models.rules.words import PARTICLES, STOP_WORDS, stem

_SAID: Final = 0.6  # what the share of the sentence that the tool explains counts, beside that of the tool's name
_PER_CHOICE: Final = 0.08  # for a choice of the tool that was said as it is
_PER_GAP: Final = 0.25  # less, if nothing of what is required was said
_TRIGGER: Final = 0.6  # a word worth this much names the tool
_NOUN: Final = 0.4  # what the tool's verb is worth where it is a noun
_LIGHT_VERBS: Final = word_set(
    "do make give set start run get take have create add show schedule send put place open file is are what's"
)
_SIGNS: Final = frozenset({"plus", "minus", "times", "divided"})
_RESULTS: Final = frozenset({"result", "answer", "sum", "total", "product", "difference"})  # of the request before


@dataclass(frozen=True)
class Match:
    """The words of a sentence that fit a tool: index → (worth, likeness)."""

    heard: Heard
    profile: Profile
    hits: Mapping[int, tuple[float, float]]

    @property
    def sentence(self) -> Sentence:
        """What was said."""
        return self.heard.sentence

    @cached_property
    def evidence(self) -> float:
        """What the best word is worth."""
        stems = self.sentence.stems
        return max((worth * weakness(stems[at]) for at, (worth, _) in self.hits.items()), default=0.0)

    @cached_property
    def triggers(self) -> frozenset[int]:
        """The words that name the tool rather than a value."""
        stems = self.sentence.stems
        return frozenset(
            at
            for at, (worth, alike) in self.hits.items()
            if worth >= _TRIGGER and (alike >= RELATIVE or worth >= SUMMARY) and stems.index(stems[at]) == at
        )

    @cached_property
    def leading(self) -> bool:
        """Whether the sentence begins with the words that name the tool."""
        return Place(self.sentence, self.triggers).leading

    def confidence(self, filling: Filling) -> float:
        """How likely the sentence asks for this tool, 0 to 1; less if something is missing."""
        required = sum(one.required and one.constant is None for one in self.profile.parameters)
        missing = len(filling.missing(self.profile.parameters)) / max(1, required)
        return round(self.score(filling) * (1 - _PER_GAP * min(1.0, missing)), 3)

    def score(self, filling: Filling | None = None) -> float:
        """How well the words fit the tool, 0 to 1; better known once the arguments were read."""
        if not self.hits:
            return 0.0
        score = _SAID * self._said_share(filling or Filling()) + (1 - _SAID) * self._named_share(filling)
        score *= self._deed_factor()
        chosen = len(filling.chosen) if filling else 0
        return min(1.0, score + _PER_CHOICE * min(2, chosen))

    def _deed_factor(self) -> float:
        """Below 1 if the sentence asks for another kind of deed than the tool does, or for the opposite."""
        own = self.profile.name_stems
        opposed = any(opposite(said, one) for said in set(self.sentence.stems).difference(own) for one in own)
        wanted, does = asked_deed(self.sentence), self.profile.deed
        first = first_that_matters(self.sentence)
        verb = stem(self.profile.title.partition(" ")[0])
        named = self.hits.get(first) == (NAME, 1.0) and verb.startswith(self.sentence.stems[first])
        if named or not wanted or not does or wanted == does:
            other = 1.0
        else:
            other = 0.7 if "read" in {wanted, does} else 1.0 if "act" in {wanted, does} else 0.85
        return 0.4 * other if opposed else other

    def _said_share(self, filling: Filling) -> float:
        """How much of what was said is explained by the tool's words; arguments hardly count."""
        explained = total = 0.0
        for at, word in enumerate(self.sentence.words):
            worth = self.hits[at][0] if at in self.hits else 0.0
            guessed = at in filling.guessed
            if at in filling.used and not guessed and worth < SUMMARY:
                continue
            value = at in self.sentence.values
            if not worth and not value and (word.norm in STOP_WORDS or self._is_reference(at)):
                continue
            minor = value or word.norm in STOP_WORDS
            weight = self.heard.weights[at] * (self._doubt(at) if guessed else 0.3 if minor else 1.0)
            explained, total = explained + weight * worth, total + weight
        return explained / total if total else 0.0

    def _doubt(self, at: int) -> float:
        """How much a word in a guessed argument speaks against the tool: more if it names another tool."""
        if self.heard.vocabulary.names[self.sentence.stems[at]]:
            return 0.6
        if not self.leading:
            return 0.5
        return 0.15 if self.hits[min(self.triggers)][1] == 1 else 0.35

    def _is_reference(self, at: int) -> bool:
        return at > 0 and self.sentence.norms[at] in _RESULTS and self.sentence.norms[at - 1] == "the"

    def _named_share(self, filling: Filling | None) -> float:
        """How much of the tool's name was said; a word that names a parameter counts once that has its value."""
        paths = filling.values.keys() - filling.guessed_paths if filling else ()
        given = {
            one for parameter in self.profile.parameters if parameter.path in paths for one in parameter.name_stems
        }
        said_stems = set(self.sentence.stems)
        said = found = 0.0
        for one in self.profile.name_stems:
            weight = self.heard.vocabulary.rarity(one) * weakness(one) * (0.5 if one in PARTICLES else 1.0)
            alike = max((likeness(other, one) for other in said_stems), default=0.0)
            said, found = said + weight, found + weight * max(alike, 0.9 * (one in given))
        return found / said if said else 0.0


def match(heard: Heard, profile: Profile) -> Match:
    """Look for a tool's words in a sentence."""
    hits: dict[int, tuple[float, float]] = {}
    weights = profile.weights
    for at, word in enumerate(heard.sentence.words):
        particle = word.norm in PARTICLES and word.stem in profile.name_stems
        if particle:
            hits[at] = (1.0, 1.0)
        if word.quote or word.norm in STOP_WORDS or (word.norm in _SIGNS and not profile.computes):
            hints = HINTS.get(word.norm)
            hint = max(weights.get(term, 0.0) for term in hints) if hints else 0.0
            if hint and not particle:
                hits[at] = (HINT * hint, HINT)
            continue
        found = [(alike * weights[term], alike) for term, alike in heard.alike[at].items() if term in weights]
        best = max(found) if found else None
        if best and (best[0] == NAME or at not in heard.sentence.values):
            hits[at] = (best[0] * _NOUN, best[1]) if _is_noun(heard.sentence, at, profile) else best
    for at, joined in heard.joined:
        if worth := weights.get(joined):
            hits[at] = hits[at + 1] = (worth, 1.0)
    return Match(heard, profile, hits)


def _is_noun(sentence: Sentence, at: int, profile: Profile) -> bool:
    """Whether the tool's verb is said as a noun: "recommend a good book", but not "make a booking"."""
    norms = sentence.norms
    verb, _, rest = profile.title.partition(" ")
    first = first_that_matters(sentence)
    if not rest or stem(verb) != sentence.stems[at] or first in {-1, at} or norms[first] in _LIGHT_VERBS:
        return False
    return bool({"a", "an", "the", "my"} & set(norms[max(0, at - 2) : at]))


def first_that_matters(sentence: Sentence) -> int:
    """The index of the first word that doesn't only lead up to the request; -1 if there is none."""
    return next((at for at, norm in enumerate(sentence.norms) if norm not in LEAD_IN), -1)


def asked_deed(sentence: Sentence) -> Deed:
    """The kind of deed that the first word that matters asks for; a question asks to read."""
    question = next((norm in QUESTIONS for norm in sentence.norms if norm not in LEAD_IN or norm in QUESTIONS), False)
    first = first_that_matters(sentence)
    return "read" if question else deed_of(sentence.norms[first]) if first >= 0 else ""
