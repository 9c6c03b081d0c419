"""Step ④: the tool calls of one model response, side by side, each written down before and after."""

import asyncio
import json
from typing import Final, Literal

from pydantic import JsonValue
from pydantic_ai.messages import ToolCallPart

from agent_worker import metrics
from agent_worker.answer import Scene
from agent_worker.groups import first_reason
from agent_worker.journal import Finished, Started, dump_entry
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.tools.toolset import Toolset
from agent_worker.turn import CallTools, Todo, Turn
from voicebus.bus.emission import Emission
from voicebus.bus.stages import Lease
from voicebus.contract.events import ToolCall, ToolResult
from voicebus.contract.payloads import ToolCallData, ToolResultData

UNKNOWN: Final = "The call was begun, but its outcome is unknown: it may or may not have had its effect."
NO_OBJECT: Final = "The arguments are not a JSON object."


class ToolCalls:
    """Makes the calls of one turn, at most `parallel` at a time."""

    def __init__(self, tools: Toolset, lease: Lease, scene: Scene, turn: Turn, *, parallel: int) -> None:
        self._tools = tools
        self._lease = lease
        self._scene = scene
        self._turn = turn
        self._room = asyncio.Semaphore(parallel)

    async def make(self, calls: CallTools) -> None:
        """Give each call its outcome. Cancelling this cancels the calls at their servers.

        Raises:
            LeaseLost: another worker may own the stage.
            TurnCancelled: the turn was interrupted.
        """
        with first_reason():
            async with asyncio.TaskGroup() as tasks:
                for todo in calls.todo:
                    tasks.create_task(self._make(todo))

    async def _make(self, todo: Todo) -> None:
        async with self._room:
            if todo.action == "start":
                await self._start(todo.call)
            outcome = _without_call("unknown", UNKNOWN) if todo.action == "give_up" else await self._call(todo.call)
            await self._finish(todo.call, outcome)

    async def _start(self, call: ToolCallPart) -> None:
        """Show the call to the clients; it is made only if this is accepted."""
        shown = ToolCallData(
            tool_call_id=call.tool_call_id, tool_name=call.tool_name, parameters=_arguments(call) or {}
        )
        repeatable = self._tools.annotations(call.tool_name).repeatable
        started = Started(tool_call_id=call.tool_call_id, repeatable=repeatable)
        emission = Emission(self._scene.turn).event(ToolCall(**self._scene.envelope, data=shown))
        await self._lease.emit(emission.journal(dump_entry(started)))
        self._turn.record(started)

    async def _call(self, call: ToolCallPart) -> ToolOutcome:
        arguments = _arguments(call)
        if arguments is None:
            return _without_call("error", NO_OBJECT)
        return await self._tools.call(
            call.tool_name,
            arguments,
            sub=self._scene.session.owner,
            session_id=self._scene.session.session_id,
            call_id=call.tool_call_id,
        )

    async def _finish(self, call: ToolCallPart, outcome: ToolOutcome) -> None:
        finished = Finished(tool_call_id=call.tool_call_id, outcome=outcome)
        self._turn.record(finished)  # at once: an interruption may refuse the write, not what happened
        metrics.tool_calls.labels(outcome.outcome).inc()
        metrics.tool_seconds.observe(outcome.duration_ms / 1000)
        shown = ToolResultData(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            result=outcome.content,
            is_error=outcome.is_error,
            outcome=outcome.outcome,
            duration_ms=round(outcome.duration_ms),
        )
        emission = Emission(self._scene.turn).event(ToolResult(**self._scene.envelope, data=shown))
        await self._lease.emit(emission.journal(dump_entry(finished)))


def _arguments(call: ToolCallPart) -> dict[str, JsonValue] | None:
    """The call's arguments; None if the model wrote something else than an object."""
    arguments = call.args or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError:
            return None
    return arguments if isinstance(arguments, dict) else None


def _without_call(outcome: Literal["unknown", "error"], content: str) -> ToolOutcome:
    return ToolOutcome(content=content, is_error=True, outcome=outcome, duration_ms=0)
