"""The words of all tools, and what the words of a sentence are worth against them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from agent_worker.models.rules.likeness import MOST_EDITS, likeness, sound
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.synonyms import HINTS, SYNONYMS
from agent_worker.models.rules.verbs import weakness
from agent_worker.models.rules.words import stem

_MAX_KEPT: Final = 4_096  # said words whose meaning is kept


class Vocabulary:
    """The words of all tools; those that few tools use weigh more."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.names = Counter(one for profile in profiles for one in profile.name_stems)
        self._tools = len(profiles)
        self._counts = Counter(term for profile in profiles for term in profile.weights)
        self._prefixes: dict[str, list[str]] = {}
        self._initials: dict[str, list[str]] = {}
        self._sounds: dict[str, list[str]] = {}
        for term in self._counts:
            self._prefixes.setdefault(term[:4], []).append(term)
            self._initials.setdefault(term[:1], []).append(term)
            self._sounds.setdefault(sound(term), []).append(term)
        self._alike: dict[str, dict[str, float]] = {}

    def __contains__(self, term: str) -> bool:
        return term in self._counts

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
            if len(self._alike) >= _MAX_KEPT:
                self._alike.clear()
            found = {term: alike for term in self._near(said) if (alike := likeness(said, term))}
            self._alike[said] = found
        return found

    def _near(self, said: str) -> set[str]:
        """The only words that may be like a said one: comparing it with all of them would take far longer."""
        near = {term for term in SYNONYMS.get(said, ()) if term in self._counts}
        near.update(self._prefixes.get(said[:4], ()) if len(said) >= 4 else ())
        if said in self._counts:
            return near | {said}
        near.update(term for term in HINTS.get(said, ()) if term in self._counts)
        near.update(term for term in self._initials.get(said[:1], ()) if abs(len(term) - len(said)) <= MOST_EDITS)
        near.update(self._sounds.get(sound(said), ()))
        return near


@dataclass(frozen=True)
class Heard:
    """A sentence against a vocabulary: what is the same for all tools."""

    sentence: Sentence
    vocabulary: Vocabulary

    @cached_property
    def weights(self) -> list[float]:
        """What each word tells."""
        return [self.vocabulary.weight(one) for one in self.sentence.stems]

    @cached_property
    def alike(self) -> list[Mapping[str, float]]:
        """For each word, the tools' words that it may stand for."""
        return [self.vocabulary.alike(one) for one in self.sentence.stems]

    @cached_property
    def joined(self) -> list[tuple[int, str]]:
        """Where two words are one of the tools' words: "check out" for checkout."""
        pairs = enumerate(pairwise(self.sentence.norms))
        compounds = ((at, left, stem(left + right)) for at, (left, right) in pairs)
        return [(at, one) for at, left, one in compounds if one in self.vocabulary and one != stem(left)]
