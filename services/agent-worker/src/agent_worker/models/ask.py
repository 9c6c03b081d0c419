"""Asks a language model for one response, and tells its failures apart."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from itertools import pairwise
from typing import Final
from uuid import uuid4

import structlog
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelRequestRejectedError,
    UserError,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    repair_messages,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from agent_worker.models.choose import BUILT_IN

_REFUSED: Final = range(400, 500)
_AGAIN: Final = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
LONGEST_WAIT_S: Final = 20.0  # that a provider may ask for before the next attempt

_log = structlog.get_logger(__name__)


class ModelFailed(Exception):
    """There is no whole response. `wait_s` is what the provider asks for before the next attempt."""

    def __init__(self, reason: str, *, retryable: bool, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable
        self.wait_s = wait_s


async def ask(
    model: Model,
    messages: Sequence[ModelMessage],
    parameters: ModelRequestParameters,
    settings: ModelSettings,
    on_text: Callable[[str], None],
) -> ModelResponse:
    """The model's response; its text goes to `on_text` piece by piece as it comes.

    `messages` have an outcome for each tool call. The ids of the calls in the response are different from each other.
    Cancelling this ends the request.

    Raises:
        ModelFailed: there is none. Whatever else a built-in model raises is an error in it, and comes as it is.
    """
    asked = _alternating(messages)
    try:
        async with model_request_stream(
            model, asked, model_settings=settings, model_request_parameters=parameters
        ) as stream:
            async for event in stream:
                match event:
                    case PartStartEvent(part=TextPart(content=text)):
                        on_text(text)
                    case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                        on_text(text)
            response = stream.get()
    except AgentRunError as error:
        raise _failure(error) from error
    except Exception as error:
        if model.model_name in BUILT_IN:
            raise
        # A library trips over a malformed response in any way: AttributeError, TypeError, ValidationError …
        _log.exception("model_response_malformed")  # it could be an error of ours
        retryable = not isinstance(error, UserError)  # the configuration's fault
        raise ModelFailed(f"{type(error).__name__}: {error}", retryable=retryable) from error
    if response.state == "incomplete":
        raise ModelFailed("the stream ended in the middle of the response", retryable=True)
    if not response.tool_calls and not response.text:
        raise ModelFailed("the response is empty", retryable=True)
    return _with_distinct_ids(response)


def _alternating(messages: Sequence[ModelMessage]) -> Sequence[ModelMessage]:
    """The messages, with what two turns said in a row made one: many servers insist on it."""
    in_a_row = any(first.kind == second.kind for first, second in pairwise(messages))
    return repair_messages(messages) if in_a_row else messages


def _failure(error: AgentRunError) -> ModelFailed:
    final = isinstance(error, ModelRequestRejectedError | ModelQuotaExceededError)
    if isinstance(error, ModelHTTPError):  # not every adapter says more than the status
        final = final or (error.status_code in _REFUSED and error.status_code not in _AGAIN)
    wait_s = error.retry_after if isinstance(error, ModelAPIError) else None
    if wait_s is not None and wait_s > LONGEST_WAIT_S:
        final = True
    return ModelFailed(f"{type(error).__name__}: {error.message}", retryable=not final, wait_s=wait_s)


def _with_distinct_ids(response: ModelResponse) -> ModelResponse:
    seen: set[str] = set()

    def distinct(part: ModelResponsePart) -> ModelResponsePart:
        if not isinstance(part, ToolCallPart):
            return part
        repeated = part.tool_call_id in seen
        seen.add(part.tool_call_id)
        return replace(part, tool_call_id=uuid4().hex) if repeated else part

    return replace(response, parts=[distinct(part) for part in response.parts])
