"""Turns on a real bus with a model that follows a script, and with the tests' own MCP server."""

import asyncio
from pathlib import Path

import pytest
from integration.agent_tools.harness import eventually, lines, stdio, toolset
from integration.agent_worker.stage import (
    Conversation,
    Scripted,
    Step,
    agent,
    call,
    converse,
    no_tools,
    prompt,
    results,
    seen,
)
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolReturnPart, UserPromptPart

from agent_worker.settings import AgentSettings
from voicebus.bus.bus import Bus
from voicebus.bus.items import EphemeralItem, parse_live


def greet(messages: list[ModelMessage]) -> list[Step]:
    return ["Hello, ", "you said ", f"{prompt(messages)}."]


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


async def test_a_tool_is_called_and_its_result_told(bus: Bus, tmp_path: Path) -> None:
    talk = await converse(bus)
    scripted = Scripted(add)
    async with toolset(stdio(tmp_path)) as tools, agent(bus, scripted, tools):
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


async def test_tool_calls_of_one_response_run_side_by_side(bus: Bus, tmp_path: Path) -> None:
    """Neither could end if it had to wait for the other: each is held until both have begun."""

    def both(messages: list[ModelMessage]) -> list[Step]:
        if found := results(messages):
            return [" and ".join(str(part.content) for part in found)]
        return [call("echo_later", "c1", text="one", gate="gate"), call("echo_later", "c2", text="two", gate="gate")]

    talk = await converse(bus)
    async with toolset(stdio(tmp_path)) as tools, agent(bus, Scripted(both), tools):
        await talk.say("both")
        await eventually(lambda: sorted(lines(tmp_path / "started")) == ["one", "two"])
        (tmp_path / "gate").touch()
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
        def message(self, payload: bytes) -> None:
            item = parse_live(payload)
            if isinstance(item, EphemeralItem):
                published.append(item.body.decode())

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


async def test_the_model_knows_its_instructions_the_context_and_the_tools(bus: Bus, tmp_path: Path) -> None:
    talk = await converse(bus, context={"name": "Ada"})
    scripted = Scripted(greet)
    async with (
        toolset(stdio(tmp_path)) as tools,
        agent(bus, scripted, tools, agent_instructions="Be kind."),
    ):
        await talk.say("hello")
        await talk.until("response")
    (info,) = scripted.infos
    assert info.instructions == 'Be kind.\n\nWhat is known about this conversation: {"name": "Ada"}'
    assert "weather" in [tool.name for tool in info.function_tools]
    assert "Be kind" not in str(await bus.sessions.history(talk.session_id))


@pytest.mark.parametrize("failure", [ModelHTTPError(503, "m"), ModelAPIError("m", "down")])
async def test_a_model_that_fails_for_a_while_is_asked_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr("agent_worker.exchange.FIRST_BACK_OFF_S", 0.01)
    attempts = iter(range(3))
    talk = await converse(bus)
    scripted = Scripted(lambda messages: [failure] if next(attempts) < 2 else greet(messages))
    async with no_tools() as tools, agent(bus, scripted, tools):
        await talk.say("hello")
        events = await talk.until("response")
    assert len(scripted.requests) == 3
    assert "error" not in {event["type"] for event in events}


async def test_a_response_that_breaks_off_is_taken_back_and_asked_for_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_worker.exchange.FIRST_BACK_OFF_S", 0.01)
    attempts = iter(range(2))
    talk = await converse(bus, "voice")

    def breaking(messages: list[ModelMessage]) -> list[Step]:
        return ["Half. An", 0.05, " answer", ModelAPIError("m", "reset")] if next(attempts) == 0 else greet(messages)

    async with no_tools() as tools, agent(bus, Scripted(breaking), tools):
        await talk.say("hello")
        events = await talk.until("response")
    (restarted,) = [event["data"] for event in events if event["type"] == "response_restarted"]
    assert restarted == {"response_id": events[2]["data"]["response_id"], "discard_from_seq": events[2]["seq"]}
    assert seen(events)[1:] == [
        ("text", "Hello, you said hello."),
        ("response", "Hello, you said hello.", None, 1),
    ]
    assert [(s["segment"], s["text"]) for s in await talk.sentences()] == [(0, "Hello, you said hello.")]


@pytest.mark.parametrize(
    ("failure", "code", "requests"),
    [
        (ModelHTTPError(429, "m"), "model_unavailable", 2),
        (ModelHTTPError(401, "m", body={"key": "s3cret"}), "agent_failed", 1),
        (ModelHTTPError(400, "m"), "agent_failed", 1),
    ],
)
async def test_a_model_that_does_not_answer_ends_the_turn_with_an_error_and_the_session_goes_on(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, failure: Exception, code: str, requests: int
) -> None:
    monkeypatch.setattr("agent_worker.exchange.FIRST_BACK_OFF_S", 0.01)
    talk = await converse(bus)
    scripted = Scripted(lambda messages: [failure] if prompt(messages) == "fail" else greet(messages))
    async with no_tools() as tools, agent(bus, scripted, tools, agent_model_attempts=2):
        await talk.say("fail")
        await talk.say("go on")
        events = await talk.until("response")
    assert seen(events)[2] == ("error", code)
    assert "s3cret" not in str(events)
    assert len(scripted.requests) == requests + 1
    assert seen(events)[-1][1] == "Hello, you said go on."
    assert [(entry.user, entry.assistant) for entry in await talk.history()] == [
        ("fail", ""),
        ("go on", "Hello, you said go on."),
    ]


async def test_of_an_answer_that_fails_in_its_middle_no_half_sentence_is_spoken(bus: Bus) -> None:
    talk = await converse(bus, "voice")
    breaking = Scripted(lambda _: ["Half. An", 0.05, " answer", ModelAPIError("m", "reset")])
    async with no_tools() as tools, agent(bus, breaking, tools, agent_model_attempts=1):
        await talk.say("hello")
        events = await talk.until("error")
    assert seen(events)[1:] == [("text", "Half. An answer"), ("error", "model_unavailable")]
    assert [sentence["text"] for sentence in await talk.sentences()] == ["Half."]
    assert [entry.assistant for entry in await talk.history()] == ["Half. An answer"]


async def test_a_silent_model_ends_the_turn_at_its_time_out(bus: Bus) -> None:
    talk = await converse(bus)
    scripted = Scripted(lambda _: [30.0, "late"])
    async with (
        no_tools() as tools,
        agent(bus, scripted, tools, agent_model_attempts=1, agent_first_token_timeout_s=0.1),
    ):
        await talk.say("hello")
        events = await talk.until("error")
    assert events[-1]["data"]["code"] == "model_unavailable"
    assert events[-1]["data"]["temporary"] is True


async def test_a_model_that_calls_tools_for_ever_is_stopped(bus: Bus, tmp_path: Path) -> None:
    talk = await converse(bus)
    scripted = Scripted(lambda messages: [call("add", f"c{len(messages)}", a=1, b=1)])
    async with toolset(stdio(tmp_path)) as tools, agent(bus, scripted, tools, agent_max_steps=3):
        await talk.say("loop")
        events = await talk.until("error")
    assert events[-1]["data"]["code"] == "too_many_steps"
    assert len([event for event in events if event["type"] == "tool_result"]) == 3
    assert len(scripted.requests) == 3


async def test_a_call_that_cannot_be_made_is_told_to_the_model(bus: Bus, tmp_path: Path) -> None:
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
    async with toolset(stdio(tmp_path)) as tools, agent(bus, Scripted(wrong), tools):
        await talk.say("try")
        events = await talk.until("response")
    said = events[-1]["data"]["content"]
    assert "no tool named 'subtract'" in said
    assert "not a JSON object" in said
    assert "valid integer" in said
    assert [e["data"]["outcome"] for e in events if e["type"] == "tool_result"] == ["error"] * 3


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
        await talk.speak(seconds=1)
        await bus.inbox.played(talk.session_id, 1, 0, 500)
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


async def eventually_idle(talk: Conversation) -> None:
    async with asyncio.timeout(10):
        while not await talk.history():  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.005)


async def test_an_interruption_cancels_running_tools_and_the_model_learns_of_it(bus: Bus, tmp_path: Path) -> None:
    def noting(messages: list[ModelMessage]) -> list[Step]:
        return ["Noting.", call("note", text="n")] if prompt(messages) == "note it" else ["Yes."]

    talk = await converse(bus)
    scripted = Scripted(noting)
    async with toolset(stdio(tmp_path)) as tools, agent(bus, scripted, tools):
        await talk.say("note it")
        await eventually(lambda: lines(tmp_path / "notes") == ["n"])
        await talk.interrupt()
        await eventually(lambda: lines(tmp_path / "cancelled") == ["n"])
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
