"""Tools that need a person's approval: what clients are asked, who decides, and what counts."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from integration.agent_tools.harness import toolset
from integration.agent_worker.approving import (
    answer,
    approve,
    ask,
    comes,
    field,
    guarded_agent,
    is_refused,
    noting,
    waiting,
)
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Scripted,
    Step,
    agent,
    answer_and_die,
    answer_once,
    call,
    converse,
    results,
    scripted_agent,
    seen,
)
from pydantic_ai.messages import ModelMessage

from agent_worker.respond import Responder
from agent_worker.tools.config import ToolOptions
from voicebus.bus.bus import Bus
from voicebus.contract.errors import Refused

NOTED: list[tuple[Any, ...]] = [("call", "c1", "note", {"text": "n"}), ("result", "c1", "n", "ok")]


def noting_and_adding(messages: list[ModelMessage]) -> list[Step]:
    if results(messages):
        return ["Done."]
    return ["Both.", call("note", text="n"), call("add", "c2", a=20, b=22)]


async def test_a_call_is_made_once_a_client_has_approved_it(patient: Bus, http_tools: HttpTools) -> None:
    talk = await converse(patient)
    before = datetime.now(UTC)
    async with guarded_agent(patient, Scripted(noting), http_tools):
        await talk.say("note it")
        assert await comes(talk, "tool_approval_request", within_s=10)
        request = (await talk.events())[-1]["data"]
        expires_at = datetime.fromisoformat(request.pop("expires_at"))
        assert request == {"tool_call_id": "c1", "tool_name": "note", "parameters": {"text": "n"}}
        assert timedelta(seconds=299) < expires_at - before < timedelta(seconds=320)
        assert await waiting(talk) == ["c1"]
        assert not http_tools.lines("notes")
        await approve(talk)
        assert await comes(talk, "tool_call", within_s=10)
        events = await talk.until("response")
        assert [event["type"] for event in events[2:]] == [
            *("token", "tool_approval_request", "tool_call", "tool_result", "token", "response")
        ]
        assert seen(events)[2:4] == NOTED
        assert http_tools.lines("notes") == ["n"]
        assert await field(talk) is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "The call was not made: the user denied it."),
        ("too dear", "The call was not made: the user denied it, saying: too dear"),
    ],
)
async def test_a_call_that_is_denied_is_never_made_and_the_model_is_told_why(
    patient: Bus, http_tools: HttpTools, reason: str, told: str
) -> None:
    talk = await converse(patient)
    async with guarded_agent(patient, Scripted(noting), http_tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        await approve(talk, approved=False, reason=reason)
        events = await talk.until("response")
    assert answer(events) == f"denied: {told}"
    (result,) = [event["data"] for event in events if event["type"] == "tool_result"]
    assert (result["result"], result["is_error"], result["outcome"]) == (told, True, "cancelled")
    assert "tool_call" not in {event["type"] for event in events}
    assert not http_tools.lines("notes")
    assert await field(talk) is None


async def test_a_call_that_nobody_decides_on_is_not_made_once_it_has_expired(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    scripted = Scripted(noting)
    async with guarded_agent(bus, scripted, http_tools, agent_approval_timeout_s=0.3):
        await talk.say("note it")
        assert await comes(talk, "response", within_s=10)
        events = await talk.events()
        assert answer(events) == "denied: The call was not made: nobody approved it in time."
        (request,) = [event for event in events if event["type"] == "tool_approval_request"]
        (result,) = [event for event in events if event["type"] == "tool_result"]
        assert result["data"]["outcome"] == "cancelled"
        assert result["timestamp"] >= request["data"]["expires_at"]
        assert await is_refused(approve(talk)) == "unknown_approval"
    assert not http_tools.lines("notes")


async def test_what_has_expired_is_not_listed_while_the_turn_goes_on(bus: Bus, http_tools: HttpTools) -> None:
    def noting_and_holding(messages: list[ModelMessage]) -> list[Step]:
        return ["Done."] if results(messages) else [call("note", text="n"), call("put", "c2", text="p")]

    http_tools.shut("go")
    talk = await converse(bus)
    scripted = Scripted(noting_and_holding)
    async with guarded_agent(bus, scripted, http_tools, agent_approval_timeout_s=0.3):
        await talk.say("both")
        await talk.until("tool_result")
        assert await waiting(talk) == []
        http_tools.touch("go")
        await talk.until("response")


async def test_a_request_that_has_expired_takes_no_word_even_if_no_worker_noticed(bus: Bus) -> None:
    talk = await converse(bus)
    await ask(talk, timedelta(seconds=-1))
    assert await waiting(talk) == ["c1"]
    assert await is_refused(approve(talk)) == "unknown_approval"
    await ask(talk, timedelta(seconds=60))
    await approve(talk)


@pytest.mark.parametrize("tools", [{"note": ToolOptions()}, {"*": ToolOptions(approval=True), "note": ToolOptions()}])
async def test_a_tool_that_needs_no_approval_is_called_at_once(
    bus: Bus, http_tools: HttpTools, tools: dict[str, ToolOptions]
) -> None:
    talk = await converse(bus)
    async with toolset(http_tools.guarded(**tools)) as toolbox, agent(bus, Scripted(noting), toolbox):
        await talk.say("note it")
        events = await talk.until("response")
    assert "tool_approval_request" not in {event["type"] for event in events}
    assert http_tools.lines("notes") == ["n"]


async def test_all_tools_of_a_server_may_need_an_approval(bus: Bus, http_tools: HttpTools) -> None:
    everything = http_tools.guarded(**{"*": ToolOptions(approval=True)})
    talk = await converse(bus)
    async with toolset(everything) as tools, agent(bus, Scripted(noting_and_adding), tools):
        await talk.say("both")
        await talk.until("tool_approval_request", 2)
        assert await waiting(talk) == ["c1", "c2"]
        await approve(talk, "c2")
        await approve(talk, "c1", approved=False)
        events = await talk.until("response")
    outcomes = {
        event["data"]["tool_call_id"]: event["data"]["outcome"] for event in events if "tool_result" in str(event)
    }
    assert outcomes == {"c1": "cancelled", "c2": "ok"}


async def test_other_calls_of_the_response_go_on_while_one_waits(bus: Bus, http_tools: HttpTools) -> None:
    """There is room for one call at a time, and the one that waits does not take it."""
    talk = await converse(bus)
    scripted = Scripted(noting_and_adding)
    async with guarded_agent(bus, scripted, http_tools, agent_parallel_tools=1):
        await talk.say("both")
        assert await comes(talk, "tool_result", within_s=10)
        events = await talk.events()
        assert events[-1]["data"]["tool_call_id"] == "c2"
        assert await waiting(talk) == ["c1"]
        await approve(talk)
        assert await comes(talk, "response", within_s=10)
    assert seen(await talk.events())[-4:-2] == NOTED


async def test_the_first_word_counts_and_the_second_person_is_told(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    async with toolset(http_tools.guarded()) as tools:
        responder = Responder(bus, scripted_agent(Scripted(noting), tools))
        await talk.say("note it")
        assert await answer_and_die(bus, responder, talk, "doomed", b"tool_approval_request", before=False)
        await approve(talk, approved=False, reason="no", message_id="m1")
        assert await is_refused(approve(talk, message_id="m2")) == "unknown_approval"
        again = await bus.inbox.approve(talk.session_id, "c1", approved=False, reason="no", message_id="m1")
        assert again.repeated
        assert await is_refused(approve(talk, message_id="m1")) == "id_conflict"
        assert await waiting(talk) == []
        await bus.calls.command("ZADD", bus.keys.of(talk.session_id).ready("agent"), 0, talk.session_id)
        await answer_once(bus, responder, talk, "heir")
    assert answer(await talk.events()).endswith("saying: no")
    assert not http_tools.lines("notes")


async def test_of_many_that_decide_at_once_one_does(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    async with guarded_agent(bus, Scripted(noting), http_tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        words = [approve(talk, approved=bool(number % 2), reason=str(number)) for number in range(8)]
        outcomes = await asyncio.gather(*words, return_exceptions=True)
        events = await talk.until("response")
    (winner,) = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert all(isinstance(outcome, Refused) for outcome in outcomes if outcome is not None)
    assert answer(events).endswith("success: n" if winner % 2 else f"saying: {winner}")
    assert len(http_tools.lines("notes")) == winner % 2


async def test_what_nobody_was_asked_about_cannot_be_decided(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    assert await is_refused(approve(talk)) == "unknown_approval"
    async with guarded_agent(bus, Scripted(noting), http_tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        assert await is_refused(approve(talk, "c2")) == "unknown_approval"
        await approve(talk)
        await talk.until("response")
        assert await is_refused(approve(talk)) == "unknown_approval"
    await bus.sessions.end(talk.session_id, "deleted")
    assert await is_refused(approve(talk)) == "session_ended"
    assert await is_refused(bus.inbox.approve("never", "c1", approved=True)) == "session_not_found"


async def test_what_a_request_says_is_kept_to_the_letter(bus: Bus, http_tools: HttpTools) -> None:
    """As a table of the script it would lose digits and empty lists."""
    odd = {"text": "n", "ids": [], "big": 12345678901234567890, "é\u2028": {"a": {}}}
    talk = await converse(bus)
    scripted = Scripted(lambda messages: ["Done."] if results(messages) else [call("note", **odd)])
    async with guarded_agent(bus, scripted, http_tools):
        await talk.say("note it")
        events = await talk.until("tool_approval_request")
        (request,) = (await bus.sessions.get(talk.session_id)).approvals
        assert request.parameters == events[-1]["data"]["parameters"] == odd
        await approve(talk, approved=False)
        await talk.until("response")


async def test_arguments_that_are_no_object_are_nobodys_question(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    bad = replace(call("note"), json_args="[1]")
    scripted = Scripted(lambda messages: [results(messages)[0].outcome] if results(messages) else [bad])
    async with guarded_agent(bus, scripted, http_tools):
        await talk.say("note it")
        assert await comes(talk, "response", within_s=10)
    events = await talk.events()
    assert "tool_approval_request" not in {event["type"] for event in events}
    assert answer(events) == "failed"


async def test_a_call_that_nobody_was_asked_about_is_not_made_whatever_the_turn_thought(http_tools: HttpTools) -> None:
    async with toolset(http_tools.guarded()) as tools:
        arguments = {"text": "n"}
        refused = await tools.call("note", arguments, sub="ada", session_id="s", call_id="c1")
        assert (refused.outcome, refused.is_error) == ("error", True)
        assert not http_tools.lines("notes")
        made = await tools.call("note", arguments, sub="ada", session_id="s", call_id="c1", approved=True)
        assert made.outcome == "ok"
