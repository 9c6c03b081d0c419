"""Tools that need a person's approval: who decides, what counts, and what outlives a worker."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from integration.agent_tools.harness import DEADLINE_S, TOOL_SERVER, eventually, lines, toolset
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    agent,
    answer_and_die,
    answer_once,
    call,
    converse,
    means,
    prompt,
    results,
    seen,
    take,
)
from pydantic_ai.messages import ModelMessage, ToolReturnPart

from agent_worker.respond import Responder
from agent_worker.tools.config import HttpServer, ServerOptions, ToolOptions
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.emission import Emission
from voicebus.bus.settings import BusSettings
from voicebus.contract.errors import Refused
from voicebus.contract.payloads import ToolApprovalRequestData

NOTED: list[tuple[Any, ...]] = [("call", "c1", "note", {"text": "n"}), ("result", "c1", "n", "ok")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' own tools behind HTTP, which costs a test less than a process of its own; their folder."""
    folder = tmp_path_factory.mktemp("tools")
    process = subprocess.Popen([sys.executable, TOOL_SERVER, "http", str(folder)])
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not lines(folder / "port"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield folder
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def folder(server: Path) -> Path:
    """As at the start: no tool was called; `note` answers at once."""
    for path in server.iterdir():
        if path.name != "port":
            path.unlink()
    (server / "go").touch()
    return server


def guarded(folder: Path, **tools: ToolOptions) -> HttpServer:
    """The server with a tool, `note`, that needs an approval."""
    options = ServerOptions(tools={"note": ToolOptions(approval=True), **tools})
    return HttpServer(name="tools", url=f"http://127.0.0.1:{(folder / 'port').read_text()}/mcp", voicebus=options)


def noting(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return [f"{found[0].outcome}: ", str(found[0].content)]
    return ["Noting.", call("note", text="n")]


def noting_and_adding(messages: list[ModelMessage]) -> list[Step]:
    if results(messages):
        return ["Done."]
    return ["Both.", call("note", text="n"), call("add", "c2", a=20, b=22)]


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


@pytest.fixture
async def quick(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    """Leases expire fast, so that the next worker need not wait."""
    async with open_bus(replace(bus_settings, lease_ms=150)) as opened:
        yield opened


@pytest.fixture
async def patient(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    """Leases are renewed too seldom to make up for a wake-up within a test."""
    async with open_bus(replace(bus_settings, lease_ms=120_000)) as opened:
        yield opened


async def test_a_call_is_made_once_a_client_has_approved_it(patient: Bus, folder: Path) -> None:
    talk = await converse(patient)
    before = datetime.now(UTC)
    async with toolset(guarded(folder)) as tools, agent(patient, Scripted(noting), tools):
        await talk.say("note it")
        assert await comes(talk, "tool_approval_request", within_s=10)
        request = (await talk.events())[-1]["data"]
        expires_at = datetime.fromisoformat(request.pop("expires_at"))
        assert request == {"tool_call_id": "c1", "tool_name": "note", "parameters": {"text": "n"}}
        assert timedelta(seconds=299) < expires_at - before < timedelta(seconds=320)
        assert await waiting(talk) == ["c1"]
        assert not lines(folder / "notes")
        await approve(talk)
        assert await comes(talk, "tool_call", within_s=10)
        events = await talk.until("response")
        assert [event["type"] for event in events[2:]] == [
            *("token", "tool_approval_request", "tool_call", "tool_result", "token", "response")
        ]
        assert seen(events)[2:4] == NOTED
        assert lines(folder / "notes") == ["n"]
        assert await field(talk) is None


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("", "The call was not made: the user denied it."),
        ("too dear", "The call was not made: the user denied it, saying: too dear"),
    ],
)
async def test_a_call_that_is_denied_is_never_made_and_the_model_is_told_why(
    patient: Bus, folder: Path, reason: str, told: str
) -> None:
    talk = await converse(patient)
    async with toolset(guarded(folder)) as tools, agent(patient, Scripted(noting), tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        await approve(talk, approved=False, reason=reason)
        events = await talk.until("response")
    assert answer(events) == f"denied: {told}"
    (result,) = [event["data"] for event in events if event["type"] == "tool_result"]
    assert (result["result"], result["is_error"], result["outcome"]) == (told, True, "cancelled")
    assert "tool_call" not in {event["type"] for event in events}
    assert not lines(folder / "notes")
    assert await field(talk) is None


async def test_a_call_that_nobody_decides_on_is_not_made_once_it_has_expired(bus: Bus, folder: Path) -> None:
    talk = await converse(bus)
    scripted = Scripted(noting)
    async with toolset(guarded(folder)) as tools, agent(bus, scripted, tools, agent_approval_timeout_s=0.3):
        await talk.say("note it")
        assert await comes(talk, "response", within_s=10)
        events = await talk.events()
        assert answer(events) == "denied: The call was not made: nobody approved it in time."
        (request,) = [event for event in events if event["type"] == "tool_approval_request"]
        (result,) = [event for event in events if event["type"] == "tool_result"]
        assert result["data"]["outcome"] == "cancelled"
        assert result["timestamp"] >= request["data"]["expires_at"]
        assert await is_refused(approve(talk)) == "unknown_approval"
    assert not lines(folder / "notes")


async def test_what_has_expired_is_not_listed_while_the_turn_goes_on(bus: Bus, folder: Path) -> None:
    def noting_and_holding(messages: list[ModelMessage]) -> list[Step]:
        return ["Done."] if results(messages) else [call("note", text="n"), call("put", "c2", text="p")]

    (folder / "go").unlink()
    talk = await converse(bus)
    scripted = Scripted(noting_and_holding)
    async with toolset(guarded(folder)) as tools, agent(bus, scripted, tools, agent_approval_timeout_s=0.3):
        await talk.say("both")
        await talk.until("tool_result")
        assert await waiting(talk) == []
        (folder / "go").touch()
        await talk.until("response")


async def test_a_request_that_has_expired_takes_no_word_even_if_no_worker_noticed(bus: Bus) -> None:
    talk = await converse(bus)
    await ask(talk, timedelta(seconds=-1))
    assert await waiting(talk) == ["c1"]
    assert await is_refused(approve(talk)) == "unknown_approval"
    await ask(talk, timedelta(seconds=60))
    await approve(talk)


async def ask(talk: Conversation, left: timedelta) -> None:
    """A worker whose clock is slow asks, and dies."""
    if (await talk.bus.sessions.get(talk.session_id)).turn == 0:
        await talk.say("note it")
    await talk.bus.calls.command("ZADD", talk.bus.keys.of(talk.session_id).ready("agent"), 0, talk.session_id)
    lease, _ = await take(talk.bus, talk, "w")
    request = ToolApprovalRequestData(
        tool_call_id="c1", tool_name="note", parameters={}, expires_at=datetime.now(UTC) - timedelta(hours=1)
    )
    await lease.emit(Emission(1).ask(request, patience=left))


async def test_the_question_of_a_turn_that_was_given_up_is_gone(bus: Bus, folder: Path) -> None:
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
    async with toolset(guarded(folder)) as tools:
        await answer_once(bus, Responder(bus, means(Scripted(lambda _: ["Welcome."]), tools)), talk, "heir")
    assert await field(talk) is None


@pytest.mark.parametrize("tools", [{"note": ToolOptions()}, {"*": ToolOptions(approval=True), "note": ToolOptions()}])
async def test_a_tool_that_needs_no_approval_is_called_at_once(
    bus: Bus, folder: Path, tools: dict[str, ToolOptions]
) -> None:
    talk = await converse(bus)
    async with toolset(guarded(folder, **tools)) as toolbox, agent(bus, Scripted(noting), toolbox):
        await talk.say("note it")
        events = await talk.until("response")
    assert "tool_approval_request" not in {event["type"] for event in events}
    assert lines(folder / "notes") == ["n"]


async def test_all_tools_of_a_server_may_need_an_approval(bus: Bus, folder: Path) -> None:
    everything = guarded(folder, **{"*": ToolOptions(approval=True)})
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


async def test_other_calls_of_the_response_go_on_while_one_waits(bus: Bus, folder: Path) -> None:
    """There is room for one call at a time, and the one that waits does not take it."""
    talk = await converse(bus)
    scripted = Scripted(noting_and_adding)
    async with toolset(guarded(folder)) as tools, agent(bus, scripted, tools, agent_parallel_tools=1):
        await talk.say("both")
        assert await comes(talk, "tool_result", within_s=10)
        events = await talk.events()
        assert events[-1]["data"]["tool_call_id"] == "c2"
        assert await waiting(talk) == ["c1"]
        await approve(talk)
        assert await comes(talk, "response", within_s=10)
    assert seen(await talk.events())[-4:-2] == NOTED


async def test_the_first_word_counts_and_the_second_person_is_told(bus: Bus, folder: Path) -> None:
    talk = await converse(bus)
    async with toolset(guarded(folder)) as tools:
        responder = Responder(bus, means(Scripted(noting), tools))
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
    assert not lines(folder / "notes")


async def test_of_many_that_decide_at_once_one_does(bus: Bus, folder: Path) -> None:
    talk = await converse(bus)
    async with toolset(guarded(folder)) as tools, agent(bus, Scripted(noting), tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        words = [approve(talk, approved=bool(number % 2), reason=str(number)) for number in range(8)]
        outcomes = await asyncio.gather(*words, return_exceptions=True)
        events = await talk.until("response")
    (winner,) = [number for number, outcome in enumerate(outcomes) if outcome is None]
    assert all(isinstance(outcome, Refused) for outcome in outcomes if outcome is not None)
    assert answer(events).endswith("success: n" if winner % 2 else f"saying: {winner}")
    assert len(lines(folder / "notes")) == winner % 2


async def test_what_nobody_was_asked_about_cannot_be_decided(bus: Bus, folder: Path) -> None:
    talk = await converse(bus)
    assert await is_refused(approve(talk)) == "unknown_approval"
    async with toolset(guarded(folder)) as tools, agent(bus, Scripted(noting), tools):
        await talk.say("note it")
        await talk.until("tool_approval_request")
        assert await is_refused(approve(talk, "c2")) == "unknown_approval"
        await approve(talk)
        await talk.until("response")
        assert await is_refused(approve(talk)) == "unknown_approval"
    await bus.sessions.end(talk.session_id, "deleted")
    assert await is_refused(approve(talk)) == "session_ended"
    assert await is_refused(bus.inbox.approve("never", "c1", approved=True)) == "session_not_found"


@pytest.mark.parametrize("when", ["while it waits", "while nobody works"])
@pytest.mark.parametrize("approved", [True, False])
async def test_after_a_death_the_next_worker_asks_nobody_again_and_obeys(
    quick: Bus, folder: Path, when: str, approved: bool
) -> None:
    talk = await converse(quick)
    async with toolset(guarded(folder)) as tools:
        responder = Responder(quick, means(Scripted(noting), tools))
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
    assert len(lines(folder / "notes")) == approved


async def test_the_next_worker_waits_no_longer_than_the_first_one_said(quick: Bus, folder: Path) -> None:
    talk = await converse(quick)
    async with toolset(guarded(folder)) as tools:
        first = Responder(quick, means(Scripted(noting), tools, agent_approval_timeout_s=0.5))
        await talk.say("note it")
        assert await answer_and_die(quick, first, talk, "doomed", b"tool_approval_request", before=False)
        async with asyncio.timeout(20):
            await answer_once(quick, Responder(quick, means(Scripted(noting), tools)), talk, "heir")
    events = await talk.events()
    assert answer(events).endswith("nobody approved it in time.")


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_after_a_death_at_any_write_clients_are_asked_once_and_the_call_is_made_once(
    quick: Bus, folder: Path, before: bool
) -> None:
    outcomes = []
    async with toolset(guarded(folder)) as tools:
        scripted = Scripted(noting_what_was_said)
        responder = Responder(quick, means(scripted, tools))
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
            made = lines(folder / "notes").count(f"n{at}")
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


async def test_an_interruption_ends_the_wait_and_the_call_is_never_made(patient: Bus, folder: Path) -> None:
    def asking(messages: list[ModelMessage]) -> list[Step]:
        return noting(messages) if prompt(messages) == "note it" else ["No."]

    talk = await converse(patient)
    scripted = Scripted(asking)
    async with toolset(guarded(folder)) as tools, agent(patient, scripted, tools):
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
    assert not lines(folder / "notes")


async def test_an_interruption_of_an_earlier_turn_that_is_still_heard_leaves_the_question(
    patient: Bus, folder: Path
) -> None:
    talk = await converse(patient, "voice")
    scripted = Scripted(lambda messages: noting(messages) if prompt(messages) == "note it" else ["One. ", "Two."])
    async with toolset(guarded(folder)) as tools, agent(patient, scripted, tools):
        await talk.say("count")
        await talk.until("response")
        await talk.speak(seconds=60)
        await talk.say("note it")
        await talk.until("tool_approval_request")
        await patient.inbox.interrupt(talk.session_id, agent_type="personal", turn=1)
        assert await waiting(talk) == ["c1"]
        await approve(talk)
        await talk.until("response", 2)
    assert lines(folder / "notes") == ["n"]


async def test_a_lost_wake_up_costs_no_more_than_a_third_of_a_lease(bus_settings: BusSettings, folder: Path) -> None:
    """`answer_once` hears nothing: it has no worker around it."""
    async with open_bus(replace(bus_settings, lease_ms=900)) as bus, toolset(guarded(folder)) as tools:
        talk = await converse(bus)
        responder = Responder(bus, means(Scripted(noting), tools))
        await talk.say("note it")
        working = asyncio.create_task(answer_once(bus, responder, talk, "w"))
        await talk.until("tool_approval_request")
        await approve(talk)
        assert await comes(talk, "tool_call", within_s=5)
        await working
    assert lines(folder / "notes") == ["n"]


async def test_a_worker_that_drains_does_not_wait_for_a_decision(patient: Bus, folder: Path) -> None:
    """Its sessions are taken over at once, and the attempt is not counted against the turn."""
    talk = await converse(patient)
    scripted = Scripted(noting)
    async with toolset(guarded(folder)) as tools:
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
    assert lines(folder / "notes") == ["n"]


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


async def test_a_worker_that_drains_lets_the_other_calls_end(patient: Bus, folder: Path) -> None:
    def noting_and_holding(messages: list[ModelMessage]) -> list[Step]:
        if found := results(messages):
            return [" and ".join(part.outcome for part in found)]
        return [call("note", text="n"), call("echo_once", "c2", text="e", gate="gate")]

    talk = await converse(patient)
    async with toolset(guarded(folder)) as tools:
        async with agent(patient, Scripted(noting_and_holding), tools) as worker:
            await talk.say("both")
            await talk.until("tool_approval_request")
            await eventually(lambda: lines(folder / "started") == ["e"])
            worker.drain()
            (folder / "gate").touch()
            assert await becomes(talk, "agent.state", b"queued", within_s=10)
        async with agent(patient, Scripted(noting_and_holding), tools):
            await approve(talk)
            events = await talk.until("response")
    assert answer(events) == "success and success"
    assert lines(folder / "started") == ["e"]


async def test_what_a_request_says_is_kept_to_the_letter(bus: Bus, folder: Path) -> None:
    """As a table of the script it would lose digits and empty lists."""
    odd = {"text": "n", "ids": [], "big": 12345678901234567890, "é\u2028": {"a": {}}}
    talk = await converse(bus)
    scripted = Scripted(lambda messages: ["Done."] if results(messages) else [call("note", **odd)])
    async with toolset(guarded(folder)) as tools, agent(bus, scripted, tools):
        await talk.say("note it")
        events = await talk.until("tool_approval_request")
        (request,) = (await bus.sessions.get(talk.session_id)).approvals
        assert request.parameters == events[-1]["data"]["parameters"] == odd
        await approve(talk, approved=False)
        await talk.until("response")


async def test_arguments_that_are_no_object_are_nobodys_question(bus: Bus, folder: Path) -> None:
    talk = await converse(bus)
    bad = replace(call("note"), json_args="[1]")
    scripted = Scripted(lambda messages: [results(messages)[0].outcome] if results(messages) else [bad])
    async with toolset(guarded(folder)) as tools, agent(bus, scripted, tools):
        await talk.say("note it")
        assert await comes(talk, "response", within_s=10)
    events = await talk.events()
    assert "tool_approval_request" not in {event["type"] for event in events}
    assert answer(events) == "failed"


async def test_a_call_that_nobody_was_asked_about_is_not_made_whatever_the_turn_thought(folder: Path) -> None:
    async with toolset(guarded(folder)) as tools:
        arguments = {"text": "n"}
        refused = await tools.call("note", arguments, sub="ada", session_id="s", call_id="c1")
        assert (refused.outcome, refused.is_error) == ("error", True)
        assert not lines(folder / "notes")
        made = await tools.call("note", arguments, sub="ada", session_id="s", call_id="c1", approved=True)
        assert made.outcome == "ok"
