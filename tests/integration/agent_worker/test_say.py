"""What the assistant is told to say, it says as it is: without the model, once, and as something that it said."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from integration.agent_models.completions_server import completions_server
from integration.agent_tools.harness import toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    agent,
    agent_of,
    answer_and_die,
    answer_once,
    converse,
    greet,
    no_tools,
    prompt,
    scripted_agent,
    seen,
    take,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, TextPart, UserPromptPart
from support.processes import worker_process

from agent_worker.history import UNASKED
from agent_worker.models.choose import choose_model
from agent_worker.respond import Responder
from agent_worker.say import PIECE
from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus.chassis.held import Held
from voicebus.contract.payloads import Mode, OnBusy
from voicebus.contract.sessions import conversation_of

TEXT = "Dinner is ready. Come to the table, Mr. Smith!"
SENTENCES = ["Dinner is ready.", "Come to the table, Mr. Smith!"]


async def announce(talk: Conversation, text: str = TEXT, *, on_busy: OnBusy = "queue") -> int:
    accepted = await talk.bus.inbox.say(talk.session_id, text, agent_type="personal", on_busy=on_busy)
    assert accepted.turn is not None
    return accepted.turn


def told(messages: Sequence[ModelMessage]) -> list[tuple[str, str]]:
    """The messages' texts, each with who said it."""
    return [
        ("user" if isinstance(part, UserPromptPart) else "assistant", str(part.content))
        for message in messages
        for part in message.parts
        if isinstance(part, UserPromptPart | TextPart)
    ]


def spoken_of(sentences: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(sentence["segment"], sentence["text"]) for sentence in sentences]


@pytest.mark.parametrize(("mode", "sentences"), [("voice", SENTENCES), ("text", [])])
async def test_it_is_said_as_it_is_and_spoken_in_voice_mode_only(bus: Bus, mode: Mode, sentences: list[str]) -> None:
    talk, scripted = await converse(bus, mode), Scripted(greet)
    async with no_tools() as tools, agent(bus, scripted, tools):
        turn = await announce(talk)
        events = await talk.until("response")
    assert [event["type"] for event in events] == ["session_start", "activity", "token", "response"]
    assert {event["turn"] for event in events[1:]} == {turn}
    assert seen(events) == [("text", TEXT), ("response", TEXT, "say", len(sentences))]
    token, response = events[2]["data"], events[3]["data"]
    assert spoken_of(await talk.sentences()) == list(enumerate(sentences))
    said = {sentence["response_id"] for sentence in await talk.sentences()}
    assert {token["response_id"], response["response_id"]} | said == {token["response_id"]}
    assert scripted.requests == []
    (entry,) = conversation_of(await bus.sessions.history(talk.session_id))
    assert (entry.turn, entry.user, entry.assistant, entry.interrupted) == (turn, "", TEXT, False)
    session = await bus.sessions.get(talk.session_id)
    assert (session.turn, session.active_turn) == (turn, None)


async def test_the_model_sees_that_the_assistant_said_it(bus: Bus) -> None:
    talk, scripted = await converse(bus), Scripted(greet)
    async with no_tools() as tools, agent(bus, scripted, tools):
        await announce(talk)
        await talk.say("what did you say?")
        await announce(talk, "It gets cold.")
        await talk.say("thanks")
        await talk.until("response", 4)
    assert told(scripted.requests[-1]) == [
        ("user", UNASKED),
        ("assistant", TEXT),
        ("user", "what did you say?"),
        ("assistant", "Hello, you said what did you say?."),
        ("user", UNASKED),
        ("assistant", "It gets cold."),
        ("user", "thanks"),
    ]
    for request in scripted.requests:
        kinds = [type(message) for message in request]
        assert kinds[0] is ModelRequest
        assert all(first is not second for first, second in pairwise(kinds))


async def test_a_server_that_insists_on_taking_turns_is_asked_by_turns(bus: Bus, http_tools: HttpTools) -> None:
    """Chat templates of many models refuse two messages of one role in a row, or an assistant that begins."""
    talk = await converse(bus)
    async with (
        completions_server() as server,
        toolset(http_tools.config()) as tools,
        agent_of(bus, choose_model("openai:local", base_url=server.base_url), tools),
    ):
        await announce(talk)
        await talk.say("what is forty and two?")
        await announce(talk)
        await talk.say("and again?")
        await talk.until("response", 4)
    messages = server.requests[-1]["messages"]
    assert [message["content"] for message in messages].count(TEXT) == 2
    roles = [message["role"] for message in messages if message["role"] not in ("system", "tool")]
    assert roles == ["user", "assistant", "user", "assistant", "assistant", "user", "assistant", "user", "assistant"]
    assert [message["role"] for message in messages[-2:]] == ["assistant", "tool"]


async def test_the_built_in_model_goes_on_behind_it(bus: Bus) -> None:
    talk = await converse(bus)
    async with no_tools() as tools, agent_of(bus, choose_model("rules"), tools):
        await announce(talk)
        await talk.say("please say that again")
        events = await talk.until("response", 2)
    assert TEXT in events[-1]["data"]["content"]


async def test_it_waits_for_its_turn_and_those_behind_it_wait_for_it(bus: Bus) -> None:
    talk, go = await converse(bus), asyncio.Event()
    scripted = Scripted(lambda messages: [go, f"re {prompt(messages)}"])
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("one")
        await announce(talk, "two")
        await talk.say("three")
        go.set()
        events = await talk.until("response", 3)
    assert [event["data"]["content"] for event in events if event["type"] == "response"] == [
        "re one",
        "two",
        "re three",
    ]


async def test_it_can_take_the_place_of_an_answer(bus: Bus) -> None:
    talk, scripted = await converse(bus, "voice"), Scripted(lambda _: ["Once upon a time. There", 30.0])
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("tell me a story")
        await talk.until("token")
        turn = await announce(talk, "Fire!", on_busy="interrupt")
        events = await talk.until("response")
    assert [event["data"]["turn"] for event in events if event["type"] == "interrupted"] == [1]
    assert (events[-1]["turn"], events[-1]["data"]["content"]) == (turn, "Fire!")
    assert [sentence["text"] for sentence in await talk.sentences()] == ["Fire!"]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_a_worker_that_dies_in_the_midst_leaves_all_or_nothing(quick: Bus, before: bool) -> None:
    async with no_tools() as tools:
        talk, responder = await converse(quick, "voice"), Responder(quick, scripted_agent(Scripted(greet), tools))
        await announce(talk)
        assert await answer_and_die(quick, responder, talk, "doomed", 1, before=before)
        assert spoken_of(await talk.sentences()) == ([] if before else list(enumerate(SENTENCES)))
        if before:
            assert (await answer_once(quick, responder, talk, "heir")).attempt == 2
        else:
            assert (await quick.sessions.get(talk.session_id)).active_turn is None
        events = await talk.events()
    assert [event["type"] for event in events] == ["session_start", "activity", "token", "response"]
    assert spoken_of(await talk.sentences()) == list(enumerate(SENTENCES))
    assert [entry.assistant for entry in await talk.history()] == [TEXT]


async def test_it_is_said_once_whenever_the_worker_is_killed(bus: Bus, bus_settings: BusSettings) -> None:
    talks = [await converse(bus, "voice") for _ in range(12)]
    environment = {"HEALTH_PORT": "0", "LEASE_S": "0.6", "MCP_CONFIG": ""}
    for number, talk in enumerate(talks):
        await announce(talk, f"This is number {number}. It comes once.")
    for killed_behind in (1, 6):
        async with worker_process("agent_worker", bus_settings, **environment) as worker:
            await talks[killed_behind - 1].until("response")
            worker.kill()
            await worker.wait()
        await announce(talks[0], "One more.")
    async with worker_process("agent_worker", bus_settings, **environment):
        logs = [await talk.until("response", 3 if talk is talks[0] else 1) for talk in talks]
    for number, (talk, events) in enumerate(zip(talks, logs, strict=True)):
        wanted = [f"This is number {number}. It comes once.", *(["One more."] * 2 if number == 0 else [])]
        assert [item[1] for item in seen(events) if item[0] == "response"] == wanted
        assert [item[1] for item in seen(events) if item[0] == "text"] == wanted
        texts = [sentence["text"] for sentence in await talk.sentences()]
        assert texts == [part for text in wanted for part in text.replace(". ", ".|").split("|")]


async def test_what_is_cut_before_it_is_said_is_not_said_and_not_remembered(bus: Bus) -> None:
    talk, scripted = await converse(bus, "voice"), Scripted(greet)
    turn = await announce(talk)
    await talk.interrupt()
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("hello")
        events = await talk.until("response")
    assert {event["type"] for event in events if event.get("turn") == turn} == {"activity", "interrupted"}
    assert told(scripted.requests[0]) == [("user", "hello")]
    assert [entry.turn for entry in await talk.history()] == [turn + 1]


async def test_what_is_cut_while_it_is_being_said_is_wound_up(bus: Bus) -> None:
    """The interruption comes between the mail's delivery and the one write."""
    talk = await converse(bus, "voice")
    turn = await announce(talk)
    lease, delivery = await take(bus, talk, "agent-1")
    await talk.interrupt()
    async with no_tools() as tools:
        responder = Responder(bus, scripted_agent(Scripted(greet), tools))
        await responder.handle(Held(lease, asyncio.Event()), delivery)
    assert not delivery.cancelled
    assert await lease.next() is None
    assert [event["type"] for event in await talk.events() if event.get("turn") == turn] == ["activity", "interrupted"]
    assert (await talk.sentences(), await talk.history()) == ([], [])
    assert (await bus.sessions.get(talk.session_id)).active_turn is None


async def test_the_model_is_told_what_was_heard_of_it(bus: Bus) -> None:
    talk, scripted = await converse(bus, "voice"), Scripted(greet)
    async with no_tools() as tools, agent(bus, scripted, tools):
        await announce(talk, "Dinner is on the table.")
        await talk.until("response")
        await talk.speak(seconds=0.2)
        await talk.hear(seconds=0.1)
        await talk.interrupt()
        await talk.say("what?")
        await talk.until("response", 2)
    assert told(scripted.requests[-1]) == [("user", UNASKED), ("assistant", "Dinner is"), ("user", "what?")]
    entry, _ = conversation_of(await bus.sessions.history(talk.session_id))
    assert (entry.user, entry.assistant, entry.interrupted) == ("", "Dinner is", True)


async def test_the_model_is_told_nothing_of_what_nobody_heard(bus: Bus) -> None:
    talk, scripted = await converse(bus, "voice"), Scripted(greet)
    async with no_tools() as tools, agent(bus, scripted, tools):
        await announce(talk)
        await talk.until("response")
        assert await talk.barge_in() == ""
        await talk.say("what?")
        await talk.until("response", 2)
    assert told(scripted.requests[-1]) == [("user", "what?")]


async def test_a_long_text_is_split_as_a_short_one(bus: Bus) -> None:
    sentences = [f"This is sentence number {number}, and it is short." for number in range(200)]
    text = " ".join(sentences)
    assert len(text) > 4 * PIECE
    talk = await converse(bus, "voice")
    async with no_tools() as tools, agent(bus, Scripted(greet), tools):
        await announce(talk, text)
        events = await talk.until("response")
    assert seen(events) == [("text", text), ("response", text, "say", 200)]
    assert spoken_of(await talk.sentences()) == list(enumerate(sentences))
