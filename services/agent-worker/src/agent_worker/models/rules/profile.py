"""What a tool's name, description and schema say about the sentences that ask for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, Protocol

import pydantic_core

from agent_worker.models.rules.schema import Parameter, parameters_of, stems_of
from agent_worker.models.rules.words import PARTICLES, STOP_WORDS, parts_of, stem, words_of

NAME: Final = 1.0  # what a word is worth by the place where the tool says it
SUMMARY: Final = 0.75
CHOICE: Final = 0.7
PARAMETER: Final = 0.6
DETAIL: Final = 0.4

Deed = Literal["", "read", "create", "delete", "change"]

_DEEDS: Final[Mapping[str, Deed]] = {
    stem(word): deed
    for deed, words in (
        ("read", "get fetch show list find search look lookup query read view check tell display describe retrieve see "
         "which count what who when where explain"),
        ("create", "create make new insert register post file submit"),
        ("delete", "delete remove erase drop cancel discard clear"),
        ("change", "update change edit modify set rename move turn switch toggle adjust increase decrease raise lower "
         "open close lock unlock start stop enable disable"),
    )
    for word in words.split()
}  # fmt: skip
_WEAK: Final = {
    stem(word): weight
    for weight, words in (
        (0.15, "get fetch retrieve do run execute perform call use tool give tell make a an the is it current currently"),
        (0.35, "show list set view read check see what which info information detail data value item id name number of "
         "my lookup look available all new"),
    )
    for word in words.split()
}  # fmt: skip


VERBS: Final = frozenset(
    "add assign apply book calculate call cancel change check close compute convert count create decline delete describe dim divide "
    "do download draw edit enable execute explain export fetch find follow generate get give have import insert invite list lock log look "
    "make manage measure move multiply open order pay pause plan play post print put query rate read record release remind remove "
    "rename rent reopen report reschedule reserve return run save schedule search send set share show solve start stop store submit "
    "subscribe subtract summarize tell track transfer translate turn unlock update upload validate verify watch write raise work power sum".split()
)


class Tool(Protocol):
    """What is known of a tool; pydantic-ai's `ToolDefinition` is one."""

    name: str
    description: str | None
    parameters_json_schema: dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """A tool, prepared for matching."""

    name: str
    title: str  # the name as words: "create issue"
    summary: str  # the description's first sentence, without its full stop
    parameters: tuple[Parameter, ...]
    name_stems: tuple[str, ...]
    weights: Mapping[str, float]  # stem → worth of the best place where the tool says it
    deed: Deed

    @property
    def noun(self) -> str:
        """What the tool is about: its name without the verb; empty if there is nothing else."""
        verb, _, rest = self.title.partition(" ")
        return rest if deed_of(verb) or verb in VERBS else self.title

    @property
    def acts(self) -> bool:
        """Whether calling it is rather a deed than a question."""
        verb = self.title.partition(" ")[0]
        return self.deed not in {"", "read"} or (self.deed == "" and verb in VERBS)


def profile_of(tool: Tool) -> Profile:
    """The profile of a tool; it is computed once for tools that are alike."""
    schema = pydantic_core.to_json(tool.parameters_json_schema)
    return _profile(tool.name, tool.description or "", schema)


def deed_of(word: str) -> Deed:
    """What kind of deed a verb asks for."""
    return _DEEDS.get(stem(word), "")


def weakness(word_stem: str) -> float:
    """How much less than others a word says about what is meant: 1 for most, near 0 for "get"."""
    return _WEAK.get(word_stem, 1.0)


@lru_cache(maxsize=1_024)
def _profile(name: str, description: str, schema: bytes) -> Profile:
    parts = parts_of(name.rpartition("__")[2])  # `server__tool`: the server is not asked for
    summary, details = _sentences(description)
    parameters = parameters_of(pydantic_core.from_json(schema))
    weights: dict[str, float] = {}
    for worth, stems in _fields(parts, summary, details, parameters):
        for one in stems:
            weights[one] = max(weights.get(one, 0.0), worth)
    name_stems = tuple(stem(part) for at, part in enumerate(parts) if part not in STOP_WORDS or _particle(parts, at))
    deed = "" if _only_numbers(parameters) else _deed(parts, summary)
    return Profile(name, " ".join(parts), summary, parameters, name_stems, weights, deed)


def _sentences(description: str) -> tuple[str, str]:
    """The first sentence of a description, and the rest of its first paragraphs without the list of arguments."""
    text = description.strip().split("\n\n")
    body = " ".join(
        " ".join(part.split()) for part in text if not part.lstrip().lower().startswith(("args:", "param", ":param"))
    )
    head, dot, rest = body.partition(". ")
    return (head if dot else head.removesuffix(".")), rest


def _fields(
    parts: tuple[str, ...], summary: str, details: str, parameters: tuple[Parameter, ...]
) -> Iterator[tuple[float, tuple[str, ...]]]:
    yield NAME, tuple(stem(part) for part in parts if part not in STOP_WORDS)
    for left, right in zip(parts, parts[1:], strict=False):
        yield NAME, (stem(left + right),)  # play_list, "playlist"
    yield SUMMARY, stems_of(summary)
    yield DETAIL, stems_of(details)
    for parameter in parameters:
        yield PARAMETER, parameter.name_stems
        yield DETAIL, stems_of(f"{parameter.title} {parameter.description}")
        item = parameter.item
        for choice in (*parameter.choices, *(item.choices if item else ())):
            yield CHOICE, choice.stems


def _particle(parts: tuple[str, ...], at: int) -> bool:
    """Whether a small word belongs to the verb: turn_on, log_in_user, but not time_in_city."""
    if parts[at] not in PARTICLES:
        return False
    return parts[at] != "in" or at == len(parts) - 1 or parts[0] in {"log", "sign", "check", "clock", "opt"}


def _deed(parts: tuple[str, ...], summary: str) -> Deed:
    first = words_of(summary)[:1]
    return next((deed for part in (*parts, *(word.norm for word in first)) if (deed := deed_of(part))), "")


def _only_numbers(parameters: tuple[Parameter, ...]) -> bool:
    """Whether the tool computes: "what is five plus three" asks nothing, though `add` sounds like a change."""
    return bool(parameters) and all(one.numeric or (one.item and one.item.numeric) for one in parameters)
