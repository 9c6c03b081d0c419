"""The model as pydantic-ai drives it: what is streamed, and how."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from unit.agent_rules.invented_servers import SERVERS

from agent_worker.models.echo import InstantModel
from agent_worker.models.rules import explain, rules_model

DEFINITIONS = [
    ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=tool.parameters_json_schema)
    for server in SERVERS.values()
    for tool in server
]
SAID_AT = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


async def stream(messages: Sequence[ModelMessage], model: str = "rules") -> tuple[list[str], ModelResponse]:
    """The pieces of text in the order in which they came, and the whole response."""
    chosen = rules_model() if model == "rules" else InstantModel()
    assert chosen.model_name == model
    parameters = ModelRequestParameters(function_tools=DEFINITIONS)
    pieces: list[str] = []
    async with model_request_stream(chosen, messages, model_request_parameters=parameters) as response:
        async for event in response:
            match event:
                case PartStartEvent(part=TextPart(content=text)):
                    pieces.append(text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                    pieces.append(text)
        return pieces, response.get()


def said(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text, timestamp=SAID_AT)])


async def test_text_is_streamed_word_by_word() -> None:
    pieces, response = await stream([said("hello")])
    assert len(pieces) > 3
    assert "".join(pieces) == response.text == "Hello! What can I do for you?"


async def test_a_long_result_is_streamed_word_by_word_and_unchanged() -> None:
    told = " ".join(f"This is sentence number {number}, which says nothing." for number in range(200))
    call = ToolCallPart("get_weather", {"location": "oslo"}, "c1")
    messages: list[ModelMessage] = [said("what is the weather in oslo"), ModelResponse(parts=[call])]
    returned = ModelRequest(parts=[ToolReturnPart("get_weather", told, "c1")])
    pieces, response = await stream([*messages, returned])
    assert len(pieces) > 1000
    assert response.text == told


async def test_a_call_keeps_its_id_when_it_is_worked_out_again_and_no_other_has_it() -> None:
    first, second = [(await stream([said("what is the weather in oslo")]))[1].tool_calls for _ in range(2)]
    assert first[0].tool_call_id == second[0].tool_call_id
    later = UserPromptPart("what is the weather in oslo", timestamp=SAID_AT.replace(hour=15))
    (other,) = (await stream([ModelRequest(parts=[later])]))[1].tool_calls
    assert other.tool_call_id != first[0].tool_call_id


async def test_words_such_as_tomorrow_count_from_when_they_were_said() -> None:
    prompt = UserPromptPart("what events do i have tomorrow", timestamp=datetime(2030, 1, 30, 12, tzinfo=UTC))
    (call,) = (await stream([ModelRequest(parts=[prompt])]))[1].tool_calls
    assert call.args_as_dict() == {"date": "2030-01-31"}


async def test_intent_and_confidence_are_told_before_and_after_the_answer() -> None:
    messages: list[ModelMessage] = [said("what is the weather in oslo")]
    before = explain(messages, DEFINITIONS)
    _, response = await stream(messages)
    after = explain([*messages, response], DEFINITIONS)
    assert before == after
    assert before[0] == "get_weather"
    assert before[1] > 0.8
    assert explain([said("tell me a joke")], DEFINITIONS)[0] == "help"
    assert explain([said("cancel the order")], DEFINITIONS)[0] == "clarify"


async def test_an_answer_takes_a_few_milliseconds_with_all_these_tools() -> None:
    sentences = ["what is the weather in oslo", "add a comment to issue seven saying well done", "tell me a joke"] * 5
    await stream([said("warm up the caches of the tools")])
    began = time.process_time()
    for sentence in sentences:
        await stream([said(sentence)])
    assert len(DEFINITIONS) > 50
    assert (time.process_time() - began) / len(sentences) < 0.05


async def test_the_instant_model_says_what_was_said() -> None:
    pieces, response = await stream([said("one two three")], "instant")
    assert pieces == ["one two three"]
    assert response.tool_calls == []
