"""Interruptions on the agent's side: what ends, what the model learns of it, and what the history keeps."""

import asyncio

from integration.agent_tools.harness import eventually, toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    agent,
    call,
    converse,
    no_tools,
    prompt,
    seen,
)
from pydantic_ai.messages import ModelMessage, TextPart, ToolReturnPart, UserPromptPart

from voicebus.bus.bus import Bus
from voicebus.contract.sessions import conversation_of


async def test_an_interruption_ends_the_answer_at_once_and_history_has_what_was_written(bus: Bus) -> None:
    talk = await converse(bus)
    scripted = Scripted(lambda messages: ["One, two", 30.0, ", three"] if prompt(messages) == "count" else ["Fine."])
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("count")
        await talk.until("token")
        await talk.interrupt()
        await talk.say("stop")
        events = await talk.until("response")
    kinds = [event["type"] for event in events]
    assert kinds == ["session_start", "user", "token", "interrupted", "user", "token", "response"]
    first, second = await talk.history()
    assert (first.assistant, first.interrupted) == ("One, two", True)
    assert second.assistant == "Fine."
    told = scripted.requests[1]
    assert [part.content for message in told for part in message.parts if isinstance(part, TextPart)] == ["One, two"]


async def test_what_nobody_heard_of_a_spoken_answer_is_not_in_the_history(bus: Bus) -> None:
    talk = await converse(bus, "voice")
    async with no_tools() as tools, agent(bus, Scripted(lambda _: ["Not heard. But", 30.0, "…"]), tools):
        await talk.say("speak")
        await talk.until("token")
        await talk.interrupt()
        await eventually_idle(talk)
    (entry,) = await talk.history()
    assert (entry.assistant, entry.interrupted) == ("", True)
    assert await talk.sentences() == []


async def test_the_model_is_told_what_was_heard_of_an_answer_whose_playback_was_interrupted(bus: Bus) -> None:
    talk = await converse(bus, "voice")
    scripted = Scripted(
        lambda messages: ["Once upon a time there was a king."] if prompt(messages) == "go" else ["Ok."]
    )
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("go")
        await talk.until("response")
        await talk.speak(seconds=0.2)
        await talk.hear(seconds=0.1)
        await talk.interrupt()
        await talk.say("stop")
        await talk.until("response", 2)
    told = [part.content for m in scripted.requests[-1] for part in m.parts if isinstance(part, TextPart)]
    assert told == ["Once upon a time"]


async def test_a_question_that_goes_on_is_told_to_the_model_once(bus: Bus) -> None:
    talk = await converse(bus, "voice")
    scripted = Scripted(lambda messages: ["Hm, ", 30.0] if prompt(messages) == "what time is it" else ["Late."])
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("what time is it")
        await talk.until("token")
        assert await talk.barge_in() == "what time is it"
        await talk.say("what time is it in paris")
        await talk.until("response")
    users = [part for m in scripted.requests[-1] for part in m.parts if isinstance(part, UserPromptPart)]
    assert [part.content for part in users] == ["what time is it in paris"]
    assert [entry.user for entry in await talk.history()] == ["what time is it in paris"]


async def test_a_question_that_goes_on_while_a_tool_runs_is_in_the_conversation_once(
    bus: Bus, http_tools: HttpTools
) -> None:
    def looking(messages: list[ModelMessage]) -> list[Step]:
        return [call("note", text="n")] if prompt(messages) == "what time is it" else ["Late."]

    http_tools.shut("go")
    talk = await converse(bus)
    scripted = Scripted(looking)
    async with toolset(http_tools.config()) as tools, agent(bus, scripted, tools):
        await talk.say("what time is it")
        await eventually(lambda: http_tools.lines("notes") == ["n"])
        assert await talk.barge_in() == "what time is it"
        await talk.say("what time is it in paris")
        await talk.until("response")
    conversation = conversation_of(await bus.sessions.history(talk.session_id))
    assert [(entry.user, entry.assistant) for entry in conversation] == [("what time is it in paris", "Late.")]
    returned = [part for m in scripted.requests[-1] for part in m.parts if isinstance(part, ToolReturnPart)]
    assert [part.content for part in returned] == ["called off; it may have had part of its effect"]


async def eventually_idle(talk: Conversation) -> None:
    async with asyncio.timeout(10):
        while not await talk.history():  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.005)


async def test_an_interruption_cancels_running_tools_and_the_model_learns_of_it(
    bus: Bus, http_tools: HttpTools
) -> None:
    def noting(messages: list[ModelMessage]) -> list[Step]:
        return ["Noting.", call("note", text="n")] if prompt(messages) == "note it" else ["Yes."]

    http_tools.shut("go")
    talk = await converse(bus)
    scripted = Scripted(noting)
    async with toolset(http_tools.config()) as tools, agent(bus, scripted, tools):
        await talk.say("note it")
        await eventually(lambda: http_tools.lines("notes") == ["n"])
        await talk.interrupt()
        await eventually(lambda: http_tools.lines("cancelled") == ["n"])
        await talk.say("was it noted?")
        events = await talk.until("response")
    assert "tool_result" not in {event["type"] for event in events}  # events of a cancelled turn are refused
    (returned,) = [
        part for message in scripted.requests[-1] for part in message.parts if isinstance(part, ToolReturnPart)
    ]
    assert (returned.outcome, returned.content) == ("interrupted", "called off; it may have had part of its effect")
    users = [part for m in scripted.requests[-1] for part in m.parts if isinstance(part, UserPromptPart)]
    assert [part.content for part in users] == ["note it", "was it noted?"]


async def test_a_turn_that_was_interrupted_while_it_waited_is_not_answered(bus: Bus) -> None:
    talk = await converse(bus)
    scripted = Scripted(lambda messages: [0.3, f"re {prompt(messages)}"])
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("first")
        skipped = await talk.say("second")
        await bus.inbox.interrupt(talk.session_id, agent_type="personal", turn=skipped)
        await talk.say("third")
        events = await talk.until("response", 2)
    assert [item[1] for item in seen(events) if item[0] == "response"] == ["re first", "re third"]
    assert len(scripted.requests) == 2
