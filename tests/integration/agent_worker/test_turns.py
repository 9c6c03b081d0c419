"""Turns on a real bus with a model that follows a script, and with the tests' own MCP server."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from integration.agent_tools.harness import eventually, toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import (
    Scripted,
    Step,
    agent,
    call,
    converse,
    greet,
    no_tools,
    results,
    seen,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart

from agent_worker.settings import AgentSettings
from voicebus.bus.bus import Bus
from voicebus.bus.items import EphemeralItem, parse_live


def add(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return ["That makes ", f"{found[0].content}."]
    return ["Let me see. ", call("add", a=20, b=22)]


async def test_a_text_is_answered_with_tokens_and_a_response(bus: Bus) -> None:
    talk = await converse(bus)
    async with no_tools() as tools, agent(bus, Scripted(greet), tools):
        await talk.say("good morning")
        events = await talk.until("response")
    assert seen(events) == [
        ("user", "good morning"),
        ("text", "Hello, you said good morning."),
        ("response", "Hello, you said good morning.", None, 0),
    ]
    assert {event["turn"] for event in events[1:]} == {1}
    assert events[-1]["data"]["usage"]["output_tokens"] > 0


async def test_a_tool_is_called_and_its_result_told(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    scripted = Scripted(add)
    async with toolset(http_tools.config()) as tools, agent(bus, scripted, tools):
        await talk.say("add twenty and twenty two")
        events = await talk.until("response")
    assert seen(events) == [
        ("user", "add twenty and twenty two"),
        ("text", "Let me see. "),
        ("call", "c1", "add", {"a": 20, "b": 22}),
        ("result", "c1", 42, "ok"),
        ("text", "That makes 42."),
        ("response", "That makes 42.", "add", 0),
    ]
    assert len(scripted.requests) == 2
    (entry,) = await talk.history()
    assert (entry.user, entry.assistant, entry.interrupted) == (
        "add twenty and twenty two",
        "That makes 42.",
        False,
    )


async def test_tool_calls_of_one_response_run_side_by_side(bus: Bus, http_tools: HttpTools) -> None:
    """Neither could end if it had to wait for the other: each is held until both have begun."""

    def both(messages: list[ModelMessage]) -> list[Step]:
        if found := results(messages):
            return [" and ".join(str(part.content) for part in found)]
        return [call("echo_later", "c1", text="one", gate="gate"), call("echo_later", "c2", text="two", gate="gate")]

    talk = await converse(bus)
    async with toolset(http_tools.config()) as tools, agent(bus, Scripted(both), tools):
        await talk.say("both")
        await eventually(lambda: sorted(http_tools.lines("started")) == ["one", "two"])
        http_tools.touch("gate")
        events = await talk.until("response")
    assert seen(events)[-1][:2] == ("response", "one and two")


async def test_queued_texts_are_answered_in_order_with_all_that_was_said_before(bus: Bus) -> None:
    talk = await converse(bus)
    scripted = Scripted(greet)
    for text in ("one", "two", "three"):
        await talk.say(text)
    async with no_tools() as tools, agent(bus, scripted, tools):
        events = await talk.until("response", 3)
    answers = [item for item in seen(events) if item[0] == "response"]
    assert [text for _, text, *_ in answers] == [f"Hello, you said {word}." for word in ("one", "two", "three")]
    last = scripted.requests[-1]
    assert [type(message) for message in last] == [ModelRequest, ModelResponse] * 2 + [ModelRequest]
    assert last[1].parts == [TextPart("Hello, you said one.")]
    assert [entry.turn for entry in await talk.history()] == [1, 2, 3]


async def test_the_first_token_goes_at_once_and_later_ones_together(bus: Bus) -> None:
    def slow(_: list[ModelMessage]) -> list[Step]:
        return ["one ", 0.2, *("two ", "three ") * 50, 0.2, "four"]

    talk = await converse(bus)
    async with no_tools() as tools, agent(bus, Scripted(slow), tools):
        await talk.say("count")
        events = await talk.until("response")
    tokens = [event["data"]["token"] for event in events if event["type"] == "token"]
    assert "".join(tokens) == f"one {'two three ' * 50}four"
    assert (tokens[0], tokens[-1]) == ("one ", "four")
    assert len(tokens) <= 6


async def test_sentences_go_to_tts_while_the_answer_is_still_being_written(bus: Bus) -> None:
    go_on = asyncio.Event()

    def speech(messages: list[ModelMessage]) -> list[Step]:
        if results(messages):
            return ["It is done. ", "Anything else?"]
        return ["One moment. I am", " looking.", call("none")]

    talk = await converse(bus, "voice")
    async with no_tools() as tools, agent(bus, Scripted(speech), tools):
        await talk.say("do it")
        events = await talk.until("response")
        go_on.set()
    spoken = await talk.sentences()
    assert [(sentence["segment"], sentence["text"]) for sentence in spoken] == [
        (0, "One moment."),
        (1, "I am looking."),
        (2, "It is done."),
        (3, "Anything else?"),
    ]
    assert len({sentence["response_id"] for sentence in spoken}) == 2
    assert events[-1]["data"]["segments"] == 4


async def test_thinking_and_latencies_are_published_and_not_kept(bus: Bus) -> None:
    published: list[str] = []

    class Live:
        def messages(self, payloads: Sequence[bytes]) -> None:
            items = map(parse_live, payloads)
            published.extend(item.body.decode() for item in items if isinstance(item, EphemeralItem))

        def lost(self) -> None:
            pass

    talk = await converse(bus)
    async with (
        bus.subscriptions.listening(bus.keys.of(talk.session_id).live, Live()),
        no_tools() as tools,
        agent(bus, Scripted(lambda _: [0.05, "hi"]), tools),
    ):
        await talk.say("hello")
        events = await talk.until("response")
        await eventually(lambda: len(published) == 3)
    assert '"type":"thinking"' in published[0]
    assert '"first_token_ms"' in published[1]
    assert '"turn_ms"' in published[2]
    assert {event["type"] for event in events} == {"session_start", "user", "token", "response"}


async def test_the_model_knows_its_instructions_the_context_and_the_tools(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus, context={"name": "Ada"})
    scripted = Scripted(greet)
    async with (
        toolset(http_tools.config()) as tools,
        agent(bus, scripted, tools, agent_instructions="Be kind."),
    ):
        await talk.say("hello")
        await talk.until("response")
    (info,) = scripted.infos
    assert info.instructions == 'Be kind.\n\nWhat is known about this conversation: {"name": "Ada"}'
    assert "weather" in [tool.name for tool in info.function_tools]
    assert "Be kind" not in str(await bus.sessions.history(talk.session_id))


async def test_a_call_that_cannot_be_made_is_told_to_the_model(bus: Bus, http_tools: HttpTools) -> None:
    def wrong(messages: list[ModelMessage]) -> list[Step]:
        if found := results(messages):
            return [" / ".join(str(part.content) for part in found)]
        broken = call("add", "c2")
        return [
            call("subtract", "c1"),
            type(broken)("add", '{"a": 1', tool_call_id="c2"),
            call("add", "c3", a="x", b=1),
        ]

    talk = await converse(bus)
    async with toolset(http_tools.config()) as tools, agent(bus, Scripted(wrong), tools):
        await talk.say("try")
        events = await talk.until("response")
    said = events[-1]["data"]["content"]
    assert "no tool named 'subtract'" in said
    assert "not a JSON object" in said
    assert "valid integer" in said
    assert [e["data"]["outcome"] for e in events if e["type"] == "tool_result"] == ["error"] * 3


async def test_old_turns_leave_the_history(bus: Bus) -> None:
    talk = await converse(bus)
    async with no_tools() as tools, agent(bus, Scripted(greet), tools, history_turns=2):
        for count, text in enumerate(("one", "two", "three"), 1):
            await talk.say(text)
            await talk.until("response", count)
    assert [entry.user for entry in await talk.history()] == ["two", "three"]


def test_instructions_come_from_a_file_if_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Be brief.\n")
    assert AgentSettings(agent_instructions_file=tmp_path / "prompt.txt").instructions() == "Be brief."
