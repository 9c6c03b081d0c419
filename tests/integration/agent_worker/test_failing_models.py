"""Models that fail, break off, say nothing or never come to an end: what a turn makes of them."""

import pytest
from integration.agent_tools.harness import toolset
from integration.agent_worker.http_tools import HttpTools
from integration.agent_worker.stage import Scripted, Step, agent, call, converse, greet, no_tools, prompt, seen
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.messages import ModelMessage

from voicebus.bus.bus import Bus


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


async def test_a_model_that_calls_tools_for_ever_is_stopped(bus: Bus, http_tools: HttpTools) -> None:
    talk = await converse(bus)
    scripted = Scripted(lambda messages: [call("add", f"c{len(messages)}", a=1, b=1)])
    async with toolset(http_tools.config()) as tools, agent(bus, scripted, tools, agent_max_steps=3):
        await talk.say("loop")
        events = await talk.until("error")
    assert events[-1]["data"]["code"] == "too_many_steps"
    assert len([event for event in events if event["type"] == "tool_result"]) == 3
    assert len(scripted.requests) == 3
