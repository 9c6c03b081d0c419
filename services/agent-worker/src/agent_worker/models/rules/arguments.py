"""The arguments of a tool, read from a sentence."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_worker.models.rules.claims import (
    SURE,
    choice_matches,
    claims_of,
    free_text,
    moment_kind,
    number_value,
)
from agent_worker.models.rules.cues import mentions
from agent_worker.models.rules.filling import Filling
from agent_worker.models.rules.fitting import fitted, takes_text
from agent_worker.models.rules.numbers import Number, misheard_numbers
from agent_worker.models.rules.places import Claim, Place
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.schema import Parameter, Path
from agent_worker.models.rules.scope import Scope
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.texts import texts_in

_BEFORE_QUANTITY: Final = word_set(
    "the next last past first for at on in by of about least most within to from until till than around coming"
)
_COUNTERS: Final = word_set(
    """
    adults characters copies days degrees dollars euros grams guests hours items kilometers kilos liters meters miles
    minutes months nights pages passengers people percent persons pieces points pounds seconds sentences stars times
    units weeks words years
    """
)


def fill(
    profile: Profile, sentence: Sentence, triggers: frozenset[int], known: Mapping[Path, Any] | None = None
) -> Filling:
    """Read all arguments that a sentence holds; `known` are those that were said before."""
    filling = Filling(dict(known or {}))
    for parameter in profile.parameters:
        if parameter.required and parameter.constant is not None and parameter.path not in filling.values:
            filling.values[parameter.path] = parameter.constant
    open_parameters = [one for one in profile.parameters if one.path not in filling.values and one.constant is None]
    reading = _Reading(profile, sentence, triggers, open_parameters, filling)
    reading.claims()
    reading.numbers_in_order()
    reading.texts()
    reading.arrays()
    reading.stray_numbers()
    return filling


class _Reading:
    """The steps of filling, the surest first; each takes the words that it used away from the next ones."""

    def __init__(
        self,
        profile: Profile,
        sentence: Sentence,
        triggers: frozenset[int],
        parameters: Sequence[Parameter],
        filling: Filling,
    ) -> None:
        self._profile = profile
        self._sentence = sentence
        self._place = Place(sentence, triggers, profile.weights.keys())
        self._parameters = parameters
        self._filling = filling
        self._named = {one: mentions(sentence.stems, one, profile.parameters, triggers) for one in parameters}
        self._facets: dict[int, str] = {}  # of a moment's words: which of its parts is still free

    def claims(self) -> None:
        """Values that are recognised by themselves, the best supported first."""
        free = free_text(self._sentence)
        found = [
            claim
            for parameter in self._parameters
            for claim in claims_of(parameter, self._named[parameter], self._place)
            if self._acceptable(claim, free)
        ]
        order = {parameter: index for index, parameter in enumerate(self._parameters)}
        for claim in sorted(found, key=lambda claim: (-round(claim.score, 3), order[claim.parameter], claim.start)):
            if not self._has(claim.parameter) and self._free(claim):
                self._take(claim)

    def numbers_in_order(self) -> None:
        """What is left of the numbers, for the required parameters in the tool's order."""
        wanting = [one for one in self._parameters if one.required and one.numeric and not self._has(one)]
        numbers = self._free_numbers(len(wanting))
        for number in numbers:
            for parameter in wanting:
                value = number_value(parameter, number.value)
                if value is not None and not self._has(parameter):
                    self._set(parameter, value, number.start, number.end)
                    break
        if self._free_numbers():
            self._filling.rejected.update(one.path for one in wanting if not self._has(one))

    def texts(self) -> None:
        """Texts of any words, also several in a list."""
        wanting = [one for one in self._parameters if not self._has(one) and takes_text(one)]
        scope = Scope(
            sentence=self._sentence,
            parameters=wanting,
            named={one: self._named[one] for one in wanting},
            triggers=self._place.triggers,
            first_trigger=min(self._place.triggers, default=-1),
            leading=self._place.leading,
            taken=self._filling.used,
            known=self._profile.weights.keys(),
        )
        for found in texts_in(scope):
            parameter, segment = found.parameter, found.segment
            value = fitted(parameter, self._sentence, segment, self._place.triggers)
            if value:
                self._set(parameter, value, segment.begin, segment.end)
                if not found.sure:
                    self._filling.guessed.update(range(segment.start, segment.end))
                    self._filling.guessed_paths.add(parameter.path)

    def arrays(self) -> None:
        """Arrays of numbers and of choices take all that is left and fits."""
        for parameter in self._parameters:
            item = parameter.item
            if item is None or self._has(parameter):
                continue
            if not (parameter.required or item.choices or self._named[parameter]):
                continue
            if item.choices:
                matches = [match for match in choice_matches(item.choices, self._sentence) if match[3] >= 0.8]
                values = {choice.value: (start, end) for choice, start, end, _ in sorted(matches, key=lambda m: m[1])}
                spans, found = list(values.values()), list(values)
            elif item.numeric:
                numbers = self._free_numbers(parameter.min_items)
                kept = [(number, number_value(item, number.value)) for number in numbers]
                spans = [(number.start, number.end) for number, value in kept if value is not None]
                found = [value for _, value in kept if value is not None]
            else:
                continue
            if found and len(found) >= parameter.min_items:
                self._filling.values[parameter.path] = found
                for start, end in spans:
                    self._filling.used.update(range(start, end))
            else:
                self._filling.loose = found

    def stray_numbers(self) -> None:
        """A number beside the words that named the tool, for the only optional number: "tell me ten facts"."""
        wanting = [one for one in self._parameters if one.numeric and not one.required and not self._has(one)]
        numbers = [one for one in self._free_numbers() if self._place.beside_trigger(one.start, one.end)]
        if len(wanting) == 1 and numbers:
            value = number_value(wanting[0], numbers[0].value)
            if value is not None:
                self._set(wanting[0], value, numbers[0].start, numbers[0].end)

    def _acceptable(self, claim: Claim, free: frozenset[int]) -> bool:
        quoted = self._sentence.quoted(claim.start, claim.end)
        protected = quoted or claim.start in free
        if claim.parameter.required and not claim.parameter.numeric:
            return not quoted
        return claim.score >= (2.0 if protected else SURE)

    def _free(self, claim: Claim) -> bool:
        words = range(claim.start, claim.end)
        if claim.facet and all(self._facets.get(at, claim.facet) != claim.facet for at in words):
            return True
        return not self._filling.used.intersection(words)

    def _take(self, claim: Claim) -> None:
        for at in range(claim.start, claim.end):
            self._facets[at] = claim.facet
        if claim.parameter.choices and claim.score >= SURE:
            self._filling.chosen.add(claim.parameter.path)
        self._set(claim.parameter, claim.value, claim.start, claim.end)

    def _set(self, parameter: Parameter, value: object, start: int, end: int) -> None:
        """Keep a value; the words that announced it are used up as well."""
        self._filling.values[parameter.path] = value
        self._filling.used.update(range(start, end))
        if not isinstance(value, str) or moment_kind(parameter):
            start, end = self._with_neighbours(start, end)
            self._filling.used.update(range(start, end))
        found = list(self._place.announcements(self._named.get(parameter, ()), start, end))
        if found:
            mention = max(found, key=lambda entry: entry[0])[1]
            self._filling.used.update(range(min(start, mention.start), max(end, mention.end)))

    def _with_neighbours(self, start: int, end: int) -> tuple[int, int]:
        """A quantity or a time with the small words before it and what it counts: "for the next three days"."""
        norms = self._sentence.norms
        while start and norms[start - 1] in _BEFORE_QUANTITY and start - 1 not in self._place.triggers:
            start -= 1
        return start, end + (end < len(norms) and norms[end] in _COUNTERS)

    def _has(self, parameter: Parameter) -> bool:
        return parameter.path in self._filling.values

    def _free_numbers(self, wanted: int = 0) -> list[Number]:
        """The numbers that nothing was read from; if too few, taken apart and with those that may be misheard."""
        numbers = list(filter(self._is_free, self._sentence.numbers))
        if len(numbers) < wanted:
            numbers = [part for number in numbers for part in number.parts or (number,)]
        if len(numbers) < wanted:
            misheard = filter(self._is_free, misheard_numbers(self._sentence.norms))
            numbers = sorted([*numbers, *misheard], key=lambda number: number.start)
        return numbers

    def _is_free(self, number: Number) -> bool:
        words = range(number.start, number.end)
        return not self._filling.used.intersection(words) and not self._sentence.quoted(number.start, number.end)
