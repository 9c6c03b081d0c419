"""Texts in the form that a parameter takes."""

import re
from typing import Final

from agent_worker.models.rules.claims import moment_kind
from agent_worker.models.rules.formats import is_code, matches
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.scope import Segment
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set

_FORMS: Final = word_set("email uri url uuid ipv4 ipv6 hostname")  # no words are any of these
_POSSESSIVE: Final = ("'s", "\N{RIGHT SINGLE QUOTATION MARK}s")
_LIST_JOINT: Final = re.compile(r"\s*(?:,\s*(?:and|or)\s+|,|;|\s(?:and|or|plus)\s)\s*", re.IGNORECASE)


def takes_text(parameter: Parameter) -> bool:
    """Whether any words will do, or a list of them."""
    if parameter.item is not None:
        return takes_text(parameter.item)
    return parameter.textual and not moment_kind(parameter) and parameter.format not in _FORMS


def fitted(parameter: Parameter, sentence: Sentence, segment: Segment, triggers: frozenset[int]) -> str | list[str]:
    """The text of a segment as the parameter takes it: a list, a possessor without 's, what its pattern demands.

    Empty if the parameter takes none such.
    """
    text = sentence.quotation(segment.start) if segment.quoted else sentence.said(segment.start, segment.end)
    if is_code(parameter) and not _like_code(text, segment):
        return ""
    if parameter.item is not None and not parameter.textual:
        parts = [part for part in _LIST_JOINT.split(text) if part]
        return parts if len(parts) >= parameter.min_items else []
    if text.endswith(_POSSESSIVE) and segment.end in triggers and not segment.quoted:
        text = text[:-2]
    if not parameter.pattern:
        return text if allowed(parameter, text) else ""
    joined = "".join(str(part) for part in _with_digits(sentence, segment))
    forms = (text, text.upper(), text.title(), joined, joined.upper(), text.replace(" ", "-"), text.replace(" ", "_"))
    return next((form for form in forms if allowed(parameter, form)), "")


def allowed(parameter: Parameter, text: str) -> bool:
    """Whether a text has the pattern and the length that the schema asks for."""
    short_enough = parameter.max_length is None or len(text) <= parameter.max_length
    return short_enough and (not parameter.pattern or matches(parameter.pattern, text))


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
