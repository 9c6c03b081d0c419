"""The conversation as it is kept for the next turn."""

from datetime import UTC, datetime

from pydantic_ai.messages import (
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)

from agent_worker import history
from agent_worker.journal import Entry, Finished, Responded
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.turn import Turn
from voicebus.contract.sessions import Cut, HistoryEntry, conversation_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANSWER = ModelResponse(parts=[TextPart("It is noon.")])


def with_a_tool(result: str = "12:00") -> Turn:
    message = ModelResponse(parts=[TextPart("Let me see."), ToolCallPart("clock", {}, tool_call_id="c")])
    outcome = ToolOutcome(content=result, is_error=False, outcome="ok", duration_ms=1)
    entries: list[Entry] = [
        Responded(response_id="r", message=message, segments=1),
        Finished(tool_call_id="c", outcome=outcome),
    ]
    return Turn("what time is it", NOON, entries, max_steps=5)


def parts(entry: HistoryEntry) -> list[object]:
    messages = ModelMessagesTypeAdapter.validate_python(entry.messages)
    return [part for message in messages for part in message.parts]


def test_a_turn_comes_back_as_the_messages_it_was() -> None:
    entry = history.answered(with_a_tool(), 4, ANSWER, "It is noon.")
    assert (entry.turn, entry.user, entry.assistant, entry.interrupted) == (4, "what time is it", "It is noon.", False)
    past = history.past_messages([entry.dump()])
    assert [type(message) for message in past] == [ModelRequest, ModelResponse, ModelRequest, ModelResponse]
    assert past[-1].parts == ANSWER.parts


def test_a_long_result_is_cut_once_its_turn_is_over() -> None:
    entry = history.answered(with_a_tool("x" * 50_000), 1, ANSWER, "It is noon.")
    (returned,) = [part for part in parts(entry) if isinstance(part, ToolReturnPart)]
    assert len(str(returned.content)) == history.RESULT_MAX
    assert len(entry.dump()) < 10_000


def test_of_an_interrupted_spoken_turn_only_what_was_heard_is_kept() -> None:
    entry = history.heard(with_a_tool(), 1, Cut(heard="Let me"))
    past = [part for message in history.past_messages([entry.dump()]) for part in message.parts]
    assert [part.content for part in past if isinstance(part, TextPart)] == ["Let me"]
    assert [type(part) for part in past][1:3] == [ToolCallPart, ToolReturnPart]
    assert (entry.assistant, entry.interrupted) == ("Let me", True)


def test_the_tools_of_a_turn_that_goes_on_in_a_later_one_are_told_to_the_model_and_nobody_else() -> None:
    entry = history.heard(with_a_tool(), 1, Cut(heard="", joined=True))
    past = history.past_messages([entry.dump()])
    assert [type(part) for message in past for part in message.parts][1:] == [ToolCallPart, ToolReturnPart]
    assert conversation_of([entry.dump()]) == []


def test_a_question_that_goes_on_in_a_later_turn_is_not_told_twice() -> None:
    answered = history.answered(Turn("what time", NOON, max_steps=5), 1, ANSWER, "It is noon.")
    joined = answered.model_copy(update={"cut": Cut(heard="", joined=True)})
    assert history.past_messages([joined.dump()]) == []


def test_of_an_interrupted_written_turn_all_that_was_written_is_kept() -> None:
    entry = history.written(with_a_tool(), 1, "It is")
    assert [part.content for part in parts(entry) if isinstance(part, TextPart)] == ["Let me see.", "It is"]


def test_a_model_is_told_as_many_of_the_last_turns_as_fit() -> None:
    long = [Turn(f"{number} {'x' * 30_000}", NOON, max_steps=1) for number in range(10)]
    turns = [history.answered(turn, number, ANSWER, "It is noon.").dump() for number, turn in enumerate(long)]
    told = [str(getattr(message.parts[0], "content", "")) for message in history.past_messages(turns)[::2]]
    assert [text.split()[0] for text in told] == ["6", "7", "8", "9"]


def test_an_entry_that_cannot_be_read_costs_only_itself() -> None:
    good = history.answered(with_a_tool(), 1, ANSWER, "It is noon.").dump()
    strange = HistoryEntry(turn=2, user="?", assistant="!", messages=[{"kind": "from the future"}])
    assert len(history.past_messages([b"{", good, strange.dump(), good])) == 8
    assert [entry.turn for entry in conversation_of([b"{", good, b'{"turn":2}', strange.dump()])] == [1, 2]
