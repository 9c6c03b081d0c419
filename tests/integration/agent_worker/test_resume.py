"""A worker dies at any of its writes, before or after Redis applied it; the next one goes on as if nothing happened."""

import asyncio
from typing import Any

import pytest
from integration.agent_tools.harness import toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    answer_and_die,
    answer_once,
    call,
    converse,
    no_tools,
    prompt,
    results,
    scripted_agent,
    seen,
    take,
)
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolReturnPart

from agent_worker.respond import Responder
from agent_worker.tools.toolset import Toolset
from voicebus.bus.bus import Bus

MOST_WRITES = 16


@pytest.fixture
def bus(quick: Bus) -> Bus:
    return quick


def adding(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return ["That ", 0.03, "makes ", 0.03, f"{found[0].content}. ", 0.03, "Anything else?"]
    return ["Let me ", 0.03, "see.", call("add", a=20, b=22)]


def noting(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return [f"{found[0].outcome}: ", 0.03, str(found[0].content)]
    return ["Noting.", call("note", text=prompt(messages))]


async def undisturbed(bus: Bus, scripted: Scripted, tools: Toolset, mode: Any, text: str) -> list[tuple[Any, ...]]:
    talk = await converse(bus, mode)
    await talk.say(text)
    await answer_once(bus, Responder(bus, scripted_agent(scripted, tools)), talk, "calm")
    return seen(await talk.events())


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_after_a_death_at_any_write_clients_see_what_they_see_without_it(
    bus: Bus, http_tools: HttpTools, before: bool
) -> None:
    scripted = Scripted(adding)
    async with toolset(http_tools.config()) as tools:
        expected = await undisturbed(bus, scripted, tools, "voice", "add")
        assert expected[-1] == ("response", "That makes 42. Anything else?", "add", 3)
        responder, restarts, deaths = Responder(bus, scripted_agent(scripted, tools)), [], 0
        for at in range(1, MOST_WRITES):
            talk = await converse(bus, "voice")
            await talk.say("add")
            if not await answer_and_die(bus, responder, talk, "doomed", at, before=before):
                break
            deaths += 1
            open_response = bool(await _cut(talk))
            if (await talk.events())[-1]["type"] != "response":
                await answer_once(bus, responder, talk, "heir")
            events = await talk.events()
            assert seen(events) == expected, f"died at write {at}"
            restarts.append(sum(event["type"] == "response_restarted" for event in events))
            assert restarts[-1] == open_response, f"died at write {at}"
            assert [s["text"] for s in await talk.sentences()] == ["Let me see.", "That makes 42.", "Anything else?"]
            (entry,) = await talk.history()
            assert (entry.user, entry.assistant) == ("add", "That makes 42. Anything else?")
    assert deaths >= 8
    assert set(restarts) == {0, 1}


async def test_sentences_that_were_heard_before_a_death_are_not_spoken_again(bus: Bus) -> None:
    scripted = Scripted(lambda _: ["One. ", 0.05, "Two. ", 0.05, "Three. ", 0.05, "Four."])
    async with no_tools() as tools:
        talk, responder = await converse(bus, "voice"), Responder(bus, scripted_agent(scripted, tools))
        await talk.say("count")
        assert await answer_and_die(bus, responder, talk, "doomed", b"Three.", before=False)
        await talk.speak(seconds=0.1)
        await talk.hear(seconds=0.1)
        await answer_once(bus, responder, talk, "heir")
        assert [s["text"] for s in await talk.sentences()] == ["Two.", "Three.", "Four."]
        assert [s["segment"] for s in await talk.sentences()] == [1, 2, 3]
        assert (await talk.events())[-1]["data"]["segments"] == 4


async def test_the_third_worker_does_not_speak_again_what_was_heard_of_the_first_one(bus: Bus) -> None:
    scripted = Scripted(lambda _: ["One. ", 0.05, "Two. ", 0.05, "Three. ", 0.05, "Four."])
    async with no_tools() as tools:
        talk, responder = await converse(bus, "voice"), Responder(bus, scripted_agent(scripted, tools))
        await talk.say("count")
        assert await answer_and_die(bus, responder, talk, "doomed", b"Three.", before=False)
        await talk.speak(seconds=0.1)
        await talk.hear(seconds=0.1)
        assert await answer_and_die(bus, responder, talk, "heir", b"response_restarted", before=False)
        await answer_once(bus, responder, talk, "heir's heir")
    assert [s["text"] for s in await talk.sentences()] == ["Two.", "Three.", "Four."]


async def test_a_death_between_two_attempts_at_the_model_does_not_repeat_what_was_heard(bus: Bus) -> None:
    heard = asyncio.Event()

    def breaking(_: list[ModelMessage]) -> list[Step]:
        end: list[Step] = [] if heard.is_set() else [heard, ModelAPIError("m", "reset")]
        return ["One. ", 0.05, "Two.", *end]

    async with no_tools() as tools:
        talk, responder = await converse(bus, "voice"), Responder(bus, scripted_agent(Scripted(breaking), tools))
        await talk.say("count")
        dying = asyncio.create_task(answer_and_die(bus, responder, talk, "doomed", b"response_restarted", before=False))
        await talk.until("token", 2)
        await talk.speak(seconds=0.1)
        await talk.hear(seconds=0.1)
        heard.set()
        assert await dying
        await answer_once(bus, responder, talk, "heir")
    assert [s["text"] for s in await talk.sentences()] == ["Two."]


async def _cut(talk: Conversation) -> str:
    """The id of a response with tokens that never came to its end."""
    events = await talk.events()
    last = [event for event in events if event["type"] in {"token", "tool_call", "response"}]
    journal = await talk.bus.calls.command("LRANGE", talk.bus.keys.of(talk.session_id).journal, 0, -1)
    if not last or last[-1]["type"] != "token":
        return ""
    response_id: str = last[-1]["data"]["response_id"]
    return "" if any(response_id.encode() in entry for entry in journal) else response_id


@pytest.mark.parametrize(
    ("before", "in_doubt"), [(True, b'"kind":"finished"'), (False, b'"kind":"started"')], ids=["before", "after"]
)
async def test_a_tool_that_may_not_be_repeated_never_has_its_effect_twice(
    bus: Bus, http_tools: HttpTools, before: bool, in_doubt: bytes
) -> None:
    """How many writes come before the call depends on how fast its tokens come."""
    scripted = Scripted(noting)
    outcomes = []
    async with toolset(http_tools.config()) as tools:
        responder = Responder(bus, scripted_agent(scripted, tools))
        for number, at in enumerate((in_doubt, *range(1, MOST_WRITES))):
            talk = await converse(bus)
            await talk.say(f"n{number}")
            if not await answer_and_die(bus, responder, talk, "doomed", at, before=before):
                break
            if (await talk.events())[-1]["type"] != "response":
                await answer_once(bus, responder, talk, "heir")
            events = await talk.events()
            (outcome,) = [event["data"]["outcome"] for event in events if event["type"] == "tool_result"]
            made = http_tools.lines("notes").count(f"n{number}")
            assert made == 1 if outcome == "ok" else made <= 1, f"died at write {at}"
            said = events[-1]["data"]["content"]
            assert said.startswith("success: n" if outcome == "ok" else "interrupted: The call was begun")
            assert len([event for event in events if event["type"] == "tool_call"]) == 1
            outcomes.append(outcome)
    assert outcomes[0] == "unknown"
    assert outcomes.count("ok") == len(outcomes) - outcomes.count("unknown") >= 4


async def test_a_finished_response_is_never_asked_for_again(bus: Bus, http_tools: HttpTools) -> None:
    scripted = Scripted(adding)
    async with toolset(http_tools.config()) as tools:
        responder = Responder(bus, scripted_agent(scripted, tools))
        talk = await converse(bus)
        await talk.say("add")
        assert await answer_and_die(bus, responder, talk, "doomed", b'"tool_call"', before=True)
        assert await answer_and_die(bus, responder, talk, "heir", b'"tool_result"', before=False)
        await answer_once(bus, responder, talk, "heir's heir")
    assert [len(results(messages)) for messages in scripted.requests] == [0, 1]


async def test_an_interruption_between_two_workers_leaves_what_was_written(bus: Bus) -> None:
    talk = await converse(bus)
    responder_of = Scripted(lambda _: ["One, ", 0.03, "two, ", 0.03, "three."])
    async with no_tools() as tools:
        responder = Responder(bus, scripted_agent(responder_of, tools))
        await talk.say("count")
        assert await answer_and_die(bus, responder, talk, "doomed", b'"three."', before=True)
        await talk.interrupt()
        lease, delivery = await take(bus, talk, "heir")
        assert delivery.cancelled
        await lease.hand_over()
        await answer_once(bus, responder, talk, "heir-2")
    (entry,) = await talk.history()
    assert (entry.assistant, entry.interrupted) == ("One, two, ", True)
    assert len(responder_of.requests) == 1


async def test_the_outcome_of_a_call_that_was_cut_is_in_the_history_as_unknown(bus: Bus, http_tools: HttpTools) -> None:
    scripted = Scripted(noting)
    async with toolset(http_tools.config()) as tools:
        responder = Responder(bus, scripted_agent(scripted, tools))
        talk = await converse(bus)
        await talk.say("n")
        assert await answer_and_die(bus, responder, talk, "doomed", b'"tool_call"', before=False)
        await answer_once(bus, responder, talk, "heir")
    last = scripted.requests[-1]
    returned = [part for message in last for part in message.parts if isinstance(part, ToolReturnPart)]
    assert [part.outcome for part in returned] == ["interrupted"]
    assert isinstance(last[1], ModelResponse)
    assert last[1].parts[0] == TextPart("Noting.")
