"""A question to a person outlives its worker, and ends with its turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from integration.agent_tools.harness import eventually, toolset
from integration.agent_worker.approving import (
    answer,
    approve,
    ask,
    becomes,
    comes,
    field,
    guarded_agent,
    is_refused,
    noting,
    waiting,
)
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    agent,
    answer_and_die,
    answer_once,
    call,
    converse,
    prompt,
    results,
    scripted_agent,
)
from pydantic_ai.messages import ModelMessage, ToolReturnPart

from agent_worker.history import past_messages
from agent_worker.respond import Responder
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.settings import BusSettings


@pytest.mark.parametrize("when", ["while it waits", "while nobody works"])
@pytest.mark.parametrize("approved", [True, False])
async def test_after_a_death_the_next_worker_asks_nobody_again_and_obeys(
    quick: Bus, http_tools: HttpTools, when: str, approved: bool
) -> None:
    talk = await converse(quick)
    async with toolset(http_tools.guarded()) as tools:
        responder = Responder(quick, scripted_agent(Scripted(noting), tools))
        await talk.say("note it")
        assert await answer_and_die(quick, responder, talk, "doomed", b"tool_approval_request", before=False)
        if when == "while nobody works":
            await approve(talk, approved=approved)
        working = asyncio.create_task(answer_once(quick, responder, talk, "heir"))
        if when == "while it waits":
            assert await becomes(talk, "agent.leases", b"2", within_s=10)
            await approve(talk, approved=approved)
        await working
    events = await talk.events()
    assert [event["type"] for event in events].count("tool_approval_request") == 1
    assert answer(events).startswith("success" if approved else "denied")
    assert len(http_tools.lines("notes")) == approved


async def test_the_next_worker_waits_no_longer_than_the_first_one_said(quick: Bus, http_tools: HttpTools) -> None:
    talk = await converse(quick)
    async with toolset(http_tools.guarded()) as tools:
        first = Responder(quick, scripted_agent(Scripted(noting), tools, agent_approval_timeout_s=0.5))
        await talk.say("note it")
        assert await answer_and_die(quick, first, talk, "doomed", b"tool_approval_request", before=False)
        async with asyncio.timeout(20):
            await answer_once(quick, Responder(quick, scripted_agent(Scripted(noting), tools)), talk, "heir")
    events = await talk.events()
    assert answer(events).endswith("nobody approved it in time.")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_after_a_death_at_any_write_clients_are_asked_once_and_the_call_is_made_once(
    quick: Bus, http_tools: HttpTools, before: bool
) -> None:
    outcomes = []
    async with toolset(http_tools.guarded()) as tools:
        scripted = Scripted(noting_what_was_said)
        responder = Responder(quick, scripted_agent(scripted, tools))
        for at in range(1, 16):
            talk = await converse(quick)
            async with asyncio.TaskGroup() as tasks:
                deciding = tasks.create_task(approve_when_asked(talk))
                await talk.say(f"n{at}")
                died = await answer_and_die(quick, responder, talk, "doomed", at, before=before)
                if died and (await talk.events())[-1]["type"] != "response":
                    await answer_once(quick, responder, talk, "heir")
                await deciding
            if not died:
                break
            events = await talk.events()
            assert [event["type"] for event in events].count("tool_approval_request") == 1, f"died at write {at}"
            (outcome,) = [event["data"]["outcome"] for event in events if event["type"] == "tool_result"]
            made = http_tools.lines("notes").count(f"n{at}")
            assert made == 1 if outcome == "ok" else made <= 1, f"died at write {at}"
            assert await field(talk) is None
            outcomes.append(outcome)
    assert set(outcomes) <= {"ok", "unknown"}
    assert len(outcomes) >= 4


def noting_what_was_said(messages: list[ModelMessage]) -> list[Step]:
    return noting(messages) if results(messages) else ["Noting.", call("note", text=prompt(messages))]


async def approve_when_asked(talk: Conversation) -> None:
    await talk.until("tool_approval_request")
    await approve(talk)


async def test_the_question_of_a_turn_that_was_given_up_is_gone(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    await ask(talk, timedelta(seconds=60))
    ready = bus.keys.of(talk.session_id).ready("agent")
    for _ in range(bus.settings.attempts_max):
        await bus.calls.command("ZADD", ready, 0, talk.session_id)
        lease = await bus.stages("agent", "w").lease(talk.session_id)
        assert lease is not None
        await lease.next()
    assert (await talk.events())[-1]["data"]["code"] == "agent_failed"
    assert await field(talk) is None
    assert await is_refused(approve(talk)) == "unknown_approval"
    assert lease is not None
    await lease.release()
    await talk.say("thank you")
    async with toolset(http_tools.guarded()) as tools:
        await answer_once(bus, Responder(bus, scripted_agent(Scripted(lambda _: ["Welcome."]), tools)), talk, "heir")
    assert await field(talk) is None


async def test_an_interruption_ends_the_wait_and_the_call_is_never_made(patient: Bus, http_tools: HttpTools) -> None:
    def asking(messages: list[ModelMessage]) -> list[Step]:
        return noting(messages) if prompt(messages) == "note it" else ["No."]

    talk = await converse(patient)
    scripted = Scripted(asking)
    async with guarded_agent(patient, scripted, http_tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        await talk.interrupt()
        assert await field(talk) is None
        assert await is_refused(approve(talk)) == "unknown_approval"
        await talk.say("was it noted?")
        await talk.until("response")
    (returned,) = [
        part for message in scripted.requests[-1] for part in message.parts if isinstance(part, ToolReturnPart)
    ]
    assert (returned.outcome, returned.content) == ("interrupted", "not made")
    assert not http_tools.lines("notes")


@asynccontextmanager
async def deaf_work(
    bus_settings: BusSettings, http_tools: HttpTools
) -> AsyncIterator[tuple[Bus, Conversation, asyncio.Task[Delivery]]]:
    """A turn whose tool call waits to be approved; it hears nothing, as it has no worker around it."""
    async with open_bus(replace(bus_settings, lease_ms=900)) as bus, toolset(http_tools.guarded()) as tools:
        talk = await converse(bus)
        responder = Responder(bus, scripted_agent(Scripted(noting), tools))
        await talk.say("note it")
        working = asyncio.create_task(answer_once(bus, responder, talk, "w"))
        await talk.until("tool_approval_request")
        yield bus, talk, working


async def test_a_call_whose_request_an_interruption_took_back_is_told_as_not_made(
    bus_settings: BusSettings, http_tools: HttpTools
) -> None:
    async with deaf_work(bus_settings, http_tools) as (bus, talk, working):
        await talk.interrupt()
        async with asyncio.timeout(20):
            await working
        past = past_messages(await bus.sessions.history(talk.session_id))
    (returned,) = [part for message in past for part in message.parts if isinstance(part, ToolReturnPart)]
    assert (returned.outcome, returned.content) == ("interrupted", "not made")
    assert not http_tools.lines("notes")


async def test_an_interruption_of_an_earlier_turn_that_is_still_heard_leaves_the_question(
    patient: Bus, http_tools: HttpTools
) -> None:
    talk = await converse(patient, "voice")
    scripted = Scripted(lambda messages: noting(messages) if prompt(messages) == "note it" else ["One. ", "Two."])
    async with guarded_agent(patient, scripted, http_tools):
        await talk.say("count")
        await talk.until("response")
        await talk.speak(seconds=60)
        await talk.say("note it")
        await talk.until("tool_approval_request")
        await patient.inbox.interrupt(talk.session_id, agent_type="personal", turn=1)
        assert await waiting(talk) == ["c1"]
        await approve(talk)
        await talk.until("response", 2)
    assert http_tools.lines("notes") == ["n"]


async def test_a_lost_wake_up_costs_no_more_than_a_third_of_a_lease(
    bus_settings: BusSettings, http_tools: HttpTools
) -> None:
    async with deaf_work(bus_settings, http_tools) as (_, talk, working):
        await approve(talk)
        assert await comes(talk, "tool_call", within_s=5)
        await working
    assert http_tools.lines("notes") == ["n"]


async def test_a_worker_that_drains_does_not_wait_for_a_decision(patient: Bus, http_tools: HttpTools) -> None:
    """Its sessions are taken over at once, and the attempt is not counted against the turn."""
    talk = await converse(patient)
    scripted = Scripted(noting)
    async with toolset(http_tools.guarded()) as tools:
        for number in range(4):  # more than `attempts_max`
            async with agent(patient, scripted, tools) as worker:
                if number == 0:
                    await talk.say("note it")
                assert await becomes(talk, "agent.leases", b"%d" % (number + 1), within_s=10)
                await talk.until("tool_approval_request")
                worker.drain()
                assert await becomes(talk, "agent.state", b"queued", within_s=4)  # a drain that waits takes 5 s
        assert len(scripted.requests) == 1
        async with agent(patient, scripted, tools):
            await approve(talk)
            events = await talk.until("response")
    assert answer(events) == "success: n"
    assert http_tools.lines("notes") == ["n"]


async def test_a_worker_that_drains_lets_the_other_calls_end(patient: Bus, http_tools: HttpTools) -> None:
    def noting_and_holding(messages: list[ModelMessage]) -> list[Step]:
        if found := results(messages):
            return [" and ".join(part.outcome for part in found)]
        return [call("note", text="n"), call("echo_once", "c2", text="e", gate="gate")]

    talk = await converse(patient)
    async with toolset(http_tools.guarded()) as tools:
        async with agent(patient, Scripted(noting_and_holding), tools) as worker:
            await talk.say("both")
            await talk.until("tool_approval_request")
            await eventually(lambda: http_tools.lines("started") == ["e"])
            worker.drain()
            http_tools.touch("gate")
            assert await becomes(talk, "agent.state", b"queued", within_s=10)
        async with agent(patient, Scripted(noting_and_holding), tools):
            await approve(talk)
            events = await talk.until("response")
    assert answer(events) == "success and success"
    assert http_tools.lines("started") == ["e"]
