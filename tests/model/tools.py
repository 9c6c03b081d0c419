"""Tool calls of a model's turn, made as the agent makes them: side by side, some only once a person approved them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from model.answering import Answering, Tool
from model.approvals import PATIENCE_MS
from model.workers import Worker

from agent_worker.groups import first_reason
from voicebus.bus.emission import Emission
from voicebus.contract import events, payloads

PATIENCE = timedelta(milliseconds=PATIENCE_MS)


class ToolCalls:
    """The calls of one turn."""

    def __init__(self, worker: Worker, turn: Answering) -> None:
        self._worker = worker
        self._turn = turn
        self._lease = turn.held.lease
        self._expected = worker.world.expected[turn.held.session_id]

    async def make(self) -> bool:
        """Gives each call its outcome; True if the worker drains while some wait to be approved."""
        undecided: list[Tool] = []
        with first_reason():
            async with asyncio.TaskGroup() as tasks:
                for tool in self._turn.tools:
                    if self._turn.step("finished", tool.call_id):
                        continue
                    if tool.guarded and not self._turn.step("started", tool.call_id):
                        undecided.append(tool)
                    else:
                        tasks.create_task(self._make(tool))
                waiting = tasks.create_task(self._await_decisions(undecided, tasks)) if undecided else None
        return bool(waiting and waiting.result())

    async def _await_decisions(self, tools: Sequence[Tool], tasks: asyncio.TaskGroup) -> bool:
        waiting = {tool.call_id: tool for tool in tools}
        await self._ask([tool for tool in tools if not self._turn.step("asked", tool.call_id)])
        while True:
            approvals = await self._lease.approvals()
            for call_id, tool in list(waiting.items()):
                approval = approvals.get(call_id)
                if approval and approval.state == "pending" and not approval.expired:
                    continue
                del waiting[call_id]
                made = approval and approval.state == "approved"
                tasks.create_task(self._make(tool) if made else self._finish(tool, "cancelled"))
            if not waiting:
                return False
            if self._turn.held.draining:
                return True
            await self._turn.held.wait(0)

    async def _ask(self, tools: Sequence[Tool]) -> None:
        if not tools:
            return
        now_ms = self._worker.world.network.servers.now_ms
        expires_at = datetime.fromtimestamp(now_ms / 1000, UTC) + PATIENCE
        emission = Emission(self._turn.number)
        for tool in tools:
            request = payloads.ToolApprovalRequestData(
                tool_call_id=tool.call_id, tool_name="tool", parameters={}, expires_at=expires_at
            )
            emission.event(events.ToolApprovalRequest(**self._mark(), data=request))
            emission.journal(self._turn.record("asked", tool.call_id)).ask(request, expires_in=PATIENCE)
        await self._lease.emit(emission)

    async def _make(self, tool: Tool) -> None:
        known = self._turn.step("started", tool.call_id)
        if not known:
            call = payloads.ToolCallData(tool_call_id=tool.call_id, tool_name="tool", parameters={})
            emission = Emission(self._turn.number).event(events.ToolCall(**self._mark(), data=call))
            await self._lease.emit(emission.journal(self._turn.record("started", tool.call_id)))
        if not known or tool.repeatable:
            await self._worker.calls.pause()
            self._expected.effect(tool.call_id, repeatable=tool.repeatable, guarded=tool.guarded)
            await self._worker.calls.pause()
        await self._finish(tool, "unknown" if known and not tool.repeatable else "ok")

    async def _finish(self, tool: Tool, outcome: payloads.ToolOutcomeName) -> None:
        result = payloads.ToolResultData(
            tool_call_id=tool.call_id, tool_name="tool", is_error=outcome != "ok", outcome=outcome, duration_ms=0
        )
        emission = Emission(self._turn.number).event(events.ToolResult(**self._mark(), data=result))
        if outcome == "cancelled":
            emission.settle(tool.call_id)
        await self._lease.emit(emission.journal(self._turn.record("finished", tool.call_id)))

    def _mark(self) -> dict[str, object]:
        return self._worker.mark(self._turn.held, self._turn.number)
