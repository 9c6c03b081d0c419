"""The agent model `instant`: answers at once with what the user said, to measure everything around a model."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponseStreamEvent, TextPart, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings


class InstantModel(Model):
    """One piece of text, no tool calls."""

    @property
    def model_name(self) -> str:
        """As it is configured."""
        return "instant"

    @property
    def system(self) -> str:
        """It has no provider."""
        return "voicebus"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The echo as one message."""
        del model_settings, model_request_parameters
        return ModelResponse(parts=[TextPart(content=_echo(messages))], model_name=self.model_name)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """The echo as a stream of one event."""
        del model_settings, run_context
        yield _Stream(model_request_parameters, _echo(messages))


@dataclass
class _Stream(StreamedResponse):
    text: str
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    model_name: str = "instant"
    provider_name: str | None = None
    provider_url: str | None = None

    @property
    def timestamp(self) -> datetime:
        return self.began

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        for event in self._parts_manager.handle_text_delta(vendor_part_id=None, content=self.text):
            yield event


def _echo(messages: list[ModelMessage]) -> str:
    prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    said = prompts[-1] if prompts else ""
    return said if isinstance(said, str) and said else "Nothing was said."
