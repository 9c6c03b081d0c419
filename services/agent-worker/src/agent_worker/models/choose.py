"""Which language model answers, by its name in the configuration."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model, infer_model
from pydantic_ai.providers import Provider, infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from agent_worker.models.echo import InstantModel
from agent_worker.models.errors import ModelChoiceError
from agent_worker.models.rules.model import explain, rules_model

Explain = Callable[[Sequence[ModelMessage], Sequence[ToolDefinition]], tuple[str, float]]
BUILT_IN: Final = {"rules", "instant"}
_NO_KEY = "not-needed"  # the client insists on one, servers of one's own don't


def choose_model(name: str, *, base_url: str | None = None, api_key: str | None = None) -> Model:
    """The model of this name; nothing is sent anywhere yet. Entering it as a context closes its connections at the end.

    `rules` and `instant` are built in. `openai:<model>` with a `base_url` is any server with OpenAI's chat
    completions (llama.cpp, vLLM, Ollama …). Everything else is a name of pydantic-ai, such as
    `openai:<model>`, `anthropic:<model>` or `ollama:<model>`; without `api_key` its provider looks for the
    key in its own environment variable.

    Raises:
        ModelChoiceError: the name is unknown, or what the model needs isn't installed or configured.
    """
    if name == "rules":
        return rules_model()
    if name == "instant":
        return InstantModel()
    provider, _, model = name.partition(":")
    try:
        if provider == "openai" and base_url:
            return _openai_compatible(model, base_url, api_key or _NO_KEY)
        options = {"base_url": base_url, "api_key": api_key}
        return _named(name, {key: value for key, value in options.items() if value})
    except ImportError as error:
        raise ModelChoiceError(f"model {name!r} needs a package that isn't installed: {error}") from error
    except (UserError, TypeError, ValueError) as error:
        raise ModelChoiceError(f"model {name!r} can't be used: {error}") from error


def explainer(model: Model) -> Explain | None:
    """What tells the intent of the user's last message and how sure that is (0 to 1), for a model that knows."""
    return explain if model.model_name == "rules" else None


def timeouts(model: Model, *, first_token_s: float, response_s: float) -> ModelSettings:
    """How long to wait for a response's first token and its end. A model that is built in has nobody to wait for."""
    if model.model_name in BUILT_IN:
        return ModelSettings()
    return ModelSettings(first_event_timeout=first_token_s, request_timeout=response_s)


def _openai_compatible(model: str, base_url: str, api_key: str) -> Model:
    if not model:
        raise ModelChoiceError("openai: names no model")
    # These take half a second to import, which only they should pay who use them.
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

    provider = OpenAICompatibleProvider("openai-compatible", base_url=base_url, api_key=api_key)
    provider.client.max_retries = 0  # the turn tries again, not the client
    return OpenAIChatModel(model, provider=provider)


def _named(name: str, options: dict[str, str]) -> Model:
    def provider(provider_name: str) -> Provider[Any]:
        return infer_provider_class(provider_name)(**options)

    return infer_model(name, provider) if options else infer_model(name)
