"""What the tests of approvals share: an agent that must ask, what clients decide, and what is kept of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from integration.agent_tools.harness import toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    agent,
    call,
    results,
    take,
)
from pydantic_ai.messages import ModelMessage

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.chassis.worker import Worker
from voicebus.contract.errors import Refused
from voicebus.contract.payloads import ToolApprovalRequestData


@asynccontextmanager
async def guarded_agent(bus: Bus, scripted: Scripted, http_tools: HttpTools, **fields: Any) -> AsyncIterator[Worker]:
    """A worker of the agent stage whose tool `note` needs an approval."""
    async with toolset(http_tools.guarded()) as tools, agent(bus, scripted, tools, **fields) as worker:
        yield worker


def noting(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return [f"{found[0].outcome}: ", str(found[0].content)]
    return ["Noting.", call("note", text="n")]


def answer(events: list[dict[str, Any]]) -> str:
    return str(events[-1]["data"]["content"])


async def approve(talk: Conversation, tool_call_id: str = "c1", *, approved: bool = True, **fields: Any) -> None:
    await talk.bus.inbox.approve(talk.session_id, tool_call_id, approved=approved, **fields)


async def is_refused(work: Awaitable[object]) -> str:
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


async def waiting(talk: Conversation) -> list[str]:
    """The calls that a client can decide on, as the session's state tells."""
    session = await talk.bus.sessions.get(talk.session_id)
    return [request.tool_call_id for request in session.approvals]


async def comes(talk: Conversation, kind: str, *, within_s: float) -> bool:
    """Whether an event of this kind comes in time."""
    try:
        async with asyncio.timeout(within_s):
            await talk.until(kind)
    except TimeoutError:
        return False
    return True


async def field(talk: Conversation) -> object:
    return await talk.bus.calls.command("HGET", talk.bus.keys.of(talk.session_id).session, "approvals")


async def becomes(talk: Conversation, name: str, wanted: bytes, *, within_s: float) -> bool:
    """Whether a field of the session has this value in time."""
    key = talk.bus.keys.of(talk.session_id).session
    try:
        async with asyncio.timeout(within_s):
            while await talk.bus.calls.command("HGET", key, name) != wanted:  # noqa: ASYNC110 - Redis changes it
                await asyncio.sleep(0.005)
    except TimeoutError:
        return False
    return True


async def ask(talk: Conversation, left: timedelta) -> None:
    """A worker whose clock is slow asks, and dies."""
    if (await talk.bus.sessions.get(talk.session_id)).turn == 0:
        await talk.say("note it")
    await talk.bus.calls.command("ZADD", talk.bus.keys.of(talk.session_id).ready("agent"), 0, talk.session_id)
    lease, _ = await take(talk.bus, talk, "w")
    request = ToolApprovalRequestData(
        tool_call_id="c1", tool_name="note", parameters={}, expires_at=datetime.now(UTC) - timedelta(hours=1)
    )
    await lease.emit(Emission(1).ask(request, expires_in=left))
