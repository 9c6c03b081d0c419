"""Results of tools as sentences that can be read and heard."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pydantic_core

from agent_worker.models.rules.questions import listed
from agent_worker.models.rules.words import parts_of

_MAX_ITEMS: Final = 25  # of a list that is told
_MAX_DEPTH: Final = 4
_END: Final = re.compile("[.!?\N{HORIZONTAL ELLIPSIS}][\"'\N{RIGHT DOUBLE QUOTATION MARK})\\]*_`]*$|```$")
_PREFIX: Final = re.compile(r"^Error executing tool [^:]+: ")
_INVALID: Final = re.compile(r"\d+ validation errors? for ")
_DETAIL: Final = re.compile(r" \[type=.*\]$")
_PIECE: Final = re.compile(r"\S+\s*|\s+")
_ORDINALS: Final = (
    "First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh", "Eighth", "Ninth", "Tenth"
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a tool call came to."""

    tool: str
    title: str  # the tool's name as words: "get weather"
    noun: str  # what it is about: "weather"; may be empty
    content: Any
    acts: bool = False  # it did something, rather than tell something
    outcome: str = "success"  # or failed, retried, denied, interrupted


def answer_for(results: Sequence[Result]) -> str:
    """All results of a turn, one after the other."""
    return " ".join(filter(None, map(sentence_for, results)))


def sentence_for(result: Result) -> str:
    """One result in one or more whole sentences; what went wrong is told as it is."""
    match result.outcome:
        case "success":
            return " ".join(_told(result, _parsed(result.content)))
        case "interrupted":
            return (
                f"I don't know whether {result.title or result.tool} went through{_because(result.content)}. "
                "Please check before you ask for it again."
            )
        case "denied":
            return f"I was not allowed to do that{_because(result.content)}."
        case _:
            return f"Sorry, that didn't work{_because(result.content)}."


def pieces(text: str) -> Iterator[str]:
    """The text word by word, each with the white space behind it."""
    for match in _PIECE.finditer(text):
        yield match[0]


def numbers_in(content: object) -> list[float]:
    """The numbers that a result names, in order."""
    content = _parsed(content)
    if isinstance(content, bool):
        return []
    if isinstance(content, int | float):
        return [content]
    found = re.findall(
        r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w])", _plain(content) if not isinstance(content, str) else content
    )
    values = [float(number.replace(",", "")) for number in found]
    return [int(value) if value.is_integer() else value for value in values]


def _parsed(content: object) -> object:
    """A text that is JSON as what it stands for; {"result": x} as x."""
    if isinstance(content, str) and content[:1] in {"{", "["}:
        try:
            content = pydantic_core.from_json(content)
        except ValueError:
            return content
    if isinstance(content, Mapping) and content.keys() == {"result"}:
        return content["result"]
    return content


def _because(content: object) -> str:
    text = _plain(_parsed(content)) if not isinstance(content, str) else _reason(_PREFIX.sub("", content.strip()))
    return f": {text.rstrip('.!? ')}" if text else ""


def _reason(text: str) -> str:
    """An error in one line; of pydantic's lists of errors only what they say about each field."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not _INVALID.match(lines[0]):
        return " ".join(lines)
    told = [_DETAIL.sub("", line) for line in lines[1:] if not line.startswith("For further information")]
    return "; ".join(f"{field}: {problem}" for field, problem in zip(told[::2], told[1::2], strict=False)) or lines[0]


def _told(result: Result, content: object) -> Iterator[str]:
    match content:
        case None | "":
            yield "Done."
        case bool():
            yield "Yes." if content else "No."
        case int() | float():
            yield _value(result, _number(content))
        case str():
            yield _text(result, content)
        case Mapping():
            yield _closed(_capital(_plain(content))) if content else "Done."
        case Sequence():
            yield from _list(result, list(content))
        case _:
            yield _closed(str(content))


def _text(result: Result, text: str) -> str:
    """A text as it is if it reads like a sentence; a bare value in one."""
    text = text.strip()
    if not text:
        return "Done."
    words = text.split()
    if _END.search(text) or len(words) > 6 or "\n" in text:
        return _closed(text)
    if len(words) > 2 and text[:1].isupper():
        return _closed(text)
    return _value(result, text)


def _value(result: Result, value: str) -> str:
    if result.acts and result.noun:
        return f"Done: {value}."
    return f"The {result.noun if result.noun and not result.noun.endswith('s') else 'answer'} is {value}."


def _list(result: Result, items: list[object]) -> Iterator[str]:
    noun = result.noun or "results"
    if not items:
        yield f"There are no {noun if noun.endswith('s') else noun + ' entries'}."
        return
    many = f"{len(items)} {noun}" if noun.endswith("s") and len(items) > 1 else _count(len(items))
    shown = items[:_MAX_ITEMS]
    if all(not isinstance(item, Mapping | list) for item in shown):
        yield _closed(f"{_there(items, many)}: {listed([_plain(item) for item in shown], 'and')}")
    else:
        yield f"{_there(items, many)}."
        for index, item in enumerate(shown):
            order = _ORDINALS[index] if index < len(_ORDINALS) else f"Number {index + 1}"
            yield _closed(f"{order}, {_plain(item)}" if len(items) > 1 else _capital(_plain(item)))
    if len(items) > len(shown):
        yield f"And {len(items) - len(shown)} more."


def _there(items: list[object], many: str) -> str:
    return f"There {'is' if len(items) == 1 else 'are'} {many}"


def _count(count: int) -> str:
    return "one" if count == 1 else str(count)


def _plain(content: object, depth: int = 0) -> str:
    """A value as words: "name: Smith, members: 4"."""
    match content:
        case None:
            return "nothing"
        case bool():
            return "yes" if content else "no"
        case int() | float():
            return _number(content)
        case str():
            return content.strip()
        case Mapping() if depth < _MAX_DEPTH:
            joint = ", " if depth == 0 else " and "
            return joint.join(
                f"{_key(str(key))}: {_plain(value, depth + 1)}" for key, value in content.items() if value is not None
            )
        case Sequence() if depth < _MAX_DEPTH:
            return listed([_plain(item, depth + 1) for item in content], "and") or "none"
        case _:
            return str(content)


def _key(key: str) -> str:
    return " ".join(parts_of(key)) or key


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.10g}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _closed(text: str) -> str:
    """With a mark at its end."""
    return text if _END.search(text) else f"{text.rstrip(',;: ')}."
