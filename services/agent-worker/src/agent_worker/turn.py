"""A turn of the agent: what was done so far, and what comes next. Pure: it knows only the journal's entries.

ask the model ──► calls tools? ──no──► the answer ends the turn
      ▲               │ yes
      └── all done ◄──┴──► start each call (or make it again, or give it up as unknown)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from agent_worker.journal import Asked, Entry, Finished, Responded, Started, TakenBack
from agent_worker.tools.outcome import CONTENT_MAX, OutcomeKind, ToolOutcome, bounded

_TOLD: Final[dict[OutcomeKind, Literal["success", "failed", "interrupted"]]] = {
    "ok": "success",
    "error": "failed",
    "unknown": "interrupted",
    "cancelled": "interrupted",
}


@dataclass(frozen=True)
class AskModel:
    """The model is to respond."""


@dataclass(frozen=True)
class StopTurn:
    """The turn took as many steps as it may."""


@dataclass(frozen=True)
class CallTools:
    """Each of these calls needs an outcome; they don't depend on each other."""

    todo: tuple["Todo", ...]


@dataclass(frozen=True)
class Todo:
    """A tool call and what is to be done about it.

    `start`: it was never made. `repeat`: it was begun, and making it again does no harm. `give_up`: it was begun, and
    whether it had its effect can't be known.
    """

    call: ToolCallPart
    action: Literal["start", "repeat", "give_up"]
    asked: bool = False  # whether clients were asked to approve it


Next = AskModel | CallTools | StopTurn


@dataclass
class _Call:
    part: ToolCallPart
    asked: bool = False
    started: Started | None = None
    outcome: ToolOutcome | None = None

    @property
    def todo(self) -> Todo:
        if self.started is None:
            return Todo(self.part, "start", self.asked)
        return Todo(self.part, "repeat" if self.started.repeatable else "give_up", self.asked)


@dataclass
class _Step:
    responded: Responded
    calls: dict[str, _Call] = field(default_factory=dict)


class Turn:
    """One turn, from its journal on. Entries that it is given later are those that the journal gets."""

    def __init__(self, content: str, said_at: datetime, entries: Iterable[Entry] = (), *, max_steps: int) -> None:
        self.content = content  # what the user said
        self.said_at = said_at
        self.taken_back = False  # whether the next response replaces one that clients saw something of
        self._max_steps = max_steps
        self._steps: list[_Step] = []
        for entry in entries:
            self.record(entry)

    def record(self, entry: Entry) -> None:
        """Something more was done."""
        match entry:
            case Responded():
                calls = {part.tool_call_id: _Call(part) for part in entry.message.tool_calls}
                self._steps.append(_Step(entry, calls))
                self.taken_back = False
            case TakenBack():
                self.taken_back = True
            case Asked():
                self._steps[-1].calls[entry.tool_call_id].asked = True
            case Started():
                self._steps[-1].calls[entry.tool_call_id].started = entry
            case Finished():
                self._steps[-1].calls[entry.tool_call_id].outcome = entry.outcome

    def next(self) -> Next:
        """What is to be done now."""
        if self._steps:
            todo = tuple(call.todo for call in self._steps[-1].calls.values() if call.outcome is None)
            if todo:
                return CallTools(todo)
        return StopTurn() if len(self._steps) >= self._max_steps else AskModel()

    def responded(self, response_id: str) -> bool:
        """Whether this model response was finished."""
        return any(step.responded.response_id == response_id for step in self._steps)

    @property
    def segments(self) -> int:
        """Sentences that were mailed to TTS by finished responses."""
        return sum(step.responded.segments for step in self._steps)

    @property
    def steps(self) -> int:
        """Finished model responses."""
        return len(self._steps)

    @property
    def tools(self) -> list[str]:
        """Names of the tools that the model called, in their order."""
        return [call.part.tool_name for step in self._steps for call in step.calls.values()]

    @property
    def responses(self) -> list[ModelResponse]:
        """The finished responses, all of which call tools."""
        return [step.responded.message for step in self._steps]

    def messages(self, *, result_max: int = CONTENT_MAX) -> list[ModelMessage]:
        """The turn as the model sees it: what the user said, and each step, with so many bytes of a tool's result."""
        prompt = UserPromptPart(content=self.content, timestamp=self.said_at)
        return [ModelRequest(parts=[prompt]), *self._step_messages(result_max)]

    def _step_messages(self, result_max: int) -> Iterator[ModelMessage]:
        for step in self._steps:
            yield step.responded.message
            returned = [_returned(call.part, call.outcome, result_max) for call in step.calls.values() if call.outcome]
            if returned:
                yield ModelRequest(parts=returned)


def _returned(call: ToolCallPart, outcome: ToolOutcome, result_max: int) -> ToolReturnPart:
    content = bounded(outcome.content, result_max)
    return ToolReturnPart(
        tool_name=call.tool_name,
        content="" if content is None else content,
        tool_call_id=call.tool_call_id,
        outcome="denied" if outcome.denied else _TOLD[outcome.outcome],
    )
