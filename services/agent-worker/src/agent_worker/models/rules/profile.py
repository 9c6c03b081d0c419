"""What a tool's name, description and schema say about the sentences that ask for it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Protocol

import pydantic_core

from agent_worker.models.rules.schema import Parameter, parameters_of, stems_of
from agent_worker.models.rules.verbs import VERBS, Deed, deed_of
from agent_worker.models.rules.words import PARTICLES, STOP_WORDS, parts_of, stem, words_of

NAME: Final = 1.0  # what a word is worth by the place where the tool says it
SUMMARY: Final = 0.75
CHOICE: Final = 0.7
PARAMETER: Final = 0.55
DETAIL: Final = 0.4


class Tool(Protocol):
    """What is known of a tool; pydantic-ai's `ToolDefinition` is one."""

    name: str
    description: str | None
    parameters_json_schema: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Profile:
    """A tool, prepared for matching; there is one for all tools that are alike."""

    name: str
    title: str  # the name as words: "create issue"
    summary: str  # the description's first sentence, without its full stop
    parameters: tuple[Parameter, ...]
    name_stems: tuple[str, ...]
    weights: Mapping[str, float]  # stem → worth of the best place where the tool says it
    deed: Deed
    computes: bool  # it takes nothing but numbers

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
    metadata = getattr(tool, "metadata", None) or {}
    return _profile(tool.name, tool.description or "", schema, str(metadata.get("server") or ""))


@lru_cache(maxsize=1_024)
def _profile(name: str, description: str, schema: bytes, server: str) -> Profile:
    parts = parts_of(name.rpartition("__")[2])  # `server__tool`: the server is not asked for
    summary, details = _sentences(description)
    parameters = parameters_of(pydantic_core.from_json(schema))
    weights: dict[str, float] = {}
    for worth, stems in _fields(parts, summary, f"{details} {server}", parameters):
        for one in stems:
            weights[one] = max(weights.get(one, 0.0), worth)
    name_stems = tuple(stem(part) for at, part in enumerate(parts) if part not in STOP_WORDS or _particle(parts, at))
    computes = _only_numbers(parameters)
    deed = "" if computes else _deed(parts, summary)
    return Profile(name, " ".join(parts), summary, parameters, name_stems, weights, deed, computes)


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
    for left, right in pairwise(parts):
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
