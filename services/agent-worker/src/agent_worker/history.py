"""The conversation as the model sees it: one entry per turn, with the messages that the turn consisted of."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import structlog
from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
    repair_messages,
)

from agent_worker.turn import Turn
from voicebus.contract.sessions import Cut, HistoryEntry

PAST_MAX: Final = 256 * 1024  # bytes of earlier turns that a model is told; older ones are left out
RESULT_MAX: Final = 8 * 1024  # bytes of a tool's result once its turn is over
UNASKED: Final = "(The user said nothing. You were told to say this:)"

_log = structlog.get_logger(__name__)

ModelMessagesTypeAdapter.rebuild()  # else it is built at its first use: 0.15 s in the middle of a turn


def past_messages(entries: Sequence[bytes]) -> list[ModelMessage]:
    """The messages of earlier turns, oldest first: as many of the last turns as fit."""
    turns: list[list[ModelMessage]] = []
    size = 0
    for raw in reversed(entries):
        size += len(raw)
        if size > PAST_MAX:
            break
        try:
            turns.append(_messages(raw))
        except ValidationError:
            _log.warning("history_entry_unreadable", size=len(raw))
    return [message for turn in reversed(turns) for message in turn]


@lru_cache(maxsize=1_024)  # a turn takes 4 kB and more
def _messages(raw: bytes) -> list[ModelMessage]:
    """A turn's messages. Each turn asks for all earlier ones again; nobody changes them."""
    entry = HistoryEntry.model_validate_json(raw)
    messages = repair_messages(ModelMessagesTypeAdapter.validate_python(entry.messages))
    return _prompted(_as_heard(messages, entry.cut) if entry.cut else messages)


def _prompted(messages: list[ModelMessage]) -> list[ModelMessage]:
    """What was said unasked has a prompt in front: many servers insist that user and assistant take turns."""
    match messages:
        case [ModelResponse(timestamp=at), *_]:
            return [ModelRequest(parts=[UserPromptPart(content=UNASKED, timestamp=at)]), *messages]
    return messages


def _as_heard(messages: list[ModelMessage], cut: Cut) -> list[ModelMessage]:
    heard = _heard_only(messages, cut.heard)
    return [] if cut.joined and len(heard) == 1 else heard  # no tool was called: nothing but the question


def answered(turn: Turn, number: int, response: ModelResponse | None, text: str) -> HistoryEntry:
    """A turn that ended by itself; without a response it failed after it had said `text`."""
    last = response or (ModelResponse(parts=[TextPart(content=text)]) if text else None)
    messages = turn.messages(result_max=RESULT_MAX)
    return _entry(turn.content, number, [*messages, last] if last else messages, assistant=text)


def said(number: int, text: str) -> HistoryEntry:
    """A turn in which the assistant was told what to say."""
    return _entry("", number, [ModelResponse(parts=[TextPart(content=text)])], assistant=text)


def heard(turn: Turn, number: int, cut: Cut) -> HistoryEntry:
    """A turn that was cut short while its answer was spoken, or before anything of it was told."""
    messages = turn.messages(result_max=RESULT_MAX)
    return _entry(turn.content, number, messages, assistant=cut.heard, interrupted=True, cut=cut)


def written(turn: Turn, number: int, text: str) -> HistoryEntry:
    """A turn that was cut short after this was written of its answer."""
    messages = turn.messages(result_max=RESULT_MAX)
    if text:
        messages.append(ModelResponse(parts=[TextPart(content=text)]))
    return _entry(turn.content, number, messages, assistant=text, interrupted=True)


def _entry(
    user: str,
    number: int,
    messages: Sequence[ModelMessage],
    *,
    assistant: str,
    interrupted: bool = False,
    cut: Cut | None = None,
) -> HistoryEntry:
    return HistoryEntry(
        turn=number,
        user=user,
        assistant=assistant,
        interrupted=interrupted,
        messages=ModelMessagesTypeAdapter.dump_python(list(messages), mode="json", exclude_none=True),
        cut=cut,
    )


def _heard_only(messages: Sequence[ModelMessage], heard: str) -> list[ModelMessage]:
    """The messages with what was heard in place of what was written."""
    without = [_without_text(message) for message in messages]
    kept = [message for message in without if message.parts]
    return [*kept, ModelResponse(parts=[TextPart(content=heard)])] if heard else kept


def _without_text(message: ModelMessage) -> ModelMessage:
    if not isinstance(message, ModelResponse):
        return message
    return replace(message, parts=[part for part in message.parts if not isinstance(part, TextPart)])
