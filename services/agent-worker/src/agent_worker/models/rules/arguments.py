"""The arguments of a tool, read from a sentence."""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agent_worker.models.rules.claims import (
    SURE,
    choice_matches,
    claims_of,
    free_text,
    moment_kind,
    number_value,
)
from agent_worker.models.rules.cues import Mention, mentions
from agent_worker.models.rules.formats import is_code, matches
from agent_worker.models.rules.numbers import Number
from agent_worker.models.rules.places import Claim, Place
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.schema import Parameter, Path
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.texts import Segment, Texts

_BEFORE_QUANTITY: Final = frozenset(
    "the next last past first for at on in by of about least most within to from until till than around coming".split()
)
_LIST_JOINT: Final = re.compile(r"\s*(?:,\s*(?:and|or)\s+|,|;|\s(?:and|or|plus)\s)\s*", re.IGNORECASE)


@dataclass
class Filling:
    """What a sentence gives a tool."""

    values: dict[Path, Any] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)  # words that values were read from
    guessed: set[int] = field(default_factory=set)  # those of them that stand there without a reason
    loose: list[Any] = field(default_factory=list)  # what an array would hold, if it were enough
    rejected: set[Path] = field(default_factory=set)  # a number was said for it that it doesn't take
    guessed_paths: set[Path] = field(default_factory=set)

    def missing(self, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
        """The parameters without a value that the tool can't do without."""
        return tuple(one for one in parameters if one.path not in self.values and self._needed(one))

    def arguments(self) -> dict[str, Any]:
        """The values in the form of the schema."""
        root: dict[str, Any] = {}
        for path, value in self.values.items():
            _put(root, path, copy.deepcopy(value))
        return root

    def _needed(self, parameter: Parameter) -> bool:
        if parameter.required:
            return True
        parent = parameter.path[:-1]
        optional_object = bool(parent) and parameter.siblings_required
        return optional_object and any(path[: len(parent)] == parent for path in self.values)


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
        self._place = Place(sentence, triggers)
        self._parameters = parameters
        self._filling = filling
        self._named = {one: mentions(sentence.stems, one, profile.parameters) for one in parameters}
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
        numbers = self._free_numbers()
        if len(numbers) < len(wanting):
            numbers = [part for number in numbers for part in number.parts or (number,)]
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
        wanting = [one for one in self._parameters if not self._has(one) and _takes_text(one)]
        named = {one: self._named[one] for one in wanting}
        taken = self._filling.used
        triggers, leading = self._place.triggers, self._place.leading
        texts = Texts(self._sentence, wanting, named, triggers, taken, self._profile.weights.keys(), leading)
        for parameter, segment, sure in texts.assign():
            text = self._sentence.said(segment.start, segment.end)
            value = _fitted(parameter, text, self._sentence, segment, self._place.triggers)
            if value and (not is_code(parameter) or _like_code(text, segment)):
                self._set(parameter, value, segment.begin, segment.end)
                if not sure:
                    self._filling.guessed.update(range(segment.start, segment.end))
                    self._filling.guessed_paths.add(parameter.path)

    def arrays(self) -> None:
        """Arrays of numbers and of choices take all that is left and fits."""
        for parameter in self._parameters:
            item = parameter.item
            if item is None or self._has(parameter) or not (parameter.required or self._named[parameter]):
                continue
            if item.choices:
                matches = [match for match in choice_matches(item.choices, self._sentence) if match[3] >= 0.8]
                values = {choice.value: (start, end) for choice, start, end, _ in sorted(matches, key=lambda m: m[1])}
                spans, found = list(values.values()), list(values)
            elif item.numeric:
                numbers = self._free_numbers()
                if len(numbers) < parameter.min_items:
                    numbers = [part for number in numbers for part in number.parts or (number,)]
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
        self._set(claim.parameter, claim.value, claim.start, claim.end)

    def _set(self, parameter: Parameter, value: object, start: int, end: int) -> None:
        """Keep a value; the words that announced it are used up as well."""
        self._filling.values[parameter.path] = value
        self._filling.used.update(range(start, end))
        if not isinstance(value, str) or moment_kind(parameter):
            while (
                start and self._sentence.norms[start - 1] in _BEFORE_QUANTITY and start - 1 not in self._place.triggers
            ):
                start -= 1
                self._filling.used.add(start)
        for mention in self._named.get(parameter, ()):
            if 0 <= start - mention.end <= 3 or 0 <= mention.start - end <= 1:
                self._filling.used.update(range(mention.start, mention.end), range(mention.end, start))
                break

    def _has(self, parameter: Parameter) -> bool:
        return parameter.path in self._filling.values

    def _free_numbers(self) -> list[Number]:
        return [
            number
            for number in self._sentence.numbers
            if not self._filling.used.intersection(range(number.start, number.end))
            and not self._sentence.quoted(number.start, number.end)
        ]


def _takes_text(parameter: Parameter) -> bool:
    return parameter.textual or (parameter.item is not None and parameter.item.textual)


def _fitted(parameter: Parameter, text: str, sentence: Sentence, segment: Segment, triggers: frozenset[int]) -> object:
    """The text in the form that the parameter takes: a list, a possessor without 's, what its pattern demands."""
    if parameter.item is not None and not parameter.textual:
        return [part for part in _LIST_JOINT.split(text) if part]
    if text.endswith(("'s", "\N{RIGHT SINGLE QUOTATION MARK}s")) and segment.end in triggers and not segment.quoted:
        text = text[:-2]
    if not parameter.pattern:
        return text
    joined = "".join(str(part) for part in _with_digits(sentence, segment))
    forms = (text, text.upper(), text.title(), joined, joined.upper(), text.replace(" ", "-"), text.replace(" ", "_"))
    return next((form for form in forms if matches(parameter.pattern, form)), text)


def _like_code(text: str, segment: Segment) -> bool:
    return segment.named is not None or segment.quoted or " " not in text or any(map(str.isdigit, text))


def _with_digits(sentence: Sentence, segment: Segment) -> list[str]:
    numbers = {number.start: number for number in sentence.numbers}
    parts: list[str] = []
    at = segment.start
    while at < segment.end:
        number = numbers.get(at)
        parts.append(str(number.value) if number else sentence.words[at].text)
        at = number.end if number else at + 1
    return parts


def _put(root: dict[str, Any], path: Path, value: object) -> None:
    """Set a value in nested objects; the 0 on a path stands for an array of one."""
    here: Any = root
    for step, following in zip(path, [*path[1:], None], strict=True):
        if following is None:
            if isinstance(value, dict) and not value:
                here.setdefault(step, value)
            else:
                here[step] = value
        elif following == 0:
            here = here.setdefault(step, [{}])
        elif step == 0:
            here = here[0]
        else:
            here = here.setdefault(step, {})
