"""The conversation as the rules see it, from the messages that a model gets."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextContent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from agent_worker.models.rules.dialogue import Turn
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.speech import Result
from agent_worker.models.rules.words import parts_of


def turns_of(messages: Sequence[ModelMessage], profiles: Sequence[Profile]) -> list[Turn]:
    """One turn for each message of the user, with all that followed it. Moments are in the machine's time zone."""
    known = {profile.name: profile for profile in profiles}
    turns: list[Turn] = []
    for part in _parts(messages):
        match part:
            case UserPromptPart():
                turns.append(Turn(_text(part), part.timestamp.astimezone()))
            case ToolCallPart() if turns:
                call = (part.tool_name, part.args_as_dict())
                turns[-1] = replace(turns[-1], calls=(*turns[-1].calls, call))
            case ToolReturnPart() if turns:
                turns[-1] = replace(turns[-1], results=(*turns[-1].results, _result(part, known)))
            case TextPart() if turns:
                turns[-1] = replace(turns[-1], answer=turns[-1].answer + part.content)
            case _:
                pass
    return turns or [Turn("", datetime.now(UTC).astimezone())]


def _parts(messages: Sequence[ModelMessage]) -> Iterator[object]:
    for message in messages:
        parts: Sequence[object] = message.parts
        # within one request the results come first: they belong to the turn before its prompts
        yield from (
            sorted(parts, key=lambda part: isinstance(part, UserPromptPart))
            if not isinstance(message, ModelResponse)
            else parts
        )


def _text(part: UserPromptPart) -> str:
    if isinstance(part.content, str):
        return part.content
    texts = (
        item if isinstance(item, str) else item.content for item in part.content if isinstance(item, str | TextContent)
    )
    return " ".join(texts)


def _result(part: ToolReturnPart, known: dict[str, Profile]) -> Result:
    profile = known.get(part.tool_name)
    title = profile.title if profile else " ".join(parts_of(part.tool_name))
    noun, acts = (profile.noun, profile.acts) if profile else ("", False)
    return Result(part.tool_name, title, noun, part.content, acts, part.outcome)
