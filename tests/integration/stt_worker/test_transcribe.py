"""Microphone audio through a real bus: transcripts, turns, and what stays waiting."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio
from integration.stt_worker.hearing import SPOKEN, recording, speech
from integration.stt_worker.scripted import Fault, ScriptedEngine
from integration.stt_worker.talk import PCM, SILENCE, talk, working

from stt_worker.engines.instant import InstantEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.events import Event, Metric, Stt, User
from voicebus.contract.mail import UserTurn

(QUESTION,) = SPOKEN["question"]

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the engine loads its models once


@pytest_asyncio.fixture(loop_scope="module")
async def bus(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    async with open_bus(bus_settings) as opened:
        yield opened


def contents(events: list[Event]) -> list[tuple[str, object]]:
    return [(event.type, event.model_dump(include={"data", "seq", "turn"})) for event in events]


async def test_a_question_in_real_time_gives_partials_and_opens_a_turn(bus: Bus, engine: PocketsphinxEngine) -> None:
    async with working(bus, engine), talk(bus) as client:
        await client.start(PCM)
        await client.say(speech()[:48_000], real_time=True)
        await client.until(lambda _: len({partial.data.text for partial in client.partials}) >= 2)
        await client.say(speech()[48_000:] + SILENCE, real_time=True)
        await client.until_said(QUESTION)
        stt, user = await client.log()
        assert isinstance(stt, Stt)
        assert isinstance(user, User)
        assert (stt.data.text, stt.data.is_final) == (QUESTION, True)
        assert stt.data.confidence is not None
        assert 0.3 < stt.data.confidence <= 1
        assert stt.data.start_ms == pytest.approx(600, abs=150)
        assert stt.data.end_ms == pytest.approx(1_870, abs=200)
        assert (user.data.content, user.data.input) == (QUESTION, "voice")
        assert stt.turn == user.turn == 1
        (delivery,) = await client.agent_mail()
        assert delivery.mail == UserTurn(turn=1, id=user.data.id, content=QUESTION, input="voice")
        await client.until(lambda heard: any(isinstance(event, Metric) for event in heard))
        (metric,) = client.metrics
        assert metric.data.name == "stt_final_ms"
        assert 0 < metric.data.value < 20_000


async def test_a_question_as_fast_as_it_goes(bus: Bus, engine: PocketsphinxEngine) -> None:
    async with working(bus, engine), talk(bus) as client:
        await client.speak(recording("question"), chunk=65_536)
        await client.until_said(QUESTION)
        assert len({partial.data.text for partial in client.partials}) >= 2
        await client.until_released()
        assert await client.waiting() == 0


async def test_two_sessions_that_speak_at_once_are_both_understood(bus: Bus, engine: PocketsphinxEngine) -> None:
    async with working(bus, engine), talk(bus) as one, talk(bus) as other:
        await one.start()
        await other.start()
        await asyncio.gather(
            one.say(recording("question") + SILENCE, real_time=True),
            other.say(recording("tokyo-8khz") + SILENCE, chunk=320, real_time=True),
        )
        await one.until_said(QUESTION)
        await other.until_said("what time is it in tokyo")


async def test_an_utterance_opens_a_turn_with_what_is_not_answered_yet(bus: Bus, engine: PocketsphinxEngine) -> None:
    async with working(bus, engine), talk(bus) as client:
        await client.speak(recording("two-requests"), chunk=4_096)
        first, second = SPOKEN["two-requests"]
        await client.until_said(first, f"{first} {second}")
        assert [final.data.text for final in client.finals] == [first, second]
        assert [event.turn for event in await client.log()] == [1, 1, 1, 2, 2]
        await client.speak(recording("good-morning-44khz-stereo"), chunk=4_096)
        await client.until_turns(3)
        assert client.finals[-1].data.text == "good morning"


async def test_silence_keeps_the_mailbox_small(bus: Bus) -> None:
    async with working(bus, InstantEngine("hello")), talk(bus) as client:
        await client.start(PCM)
        for _ in range(60):
            await client.say(SILENCE, chunk=1_280)
            await client.until_waiting(60)  # of 25 that make a second
        await client.say(speech() + SILENCE, chunk=1_280)
        await client.until_said("hello")
        (final,) = client.finals
        assert final.data.start_ms == pytest.approx(60_600, abs=150)


async def test_a_stream_without_frames_is_given_back_and_goes_on_later(bus: Bus) -> None:
    async with working(bus, InstantEngine("hello"), idle_s=0.3), talk(bus) as client:
        await client.start()
        await client.say(recording("question")[:40_001], chunk=999)
        await client.until_said("hello")
        await client.until_released()
        assert await client.waiting() == 0
        await client.say(recording("question")[40_001:], chunk=999)
        await client.until_said("hello", "hello hello")
        assert client.errors == []
        first, second = client.finals
        assert first.data.end_ms is not None
        assert second.data.start_ms is not None
        assert first.data.end_ms <= 1_250 <= second.data.start_ms + 50


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def undisturbed(redis_url: str, engine: PocketsphinxEngine) -> list[tuple[str, object]]:
    """The log of `two-requests`, transcribed by one worker from its start to its end."""
    settings = BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}", partitions=4)
    async with open_bus(settings) as bus, working(bus, engine), talk(bus) as client:
        await client.speak(recording("two-requests"))
        await client.until_turns(2)
        return [(kind, _without_id(content)) for kind, content in contents(await client.log())]


def _without_id(content: object) -> object:
    assert isinstance(content, dict)
    return content | {"data": {k: v for k, v in content["data"].items() if k != "id"}}


@pytest.mark.parametrize("crash_in", [[1, 1], [2], [1, 2]], ids=str)
async def test_another_worker_goes_on_from_the_cut_point_and_nobody_sees_the_difference(
    bus_settings: BusSettings,
    engine: PocketsphinxEngine,
    undisturbed: list[tuple[str, object]],
    crash_in: list[int],
) -> None:
    """`crash_in` are the utterances in which the worker dies."""
    data = recording("two-requests")
    async with open_bus(replace(bus_settings, lease_ms=300)) as bus, talk(bus) as client:
        await client.start()
        said = 0
        for utterance in crash_in:
            dying = await working(bus, engine).__aenter__()
            client.heard.clear()
            until = 130_001 if utterance == 2 else 50_001
            await client.say(data[said:until], chunk=7_001)
            said = until
            await client.until(lambda _, utterance=utterance: client.speaks_in(utterance))  # type: ignore[misc]  # a default
            await dying.crash()
        async with working(bus, engine):
            await client.say(data[said:], chunk=7_001)
            await client.stop()
            await client.until_released()
        assert [(kind, _without_id(content)) for kind, content in contents(await client.log())] == undisturbed


async def test_what_lies_behind_a_final_in_the_same_mail_is_not_lost_with_the_worker(
    bus_settings: BusSettings,
) -> None:
    async with open_bus(replace(bus_settings, lease_ms=300)) as bus, talk(bus) as client:
        await client.speak(recording("two-requests"), chunk=200_000)
        dying = await working(bus, ScriptedEngine("hello", Fault.STUCK)).__aenter__()
        await client.until_said("hello")
        await dying.crash()
        async with working(bus, InstantEngine("hello")):
            await client.until_said("hello", "hello hello")
            await client.until_released()
        assert client.errors == []


async def test_a_worker_that_cant_end_an_utterance_in_time_hands_it_over_all_the_same(bus: Bus) -> None:
    async with talk(bus) as client:
        engine = ScriptedEngine(Fault.STUCK)
        draining = await working(bus, engine, drain_s=0.1).__aenter__()
        await client.start()
        await client.say(recording("question"))
        await engine.stuck.wait()
        await draining.drain()
        async with asyncio.timeout(bus.settings.lease_ms / 1000 / 2), working(bus, InstantEngine("hello")):
            await client.until_said("hello")


async def test_a_stream_whose_mail_is_all_done_goes_on_with_the_next_worker(bus: Bus) -> None:
    async with talk(bus) as client:
        async with working(bus, InstantEngine("hello")):
            await client.start(PCM)
            await client.until_waiting(0)
        async with working(bus, InstantEngine("hello")):
            await client.until_owned()
            await client.say(speech() + SILENCE)
            await client.until_said("hello")
        assert client.errors == []


async def test_a_draining_worker_ends_the_utterance_and_hands_the_next_one_over(
    bus: Bus, engine: PocketsphinxEngine
) -> None:
    data = speech()
    async with talk(bus) as client:
        first = await working(bus, engine).__aenter__()
        await client.start(PCM)
        await client.say(data[:40_000])
        await client.until(lambda _: bool(client.partials))
        draining = asyncio.create_task(first.drain())
        await client.say(data[40_000:] + SILENCE)
        await draining
        await client.until_said(QUESTION)
        async with working(bus, InstantEngine("the next one")):
            await client.say(data + SILENCE)
            await client.until_said(QUESTION, f"{QUESTION} the next one")


async def test_a_stream_without_speech_leaves_nothing(bus: Bus) -> None:
    async with working(bus, InstantEngine("hello")), talk(bus) as client:
        await client.speak(b"")
        await client.speak(recording("noise"))
        await client.until_released()
        assert (await client.log(), await client.waiting()) == ([], 0)
