"""Talks to a model as the agent worker does: messages in, tool calls and text out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition
from unit.agent_rules.invented_servers import Tool

from agent_worker.models.rules import explain, rules_model

MAX_STEPS = 6
START = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


@dataclass
class Outcome:
    """A tool's result that isn't a success."""

    content: Any
    outcome: Any


Answer = Callable[[str, dict[str, Any]], Any]  # what a tool returns


@dataclass
class Reply:
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    text: str = ""
    intent: str = ""
    confidence: float = 0.0


class Conversation:
    """Each message is answered from the serialised history alone, as by another worker each time."""

    def __init__(
        self, tools: Sequence[Tool], answer: Answer = lambda *_: "done", instructions: str | None = None
    ) -> None:
        self._definitions = [
            ToolDefinition(
                name=tool.name, description=tool.description, parameters_json_schema=tool.parameters_json_schema
            )
            for tool in tools
        ]
        self._answer = answer
        self._instructions = instructions
        self._stored = b"[]"
        self._now = START

    @property
    def messages(self) -> list[ModelMessage]:
        return ModelMessagesTypeAdapter.validate_json(self._stored)

    async def say(self, text: str) -> Reply:
        self._now += timedelta(minutes=1)
        messages = [*self.messages, self._request(UserPromptPart(text, timestamp=self._now))]
        reply = Reply()
        for _ in range(MAX_STEPS):
            response = await self._respond(messages)
            messages.append(response)
            self._stored = ModelMessagesTypeAdapter.dump_json(messages, exclude_none=True)
            messages = self.messages
            if not response.tool_calls:
                break
            messages.append(self._returned(response.tool_calls, reply))
        reply.text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
        reply.intent, reply.confidence = explain(messages, self._definitions)
        return reply

    def cut_last_answer(self, heard: str) -> None:
        """As after an interruption: only the beginning of the last answer was heard."""
        messages = self.messages
        messages[-1] = ModelResponse(parts=[TextPart(heard)])
        self._stored = ModelMessagesTypeAdapter.dump_json(messages, exclude_none=True)

    def _request(self, *parts: Any) -> ModelRequest:
        return ModelRequest(parts=list(parts), instructions=self._instructions)

    async def _respond(self, messages: Sequence[ModelMessage]) -> ModelResponse:
        parameters = ModelRequestParameters(function_tools=self._definitions)
        async with model_request_stream(rules_model(), messages, model_request_parameters=parameters) as stream:
            async for _ in stream:
                pass
            return stream.get()

    def _returned(self, calls: Sequence[ToolCallPart], reply: Reply) -> ModelRequest:
        parts = []
        for call in calls:
            arguments = call.args_as_dict()
            reply.calls.append((call.tool_name, arguments))
            reply.call_ids.append(call.tool_call_id)
            result = self._answer(call.tool_name, arguments)
            outcome = result if isinstance(result, Outcome) else Outcome(result, "success")
            parts.append(ToolReturnPart(call.tool_name, outcome.content, call.tool_call_id, outcome=outcome.outcome))
        return self._request(*parts)
