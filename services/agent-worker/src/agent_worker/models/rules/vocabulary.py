"""The words of all tools, and what the words of a sentence are worth against them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from agent_worker.models.rules.likeness import likeness
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.synonyms import SYNONYMS
from agent_worker.models.rules.verbs import weakness


class Vocabulary:
    """The words of all tools; those that few tools use weigh more."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.names = Counter(one for profile in profiles for one in profile.name_stems)
        self._tools = len(profiles)
        self._counts = Counter(term for profile in profiles for term in profile.weights)
        self._prefixes: dict[str, list[str]] = {}
        for term in self._counts:
            self._prefixes.setdefault(term[:4], []).append(term)
        self._alike: dict[str, dict[str, float]] = {}

    def rarity(self, term: str) -> float:
        """The weight of a word; one that no tool uses weighs as much as one that a single tool uses."""
        return math.log(1 + self._tools / max(1, self._counts[term]))

    def weight(self, said: str) -> float:
        """How much a said word tells about what is meant."""
        rarities = [self.rarity(term) for term in self.alike(said)]
        return max(rarities, default=self.rarity(said)) * weakness(said)

    def alike(self, said: str) -> Mapping[str, float]:
        """The tools' words that a said word may stand for, with their likeness.

        Mishearing is thought of only if no tool uses the word as it is.
        """
        found = self._alike.get(said)
        if found is None:
            near = {term for term in SYNONYMS.get(said, ()) if term in self._counts}
            near.update(self._prefixes.get(said[:4], ()) if len(said) >= 4 else ())
            near |= {said} if said in self._counts else set(self._counts)
            found = {term: alike for term in near if (alike := likeness(said, term))}
            self._alike[said] = found
        return found


@dataclass(frozen=True)
class Heard:
    """A sentence against a vocabulary: what is the same for all tools."""

    sentence: Sentence
    vocabulary: Vocabulary

    @cached_property
    def weights(self) -> list[float]:
        """What each word tells."""
        return [self.vocabulary.weight(stem) for stem in self.sentence.stems]

    @cached_property
    def alike(self) -> list[Mapping[str, float]]:
        """For each word, the tools' words that it may stand for."""
        return [self.vocabulary.alike(stem) for stem in self.sentence.stems]
