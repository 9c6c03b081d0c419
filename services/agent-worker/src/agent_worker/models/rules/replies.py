"""The answer to a question for one parameter, and what else the answer says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from agent_worker.models.rules.arguments import fill
from agent_worker.models.rules.claims import NO, YES, choice_matches, moment_kind, moment_value, number_value
from agent_worker.models.rules.fitting import allowed
from agent_worker.models.rules.formats import formatted_claims, is_code
from agent_worker.models.rules.places import Place
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.schema import Parameter, Path
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set

_LEAD: Final = re.compile(
    r"^(?:(?:um|uh|well|oh|so|okay|ok|please|yes|no|sorry|i mean|i meant|i said|i want|i'd like|make it|let's say|"
    r"let's do|let's take|it's|it is|that's|that is|that would be|it should be|call it|name it|say|use|take|the one|"
    r"just|maybe)\b[,:]?\s*)+",
    re.IGNORECASE,
)
_TAIL: Final = re.compile(r"(?:[,.!?]|\s+(?:please|thanks|thank you|then))+$", re.IGNORECASE)
_ARTICLE: Final = re.compile(r"^(?:the|a|an|in|for|to|at|on|from|with|by|of)\s+(?=\S)", re.IGNORECASE)
EXACT: Final = word_set(
    "text message body content phrase sentence question prompt comment note words title description"
)


def answered(
    profile: Profile, parameter: Parameter, sentence: Sentence, values: Mapping[Path, Any], loose: Sequence[Any] = ()
) -> dict[Path, Any] | None:
    """The values with those that the answer adds; None if it doesn't answer the question.

    `loose` is what was said before of an array, too little to be one.
    """
    if not len(sentence):
        return None
    if parameter.textual and not moment_kind(parameter):
        return _with_text(profile, parameter, sentence, values)
    found = _typed(parameter, sentence)
    if found is None:
        return None
    value, start, end = found
    if parameter.item is not None:
        value = value if len(value) >= parameter.min_items else [*loose, *value]
        if len(value) < parameter.min_items:
            return None
    known = {**values, parameter.path: value}
    rest = _without(sentence, start, end)
    others = any(one.path not in known and not one.textual for one in profile.parameters)
    return dict(fill(profile, rest, frozenset(), known).values) if len(rest) and others else known


def _typed(parameter: Parameter, sentence: Sentence) -> tuple[Any, int, int] | None:
    """A value that is recognised by itself, and the words that say it."""
    if parameter.choices:
        return _choice(parameter, sentence)
    if parameter.kinds[0] == "boolean":
        said = next(((norm, at) for at, norm in enumerate(sentence.norms) if norm in YES | NO), None)
        return (said[0] in YES, said[1], said[1] + 1) if said else None
    if kind := moment_kind(parameter):
        return _moment(parameter, kind, sentence)
    if parameter.item is not None:
        return _array(parameter.item, sentence)
    for number in sentence.numbers:
        value = number_value(parameter, number.value)
        if value is not None:
            return value, number.start, number.end
    return None


def _choice(parameter: Parameter, sentence: Sentence) -> tuple[Any, int, int] | None:
    found = list(choice_matches(parameter.choices, sentence))
    if found:
        choice, start, end, _ = max(found, key=lambda match: (match[3], match[2] - match[1]))
        return choice.value, start, end
    for number in sentence.numbers:
        if any(choice.value == number.value for choice in parameter.choices):
            return number.value, number.start, number.end
        if 1 <= number.value <= len(parameter.choices) and isinstance(number.value, int):
            return parameter.choices[number.value - 1].value, number.start, number.end
    return None


def _moment(parameter: Parameter, kind: str, sentence: Sentence) -> tuple[Any, int, int] | None:
    if kind == "duration":
        return next(((one.iso(), one.start, one.end) for one in sentence.durations), None)
    for heard in (
        sentence,
        Sentence(f"at {sentence.text}", sentence.now),
        Sentence(f"on {sentence.text}", sentence.now),
    ):
        shift = len(heard) - len(sentence)
        for moment in heard.moments:
            value = moment_value(parameter, kind, moment, heard)
            if value is not None:
                return value, max(0, moment.start - shift), moment.end - shift
    return None


def _array(item: Parameter, sentence: Sentence) -> tuple[Any, int, int] | None:
    if item.choices:
        found: list[Any] = [
            choice.value for choice, _, _, alike in choice_matches(item.choices, sentence) if alike >= 0.8
        ]
    elif item.numeric:
        found = [value for number in sentence.numbers if (value := number_value(item, number.value)) is not None]
    else:
        found = [part for part in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", _bare(sentence.text)) if part]
    return (found, 0, len(sentence)) if found else None


def _with_text(
    profile: Profile, parameter: Parameter, sentence: Sentence, values: Mapping[Path, Any]
) -> dict[Path, Any] | None:
    if is_code(parameter) or parameter.format or parameter.pattern:
        claims = list(formatted_claims(parameter, (), Place(sentence, frozenset())))
        if claims:
            return {**values, parameter.path: max(claims, key=lambda claim: claim.score).value}
        if parameter.format in {"email", "uri", "url"}:
            return None
    bare = Sentence(_LEAD.sub("", sentence.text), sentence.now)
    filled = dict(fill(profile, bare, frozenset(), values).values)
    others = filled.keys() - values.keys() - {parameter.path}
    if parameter.path in filled and (others or parameter.name.lower() not in EXACT):
        return filled
    text = _bare(sentence.text)
    return {**values, parameter.path: text} if text and allowed(parameter, text) else None


def _bare(text: str) -> str:
    """The answer without what only leads up to it: "it's Paris, please" is Paris."""
    text = _TAIL.sub("", _LEAD.sub("", text.strip()))
    short = _ARTICLE.sub("", text)
    return (short if len(short.split()) <= 3 else text).strip("\"' ")


def _without(sentence: Sentence, start: int, end: int) -> Sentence:
    words = sentence.words
    before = sentence.text[: words[start].start] if start < len(words) else sentence.text
    after = sentence.text[words[end - 1].end :] if 0 < end <= len(words) else ""
    return Sentence(f"{before} {after}".strip(), sentence.now)
