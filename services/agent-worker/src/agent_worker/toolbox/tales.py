"""Long answers on request: facts, a story, counting. They are made of whole sentences, as many as one asks for."""

import json
from functools import cache
from importlib import resources
from typing import Annotated, Final, Literal

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations
from pydantic import Field

_ANNOTATIONS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)
_PER_SENTENCE: Final = 10  # numbers that are counted in one breath
_NUMERALS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_ONES: Final = _NUMERALS.split()[:20]
_TENS: Final = ["", "", *_NUMERALS.split()[20:]]

Topic = Literal["redis", "space", "ocean", "animals"]


def add_tales(server: MCPServer) -> None:
    """Offer the tools that talk."""
    for function in (tell_facts, tell_story, count_to):
        server.add_tool(function, annotations=_ANNOTATIONS, structured_output=False)


def tell_facts(
    topic: Annotated[Topic, Field(description="What the facts are about")],
    count: Annotated[int, Field(description="How many facts, one sentence each", ge=1, le=23)] = 5,
) -> str:
    """Tell interesting facts about a topic, as many as one likes."""
    return " ".join(_facts()[topic][:count])


def tell_story(
    sentences: Annotated[int, Field(description="How many sentences long", ge=2, le=25)] = 10,
) -> str:
    """Tell a story, a tale of so many sentences."""
    lines = _story()
    return " ".join([*lines[: sentences - 1], lines[-1]])


def count_to(number: Annotated[int, Field(description="The number to count to", ge=1, le=200)]) -> str:
    """Count aloud from one to a number."""
    tens = [range(start, min(start + _PER_SENTENCE, number + 1)) for start in range(1, number + 1, _PER_SENTENCE)]
    return " ".join(f"{', '.join(map(_spelled, ten)).capitalize()}." for ten in tens)


def _spelled(number: int) -> str:
    """A number below a thousand in words."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return f"{_TENS[tens]}{f'-{_ONES[ones]}' if ones else ''}"
    hundreds, rest = divmod(number, 100)
    return f"{_ONES[hundreds]} hundred{f' {_spelled(rest)}' if rest else ''}"


@cache
def _facts() -> dict[str, list[str]]:
    facts: dict[str, list[str]] = json.loads(resources.files(__package__).joinpath("facts.json").read_text("utf-8"))
    return facts


@cache
def _story() -> list[str]:
    return resources.files(__package__).joinpath("story.txt").read_text("utf-8").splitlines()
