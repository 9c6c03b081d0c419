"""The agent model `instant`: answers at once with what the user said, to measure everything around a model."""

from collections.abc import AsyncIterator

from pydantic_ai.messages import ModelMessage, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel


def instant_model() -> Model:
    """The model as pydantic-ai takes it; one piece of text, no tool calls."""
    return FunctionModel(stream_function=_echo, model_name="instant")


async def _echo(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    del info
    prompts = [part.content for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    said = prompts[-1] if prompts else ""
    yield said if isinstance(said, str) and said else "Nothing was said."
