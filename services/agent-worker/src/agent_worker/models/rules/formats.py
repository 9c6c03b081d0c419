"""Texts of a certain form: e-mail addresses, links, codes, and what a description gives as an example."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from agent_worker.models.rules.cues import Mention
from agent_worker.models.rules.places import Claim, Place
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.words import parts_of, stem

_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.\w+")
_URL: Final = re.compile(r"(?:https?://|www\.)\S+|[\w-]+(?:\.[\w-]+)*\.(?:com|org|net|io|dev|edu|gov)(?:/\S*)?")
_CODES: Final = word_set(
    "id number code no nr num sku pin isbn zip postcode phone ref reference serial ticket key uuid version"
)
_EXAMPLES: Final = re.compile(r"(?:for example|e\.g\.|such as|for instance|like)[:,]? ([^.;()]+)", re.IGNORECASE)
_EXAMPLE_JOINT: Final = re.compile(r",\s*(?:or |and )?| or | and ")


def is_code(parameter: Parameter) -> bool:
    """Whether a parameter takes a text such as a number, not words."""
    return parameter.textual and bool(_CODES & set(parts_of(parameter.name)))


def formatted_claims(parameter: Parameter, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    """The texts in a sentence that have the form which the parameter's name, format, pattern or examples ask for."""
    sentence = place.sentence
    name = set(parts_of(parameter.name))
    if parameter.format == "email" or "email" in name:
        for start, end, text in _addresses(sentence):
            if _EMAIL.fullmatch(text):
                yield Claim(parameter, text, start, end, 2.0)
    elif parameter.format in {"uri", "url"} or name & {"url", "uri", "link", "website"}:
        for start, end, text in _addresses(sentence):
            if _URL.fullmatch(text) and "@" not in text:
                url = text if "://" in text or parameter.format not in {"uri", "url"} else f"https://{text}"
                yield Claim(parameter, url, start, end, 2.0)
    elif is_code(parameter) or parameter.pattern:
        yield from _code_claims(parameter, named, place)
    for start, end in _examples_said(parameter, sentence):
        yield Claim(parameter, sentence.said(start, end), start, end, 1.2)


def matches(pattern: str, text: str) -> bool:
    """Whether a text has a schema's pattern; one that can't be compiled is no obstacle."""
    try:
        return len(text) <= 200 and re.search(pattern, text) is not None
    except re.error:
        return True


def _code_claims(parameter: Parameter, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    for start, end, code in _codes(place.sentence):
        forms = [form for form in (code, code.upper()) if not parameter.pattern or matches(parameter.pattern, form)]
        evidence = place.evidence(parameter, named, start, end)
        if forms and (is_code(parameter) or end - start > 1 or evidence or not code.isdigit()):
            yield Claim(parameter, forms[0], start, end, 1.0 + evidence + 0.1 * (end - start))


def _codes(sentence: Sentence) -> Iterator[tuple[int, int, str]]:
    """Runs of digits, numbers and single letters, joined: "l h four hundred" is LH400, "ORD-12" itself."""
    numbers = {number.start: number for number in sentence.numbers}
    at = 0
    while at < len(sentence):
        start, code = at, ""
        while at < len(sentence):
            word, number = sentence.words[at], numbers.get(at)
            if number and not number.ordinal:
                code, at = (
                    code + (number.code or word.text if number.end == at + 1 else number.code or str(number.value)),
                    number.end,
                )
            elif len(word.norm) == 1 and word.norm.isalpha() and (word.norm not in {"a", "i"} or at > start):
                code, at = code + word.text.upper(), at + 1
            else:
                break
        if any(map(str.isdigit, code)):
            yield start, at, code.lstrip("#")
        elif at == start:
            if any(map(str.isdigit, sentence.norms[at])):
                yield at, at + 1, sentence.words[at].text.lstrip("#")
            at += 1


def _addresses(sentence: Sentence) -> Iterator[tuple[int, int, str]]:
    """Words that are written as an address, and runs that spell one: "bob at example dot com"."""
    norms = sentence.norms
    for at, word in enumerate(sentence.words):
        if "." in word.text or "@" in word.text:
            yield at, at + 1, word.text
        if norms[at + 1 : at + 2] == ["dot"] and (at < 2 or norms[at - 1] != "dot"):
            end = at + 1
            while norms[end : end + 1] == ["dot"] and end + 1 < len(norms):
                end += 2
            host = "".join(norms[at:end]).replace("dot", ".")
            if at >= 2 and norms[at - 1] == "at":
                yield at - 2, end, f"{norms[at - 2]}@{host}"
            yield at, end, host


def _examples_said(parameter: Parameter, sentence: Sentence) -> Iterator[tuple[int, int]]:
    """Where a value is said that the description names as an example."""
    if not parameter.textual or not (match := _EXAMPLES.search(parameter.description)):
        return
    for example in _EXAMPLE_JOINT.split(match[1]):
        phrase = [stem(part) for part in re.findall(r"[^\W_]+", example.lower())]
        for start in range(len(sentence) - len(phrase) + 1 if phrase else 0):
            if sentence.stems[start : start + len(phrase)] == phrase:
                yield start, start + len(phrase)
