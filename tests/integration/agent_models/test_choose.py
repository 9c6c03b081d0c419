"""Models by their name in the configuration; `openai:` with a base URL speaks to any compatible server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.agent_models.completions_server import MALFORMED, completions_server
from integration.agent_tools.harness import stdio, toolset
from integration.agent_worker.stage import agent_of, converse, seen
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import ToolDefinition

from agent_worker.models.ask import ModelFailed, ask
from agent_worker.models.choose import choose_model
from agent_worker.models.errors import ModelChoiceError
from agent_worker.tools.config import ServerOptions, ToolOptions
from voicebus.bus.bus import Bus

ADD = ToolDefinition(
    name="add",
    description="Adds.",
    parameters_json_schema={"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
)
ONLY_ADD = ServerOptions(tools={"add": ToolOptions(), "*": ToolOptions(enabled=False)})
QUESTION = [ModelRequest.user_text_prompt("what is forty and two?")]


def test_the_built_in_models_need_nothing() -> None:
    assert choose_model("rules").model_name == "rules"
    assert choose_model("instant").model_name == "instant"


@pytest.mark.parametrize(
    ("name", "base_url", "message"),
    [
        ("gpt", None, "Unknown model: gpt"),
        ("rules:2", None, "Unknown model"),
        ("nobody:model", "http://localhost/v1", "Unknown provider: nobody"),
        ("openai:", "http://localhost/v1", "names no model"),
        ("anthropic:claude", None, "needs a package that isn't installed"),
    ],
)
def test_a_model_that_cannot_be_used_says_why(name: str, base_url: str | None, message: str) -> None:
    with pytest.raises(ModelChoiceError, match=message):
        choose_model(name, base_url=base_url)


async def test_a_compatible_server_streams_tool_calls_and_text_through_the_direct_interface() -> None:
    async with completions_server() as server:
        parameters = ModelRequestParameters(function_tools=[ADD])
        async with (
            choose_model("openai:local", base_url=server.base_url, api_key="k3y") as model,
            model_request_stream(model, QUESTION, model_request_parameters=parameters) as stream,
        ):
            async for _ in stream:
                pass
        (call,) = stream.get().tool_calls
    assert (call.tool_name, call.args_as_dict(), call.tool_call_id) == ("add", {"a": 40, "b": 2}, "call_7")
    assert server.keys == ["Bearer k3y"]
    assert server.requests[0]["stream"] is True
    assert server.requests[0]["tools"][0]["function"]["name"] == "add"


async def test_text_arrives_piece_by_piece() -> None:
    async with completions_server() as server:
        pieces: list[str] = []
        async with choose_model("openai:cut", base_url=server.base_url) as model:
            with pytest.raises(ModelFailed) as failed:
                await ask(model, QUESTION, ModelRequestParameters(), {}, pieces.append)
    assert pieces == ["Half of an"]
    assert failed.value.retryable


async def test_refusals_are_told_apart_from_outages() -> None:
    async with completions_server() as server:
        for name, retryable in (("missing", False), ("busy", True)):
            failed = await failure(f"openai:{name}", server.base_url)
            assert failed.retryable == retryable
        assert len(server.requests) == 2  # the client itself tried none of them again
    assert (await failure("openai:local", server.base_url)).retryable  # nobody listens there any more


async def failure(name: str, base_url: str) -> ModelFailed:
    async with choose_model(name, base_url=base_url) as model:
        with pytest.raises(ModelFailed) as failed:
            await ask(model, QUESTION, ModelRequestParameters(), {}, lambda _: None)
    return failed.value


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_response_is_a_failure_that_may_pass(name: str) -> None:
    async with completions_server() as server:
        assert (await failure(f"openai:{name}", server.base_url)).retryable


async def test_an_error_in_a_built_in_model_is_told_as_it_is() -> None:
    async def respond(*_: object) -> AsyncIterator[str]:
        yield "So "
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        await ask(
            FunctionModel(stream_function=respond, model_name="rules"),
            QUESTION,
            ModelRequestParameters(),
            {},
            lambda _: None,
        )


@pytest.mark.parametrize("name", ["local", "busy", "cut", "odd-choices", "html"])
async def test_a_whole_turn_with_a_compatible_server_and_a_tool(bus: Bus, tmp_path: Path, name: str) -> None:
    talk = await converse(bus)
    async with (
        completions_server() as server,
        toolset(stdio(tmp_path, voicebus=ONLY_ADD)) as tools,
        agent_of(bus, choose_model(f"openai:{name}", base_url=server.base_url), tools),
    ):
        await talk.say("what is forty and two?")
        events = await talk.until("response")
    assert seen(events) == [
        ("user", "what is forty and two?"),
        ("call", "call_7", "add", {"a": 40, "b": 2}),
        ("result", "call_7", 42, "ok"),
        ("text", "It is 42."),
        ("response", "It is 42.", "add", 0),
    ]
    assert events[-1]["data"]["usage"] == {"input_tokens": 22, "output_tokens": 10}
    assert server.requests[-1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_7", "content": "42"}
