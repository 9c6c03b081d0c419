"""The embedded agent model `rules`: answers by rules alone, with any MCP tools, without network or weights."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import pydantic_core
from pydantic_ai.messages import ModelMessage, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.tools import ToolDefinition

from agent_worker.models.rules.dialogue import Plan, Turn, borrow, plan_for
from agent_worker.models.rules.history import turns_of
from agent_worker.models.rules.profile import profile_of
from agent_worker.models.rules.routing import Route
from agent_worker.models.rules.smalltalk import assistant_name
from agent_worker.models.rules.speech import answer_for, numbers_in, pieces

# Behind the first sentence, the time between two words. A listener takes in three a second, and who speaks the first
# sentence needs the machine now.
PAUSE_S: Final = 0.004


def rules_model() -> Model:
    """The model as pydantic-ai takes it; it streams text word by word and tool calls whole."""
    return FunctionModel(stream_function=_respond, model_name="rules")


def explain(messages: Sequence[ModelMessage], tools: Sequence[ToolDefinition]) -> tuple[str, float]:
    """What the last message of the user was taken for, and how sure that is (0 to 1).

    The intent is the tool's name (several are joined by "+"), `clarify`, `help`, `smalltalk`, `cancel` or `repeat`.
    """
    plan = _plan(messages, tools, None)[0]
    return plan.intent, plan.confidence


async def _respond(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    plan, turn = _plan(messages, info.function_tools, info.instructions)
    calls = _due(plan, turn)
    if calls:
        yield {
            index: DeltaToolCall(
                str(route.tool), _json(route), tool_call_id=_call_id(messages, len(turn.calls) + index)
            )
            for index, route in enumerate(calls)
        }
        return
    text = answer_for(turn.results) or plan.say or "Done."
    pause_s = 0.0
    for piece in pieces(text):
        yield piece
        await asyncio.sleep(pause_s)  # a long answer lets others have a turn
        if piece.rstrip().endswith((".", "!", "?")):
            pause_s = PAUSE_S


def _plan(
    messages: Sequence[ModelMessage], tools: Sequence[ToolDefinition], instructions: str | None
) -> tuple[Plan, Turn]:
    profiles = [profile_of(tool) for tool in tools]
    turns = turns_of(messages, profiles)
    return plan_for(turns, profiles, assistant_name(instructions)), turns[-1]


def _due(plan: Plan, turn: Turn) -> Sequence[Route]:
    """The calls that can be made now: all that don't wait for the result of another one."""
    open_routes = plan.routes[len(turn.calls) :]
    if plan.say or not open_routes:
        return ()
    first = open_routes[0]
    if first.borrowed is not None:
        numbers = numbers_in(turn.results[-1].content) if turn.results and turn.results[-1].outcome == "success" else []
        return (borrow(first, numbers[-1]),) if numbers else ()
    waiting = next((at for at, route in enumerate(open_routes) if route.borrowed is not None), len(open_routes))
    return open_routes[:waiting]


def _json(route: Route) -> str:
    return pydantic_core.to_json(route.arguments).decode()


def _call_id(messages: Sequence[ModelMessage], index: int) -> str:
    """The same for the same message and place, so that a call keeps its id if the answer is worked out again."""
    prompts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    identity = f"{prompts[-1].timestamp.isoformat()} {prompts[-1].content}" if prompts else ""
    return f"call_{hashlib.sha256(f'{identity} {len(messages)} {index}'.encode()).hexdigest()[:20]}"
