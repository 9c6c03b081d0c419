"""Asking back: one question for one missing parameter, in the words of its name and description."""

import re
from typing import Final

from agent_worker.models.rules.claims import moment_kind
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.verbs import deed_of
from agent_worker.models.rules.words import parts_of

_MAX_CHOICES: Final = 12
_MAX_WORDS: Final = 8  # of a description that is used in a question
_PHRASE_END: Final = re.compile(r"[.,;:(\n]|\s+(?:for example|e\.g\.|such as|in the form|as in|like)\b", re.IGNORECASE)
_ASKING: Final = frozenset({"what", "which", "who", "whom", "where", "when", "how", "why", "whether", "if"})
_TOLD: Final = word_set(  # one says what they are, not which one
    """
    address age amount body code comment content cost count description duration email height id label length level
    limit message name note number password percent phone phrase price priority prompt quantity query question rate
    reason size speed subject summary temperature text time title url weight width
    """
)
_NO_NOUN: Final = word_set("after as at before by for from if in of one only optional per such to with words")
_MEANT: Final = {
    "to": "recipient",
    "from": "origin",
    "at": "time",
    "when": "time",
    "where": "place",
    "who": "person",
    "q": "query",
}


def listed(items: list[str], last: str) -> str:
    """ "a, b or c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def question_for(parameter: Parameter) -> str:
    """One clear question that names what is missing, with the choices if there are any."""
    noun = _noun(parameter)
    if parameter.choices or (parameter.item and parameter.item.choices):
        choices = [
            choice.spoken for choice in (parameter.choices or (parameter.item.choices if parameter.item else ()))
        ]
        more = ["something else"] if len(choices) > _MAX_CHOICES else []
        return f"Which {noun} do you mean: {listed(choices[:_MAX_CHOICES] + more, 'or')}?"
    if parameter.kinds[0] == "boolean":
        return f"What about {noun}: yes or no?"
    if parameter.kinds[0] == "array":
        return f"What are the {noun}?"
    if parameter.numeric and noun == parameter.label and _is_plural(noun):
        return f"How many {noun}?"
    told = moment_kind(parameter) not in {"", "day"} or noun.split()[-1] in _TOLD or len(noun.split()) > 2
    if not told:
        return f"Which {noun} do you mean?"
    return f"What {'are' if _is_plural(noun.partition(' of ')[0]) else 'is'} the {noun}?"


def correction_for(parameter: Parameter) -> str:
    """The question again, after an answer that the parameter doesn't take."""
    return f"Sorry, I need {_demand(parameter)}. {question_for(parameter)}"


def _noun(parameter: Parameter) -> str:
    """The name of the parameter, made clear by its description: "origin, the city to fly from"."""
    label = _MEANT.get(parameter.label, parameter.label)
    phrase = _phrase(parameter.description) or _phrase(parameter.title)
    words = set(phrase.split())
    if phrase and (set(label.split()) <= words or (len(label) <= 2 and words)):
        return phrase
    return f"{label}, the {phrase}" if phrase and len(words) > 2 and not parameter.choices else label


def _is_plural(noun: str) -> bool:
    return noun.endswith("s") and not noun.endswith(("ss", "us", "is"))


def _phrase(description: str) -> str:
    """The description as a noun without its article; empty if it isn't one or is too long."""
    text = _PHRASE_END.split(" ".join(description.split()), maxsplit=1)[0].strip()
    words = text.split()
    if not words or len(words) > _MAX_WORDS:
        return ""
    first = words[0].lower()
    if first in {"the", "a", "an"}:
        words = words[1:]
    elif first in _ASKING or first in _NO_NOUN or deed_of(first):
        words = words[1:] if first == "which" else []
    if not words:
        return ""
    head = words[0] if words[0][1:].lower() != words[0][1:] else words[0].lower()
    return " ".join([head, *words[1:]])


def _demand(parameter: Parameter) -> str:
    kind = moment_kind(parameter)
    if parameter.numeric:
        low, high = parameter.minimum, parameter.maximum
        whole = "a number" if "number" in parameter.kinds else "a whole number"
        if low is not None and high is not None:
            return f"{whole} between {low:g} and {high:g}"
        return (
            f"{whole} of at least {low:g}"
            if low is not None
            else f"{whole} of at most {high:g}"
            if high is not None
            else whole
        )
    if parameter.item is not None:
        return f"at least {parameter.min_items} of them" if parameter.min_items > 1 else "at least one of them"
    if kind:
        return {"day": "a day", "time": "a time of day", "moment": "a day and a time", "duration": "a length of time"}[
            kind
        ]
    if parameter.choices:
        return "one of these"
    article = "an" if parameter.label[:1] in "aeiou" else "a"
    return f"{article} {' '.join(parts_of(parameter.name))}"
