"""Step ④: the tool calls of one model response, side by side, each written down before and after.

A call that needs a person's approval waits for it without keeping the others from being made.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import JsonValue
from pydantic_ai.messages import ToolCallPart

from agent_worker import metrics
from agent_worker.answer import TurnContext
from agent_worker.groups import first_reason
from agent_worker.journal import Asked, Finished, Started, dump_entry
from agent_worker.settings import AgentSettings
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.tools.toolset import Toolset
from agent_worker.turn import CallTools, Todo, Turn
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Approval
from voicebus.chassis.held import Held
from voicebus.contract.errors import TurnCancelled
from voicebus.contract.events import ToolApprovalRequest, ToolCall, ToolResult
from voicebus.contract.payloads import ToolApprovalRequestData, ToolCallData, ToolResultData

UNKNOWN: Final = "The call was begun, but its outcome is unknown: it may or may not have had its effect."
NO_OBJECT: Final = "The arguments are not a JSON object."
DENIED: Final = "The call was not made: the user denied it"
UNANSWERED: Final = "The call was not made: nobody approved it in time."


class TurnPostponed(Exception):
    """A call waits to be approved, and the worker goes away: the next one waits on."""


class ToolCalls:
    """Makes the calls of one turn, at most `agent_parallel_tools` at a time."""

    def __init__(self, tools: Toolset, held: Held, context: TurnContext, turn: Turn, settings: AgentSettings) -> None:
        self._tools = tools
        self._held = held
        self._lease = held.lease
        self._context = context
        self._turn = turn
        self._room = asyncio.Semaphore(settings.agent_parallel_tools)
        self._approval_timeout = timedelta(seconds=settings.agent_approval_timeout_s)

    async def make(self, calls: CallTools) -> None:
        """Give each call its outcome. Cancelling this cancels the calls at their servers.

        Raises:
            LeaseLost: another worker may own the stage.
            TurnCancelled: the turn was interrupted.
            TurnPostponed: the worker drains, and calls still wait to be approved; all others have their outcome.
        """
        undecided: list[Todo] = []
        with first_reason():
            async with asyncio.TaskGroup() as tasks:
                for todo in calls.todo:
                    if self._needs_approval(todo):
                        undecided.append(todo)
                    else:
                        tasks.create_task(self._make(todo))
                waiting = tasks.create_task(self._await_decisions(undecided, tasks)) if undecided else None
        if waiting and waiting.result():
            raise TurnPostponed

    def _needs_approval(self, todo: Todo) -> bool:
        if todo.action != "start" or _arguments(todo.call) is None:
            return False
        return todo.asked or self._tools.needs_approval(todo.call.tool_name)

    async def _await_decisions(self, todos: Sequence[Todo], tasks: asyncio.TaskGroup) -> bool:
        """Ask clients, and make or refuse each call as it is decided; True if the worker drains before all are.

        Raises:
            TurnCancelled: the turn was interrupted.
        """
        waiting = {todo.call.tool_call_id: todo for todo in todos}
        await self._ask([todo.call for todo in todos if not todo.asked])
        while True:
            approvals = await self._lease.approvals()
            for call_id, todo in list(waiting.items()):
                if (approval := approvals.get(call_id)) is None:
                    raise TurnCancelled  # nothing but an interruption takes back what is asked here
                if approval.state == "pending" and not approval.expired:
                    continue
                del waiting[call_id]
                if approval.state == "approved":
                    tasks.create_task(self._make(todo, approved=True))
                else:
                    tasks.create_task(self._finish(todo.call, _refused(approval)))
            if not waiting:
                return False
            if self._held.draining:
                return True
            soonest_s = min(approvals[call_id].left_s for call_id in waiting)
            await self._held.wait(min(soonest_s, self._lease.renewed_every_s))

    async def _ask(self, calls: Sequence[ToolCallPart]) -> None:
        """Ask clients to approve the calls, in one write."""
        if not calls:
            return
        expires_at = datetime.now(UTC) + self._approval_timeout
        emission = Emission(self._context.turn)
        for call in calls:
            request = ToolApprovalRequestData(
                tool_call_id=call.tool_call_id,
                tool_name=call.tool_name,
                parameters=_arguments(call) or {},
                expires_at=expires_at,
            )
            asked = Asked(tool_call_id=call.tool_call_id)
            emission.event(ToolApprovalRequest(**self._context.envelope, data=request))
            emission.journal(dump_entry(asked)).ask(request, expires_in=self._approval_timeout)
            self._turn.record(asked)
        await self._lease.emit(emission)

    async def _make(self, todo: Todo, *, approved: bool = False) -> None:
        async with self._room:
            if todo.action == "start":
                await self._start(todo.call)
            if todo.action == "give_up":
                outcome = _without_call("unknown", UNKNOWN)
            else:
                outcome = await self._call(todo.call, approved=approved or todo.asked)
            await self._finish(todo.call, outcome)

    async def _start(self, call: ToolCallPart) -> None:
        """Show the call to the clients; it is made only if this is accepted."""
        shown = ToolCallData(
            tool_call_id=call.tool_call_id, tool_name=call.tool_name, parameters=_arguments(call) or {}
        )
        repeatable = self._tools.annotations(call.tool_name).repeatable
        started = Started(tool_call_id=call.tool_call_id, repeatable=repeatable)
        emission = Emission(self._context.turn).event(ToolCall(**self._context.envelope, data=shown))
        await self._lease.emit(emission.journal(dump_entry(started)))
        self._turn.record(started)

    async def _call(self, call: ToolCallPart, *, approved: bool) -> ToolOutcome:
        arguments = _arguments(call)
        if arguments is None:
            return _without_call("error", NO_OBJECT)
        return await self._tools.call(
            call.tool_name,
            arguments,
            sub=self._context.session.owner,
            session_id=self._context.session.session_id,
            call_id=call.tool_call_id,
            approved=approved,
        )

    async def _finish(self, call: ToolCallPart, outcome: ToolOutcome) -> None:
        finished = Finished(tool_call_id=call.tool_call_id, outcome=outcome)
        self._turn.record(finished)  # at once: an interruption may refuse the write, not what happened
        metrics.tool_calls.labels(outcome.outcome).inc()
        known = self._tools.knows(call.tool_name)
        metrics.seconds_of(call.tool_name, known=known).observe(outcome.duration_ms / 1000)
        shown = ToolResultData(
            tool_call_id=call.tool_call_id,
            tool_name=call.tool_name,
            result=outcome.content,
            is_error=outcome.is_error,
            outcome=outcome.outcome,
            duration_ms=round(outcome.duration_ms),
        )
        emission = Emission(self._context.turn).event(ToolResult(**self._context.envelope, data=shown))
        if outcome.denied:
            emission.settle(call.tool_call_id)
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


def _refused(approval: Approval) -> ToolOutcome:
    """The outcome of a call that a person denied, or that nobody decided on."""
    if approval.state == "denied":
        content = f"{DENIED}, saying: {approval.reason}" if approval.reason else f"{DENIED}."
    else:
        content = UNANSWERED
    return ToolOutcome(content=content, is_error=True, outcome="cancelled", duration_ms=0, denied=True)
