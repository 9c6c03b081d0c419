"""What a model is asked."""

from collections.abc import AsyncIterator

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent_worker.models.ask import ask


async def asked_with(*messages: ModelMessage) -> list[list[object]]:
    """What the parts of each message say that the model gets."""
    got: list[ModelMessage] = []

    async def answer(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str]:
        got.extend(messages)
        yield "Yes."

    await ask(FunctionModel(stream_function=answer), messages, ModelRequestParameters(), {}, lambda _: None)
    return [[getattr(part, "content", None) for part in message.parts] for message in got]


async def test_a_turn_that_got_no_answer_and_the_next_one_are_one_message() -> None:
    first, second = ModelRequest.user_text_prompt("first"), ModelRequest.user_text_prompt("second")
    assert await asked_with(first, second) == [["first", "second"]]
    answer = ModelResponse(parts=[TextPart("Yes.")])
    assert await asked_with(first, answer, second) == [["first"], ["Yes."], ["second"]]
