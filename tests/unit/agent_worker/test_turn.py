"""What a turn has done so far and what comes next, from any beginning of its journal."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue
from pydantic_ai.messages import (
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.usage import RequestUsage

from agent_worker.journal import Asked, Entry, Finished, Responded, Started, dump_entry, load_entry
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.turn import AskModel, CallTools, StopTurn, Turn

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OUTCOMES = st.builds(
    ToolOutcome,
    content=JSON,
    is_error=st.booleans(),
    outcome=st.sampled_from(["ok", "error", "unknown", "cancelled"]),
    duration_ms=st.floats(0, 1000, allow_nan=False),
    denied=st.booleans(),
)


def responded(*calls: str, response_id: str = "r", segments: int = 0) -> Responded:
    message = ModelResponse(
        parts=[TextPart("Wait."), *(ToolCallPart("tool", {"x": None}, tool_call_id=call) for call in calls)],
        usage=RequestUsage(input_tokens=3, output_tokens=2),
    )
    return Responded(response_id=response_id, message=message, segments=segments)


def finished(call: str, content: JsonValue = "done") -> Finished:
    return Finished(
        tool_call_id=call, outcome=ToolOutcome(content=content, is_error=False, outcome="ok", duration_ms=1)
    )


def turn(*entries: Entry, max_steps: int = 5) -> Turn:
    return Turn("do it", NOON, entries, max_steps=max_steps)


def todo(*entries: Entry) -> list[tuple[str, str]]:
    following = turn(*entries).next()
    assert isinstance(following, CallTools)
    return [(item.call.tool_call_id, item.action) for item in following.todo]


def test_a_turn_begins_by_asking_the_model() -> None:
    assert turn().next() == AskModel()
    (asked,) = turn().messages()
    assert asked.parts == [UserPromptPart("do it", timestamp=NOON)]


def test_a_call_that_never_started_is_started() -> None:
    assert todo(responded("a", "b")) == [("a", "start"), ("b", "start")]


def test_a_call_that_was_begun_is_repeated_only_if_that_does_no_harm() -> None:
    begun = (Started(tool_call_id="a", repeatable=True), Started(tool_call_id="b", repeatable=False))
    assert todo(responded("a", "b", "c"), *begun) == [("a", "repeat"), ("b", "give_up"), ("c", "start")]


def test_a_call_that_was_asked_about_is_known_until_its_response_is_done() -> None:
    entries = (responded("a", "b"), Asked(tool_call_id="b"))
    following = turn(*entries).next()
    assert isinstance(following, CallTools)
    assert [(item.action, item.asked) for item in following.todo] == [("start", False), ("start", True)]
    later = turn(*entries, finished("a"), finished("b"), responded("b", response_id="r2")).next()
    assert isinstance(later, CallTools)
    assert not later.todo[0].asked


def test_a_call_with_an_outcome_is_left_alone() -> None:
    assert todo(responded("a", "b"), Started(tool_call_id="a", repeatable=False), finished("a")) == [("b", "start")]


def test_the_model_is_asked_again_when_every_call_has_its_outcome() -> None:
    entries = (responded("a"), Started(tool_call_id="a", repeatable=True), finished("a"))
    assert turn(*entries).next() == AskModel()
    assert turn(*entries, max_steps=1).next() == StopTurn()


def test_the_same_call_id_may_return_in_a_later_response() -> None:
    entries = (responded("a"), finished("a"), responded("a", response_id="r2"))
    assert todo(*entries) == [("a", "start")]


def test_segments_and_responses_are_counted_over_the_whole_turn() -> None:
    both = turn(responded("a", segments=2), finished("a"), responded("b", response_id="r2", segments=1), finished("b"))
    assert (both.segments, both.steps, both.tools) == (3, 2, ["tool", "tool"])
    assert both.responded("r2")
    assert not both.responded("r3")


def test_the_model_sees_results_in_the_order_of_its_calls() -> None:
    messages = turn(responded("a", "b"), finished("b", 2), finished("a", None)).messages()
    assert [type(message) for message in messages] == [ModelRequest, ModelResponse, ModelRequest]
    returned = [part for part in messages[2].parts if isinstance(part, ToolReturnPart)]
    assert [(part.tool_call_id, part.content) for part in returned] == [("a", ""), ("b", 2)]


def test_the_model_is_told_that_a_call_was_denied() -> None:
    denied = ToolOutcome(content="no", is_error=True, outcome="cancelled", duration_ms=0, denied=True)
    messages = turn(responded("a"), Finished(tool_call_id="a", outcome=denied)).messages()
    assert [part.outcome for part in messages[2].parts if isinstance(part, ToolReturnPart)] == ["denied"]


@given(outcome=OUTCOMES, repeatable=st.booleans(), segments=st.integers(0, 9))
def test_an_entry_survives_the_journal(outcome: ToolOutcome, repeatable: bool, segments: int) -> None:
    for entry in (
        responded("a", "b", segments=segments),
        Asked(tool_call_id="a"),
        Started(tool_call_id="a", repeatable=repeatable),
        Finished(tool_call_id="a", outcome=outcome),
    ):
        assert load_entry(dump_entry(entry)) == entry


@given(data=st.data(), repeatable=st.lists(st.booleans(), min_size=1, max_size=3), steps=st.integers(1, 3))
def test_wherever_a_turn_is_cut_no_effect_comes_twice_and_it_ends(
    data: st.DataObject, repeatable: Sequence[bool], steps: int
) -> None:
    """A worker that dies after any entry, and between any entry and the tool's effect."""
    journal: list[Entry] = []
    effects: dict[tuple[int, str], int] = {}
    deaths = 0
    current = turn(max_steps=steps)
    while not isinstance(following := current.next(), StopTurn):
        if deaths < 6 and data.draw(st.booleans()):
            deaths += 1
            current = turn(*map(load_entry, map(dump_entry, journal)), max_steps=steps)
            continue
        if isinstance(following, AskModel):
            entry: Entry = responded(*(f"c{i}" for i in range(len(repeatable))), response_id=f"r{current.steps}")
        else:
            item = following.todo[0]
            call = item.call.tool_call_id
            key = (current.steps, call)
            if item.action == "start":
                entry = Started(tool_call_id=call, repeatable=repeatable[int(call[1:])])
            else:
                if item.action == "repeat":
                    effects[key] = effects.get(key, 0) + 1
                elif data.draw(st.booleans()):
                    effects.setdefault(key, 1)  # the first worker's call may have had its effect
                entry = finished(call)
        if isinstance(entry, Finished) and deaths < 6 and data.draw(st.booleans()):
            deaths += 1
            current = turn(*journal, max_steps=steps)
            continue
        journal.append(entry)
        current.record(entry)
    assert current.steps == steps
    assert all(count == 1 or repeatable[int(call[1:])] for (_, call), count in effects.items())
    assert len([entry for entry in journal if isinstance(entry, Finished)]) == steps * len(repeatable)
