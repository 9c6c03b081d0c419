"""Sentences in, speech out, through a real Redis and a real engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest
from integration.tts_worker.engines import spoken
from integration.tts_worker.session import Conversation, Halting, audio_of, conversation, working

from tts_worker.engines.engine import SynthesisError, TtsEngine
from tts_worker.engines.forked import ForkedEngine
from tts_worker.speak import Speaker
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.emission import Emission
from voicebus.bus.settings import BusSettings
from voicebus.chassis.held import Held
from voicebus.contract.events import ResponseRestarted
from voicebus.contract.payloads import ResponseRestartedData

TEXTS = ["It is 3:42 p.m. in **New York**.", "Is there anything else?", "Just ask."]
PLAIN = "It is 3:42 p.m. in New York."


@pytest.fixture
async def engine() -> AsyncIterator[TtsEngine]:
    async with ForkedEngine("espeak") as opened:
        yield opened


@pytest.fixture
async def talk(bus: Bus) -> AsyncIterator[Conversation]:
    async with conversation(bus) as opened:
        yield opened


async def test_each_sentence_becomes_what_the_engine_says_of_it(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    async with working(bus, engine):
        await talk.say(turn, *TEXTS)
        await talk.until_end(turn, 2)
    speech = await talk.speech()
    assert speech == talk.heard
    assert [chunk.n for chunk in speech] == list(range(1, len(speech) + 1))
    assert [audio_of(speech, 0), audio_of(speech, 1)] == [await spoken(engine, PLAIN), await spoken(engine, TEXTS[1])]
    assert [chunk.data.segment for chunk in speech] == sorted(chunk.data.segment for chunk in speech)
    assert [chunk.data.text for chunk in speech if chunk.data.text] == TEXTS
    assert [chunk.data.segment for chunk in speech if chunk.data.is_last] == [0, 1, 2]
    assert {(chunk.turn, chunk.data.response_id, chunk.data.sample_rate) for chunk in speech} == {(turn, "r1", 22_050)}
    assert await talk.waiting_mail() == 0


async def test_another_worker_goes_on_in_the_middle_of_a_sentence_when_one_crashed(
    bus_settings: BusSettings, engine: TtsEngine
) -> None:
    async with open_bus(replace(bus_settings, lease_ms=400)) as bus, conversation(bus) as talk:
        turn = await talk.ask()
        halting = Halting(engine, at=5)
        async with working(bus, halting) as first:
            await talk.say(turn, *TEXTS)
            await halting.halted.wait()
            await talk.until(lambda heard: len(heard) == 4)  # the newest one is kept back
            await first.crash()
        async with working(bus, engine):
            await talk.until_end(turn, 2)
        speech = await talk.speech()
    assert [chunk.n for chunk in speech] == list(range(1, len(speech) + 1))
    assert audio_of(speech, 0) == await spoken(engine, PLAIN)
    assert [chunk.data.text for chunk in speech if chunk.data.text] == TEXTS


async def test_a_worker_that_drains_hands_its_sentence_over_at_once(
    bus: Bus, talk: Conversation, engine: TtsEngine, open_another: Callable[[], AbstractAsyncContextManager[Bus]]
) -> None:
    turn = await talk.ask()
    halting, following = Halting(engine, at=5), Halting(engine, at=-1)
    async with open_another() as other, working(bus, halting) as first:
        await talk.say(turn, *TEXTS)
        await halting.halted.wait()
        first.worker.drain()
        halting.go_on.set()
        async with working(other, following):
            await talk.until_end(turn, 2)
    assert bus.settings.lease_ms > 5_000  # nobody waited for an expiry
    assert following.asked[0] > (PLAIN, 0)
    speech = await talk.speech()
    assert audio_of(speech, 0) == await spoken(engine, PLAIN)
    assert [chunk.n for chunk in speech] == list(range(1, len(speech) + 1))


async def test_an_interruption_stops_the_synthesis_and_the_next_turn_is_spoken(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    halting = Halting(engine, at=5)
    async with working(bus, halting):
        await talk.say(turn, *TEXTS)
        await talk.until(lambda heard: len(heard) == 4)  # all but the newest: the worker waits for the engine
        await bus.inbox.interrupt(talk.session_id, agent_type="personal", turn=turn)
        async with asyncio.timeout(1):
            await halting.closed.wait()
        halting.go_on.set()
        following = await talk.ask()
        await talk.say(following, TEXTS[1])
        await talk.until_end(following, 0)
    speech = await talk.speech()
    assert {chunk.turn for chunk in speech} == {following}
    assert audio_of(speech, 0) == await spoken(engine, TEXTS[1])
    assert [text for text, _ in halting.asked] == [PLAIN, TEXTS[1]]
    assert await talk.waiting_mail() == 0


async def test_a_sentence_of_a_turn_that_is_over_is_done_with_unspoken(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    await talk.say(turn, TEXTS[0])
    silent = Halting(engine, at=0)
    lease = await bus.stages("tts", "tts-1").lease(talk.session_id)
    assert lease is not None
    delivery = await lease.next()
    assert delivery is not None
    held = Held(lease, asyncio.Event())
    await Speaker(silent).handle(held, replace(delivery, cancelled=True))
    assert await lease.next() is None
    assert silent.asked == []


async def test_a_sentence_of_an_abandoned_response_is_dropped(bus: Bus, talk: Conversation, engine: TtsEngine) -> None:
    turn = await talk.ask()
    halting = Halting(engine, at=5)
    async with working(bus, halting):
        await talk.agent.emit(Emission(turn, "r1").begin())
        await talk.say(turn, *TEXTS)
        await halting.halted.wait()
        restarted = ResponseRestarted(
            session_id=talk.session_id, turn=turn, data=ResponseRestartedData(response_id="r1", discard_from_seq=1)
        )
        await talk.agent.emit(Emission(turn).restart(restarted))
        halting.go_on.set()
        await talk.say(turn, TEXTS[2], response_id="r2")
        await talk.until(lambda heard: any(c.data.response_id == "r2" and c.data.is_last for c in heard))
    speech = await talk.speech()
    assert {chunk.data.response_id for chunk in speech} == {"r2"}
    assert audio_of(speech, 0) == await spoken(engine, TEXTS[2])


async def test_a_sentence_with_nothing_to_speak_has_an_empty_chunk_as_its_end(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    async with working(bus, engine):
        await talk.say(turn, "Look:", "```\nx = 1\n```")
        await talk.until_end(turn, 1)
    code = [chunk for chunk in await talk.speech() if chunk.data.segment == 1]
    assert [(chunk.audio, chunk.data.is_last, chunk.data.text) for chunk in code] == [(b"", True, "```\nx = 1\n```")]
    assert await talk.waiting_mail() == 0


async def test_a_synthesis_that_fails_is_tried_again_from_where_it_stood(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    halting = Halting(engine, at=5)
    halting.go_on.set()
    halting.failures = [SynthesisError("crashed")]
    async with working(bus, halting):
        await talk.say(turn, *TEXTS)
        await talk.until_end(turn, 2)
    speech = await talk.speech()
    assert audio_of(speech, 0) == await spoken(engine, PLAIN)
    assert halting.asked[1] == (PLAIN, 4 * 22_050 * 60 // 1000)
    assert "error" not in [event.type for event in await talk.events()]


async def test_a_sentence_that_can_not_be_spoken_is_buried_with_an_error_and_the_next_ones_are_spoken(
    bus: Bus, talk: Conversation, engine: TtsEngine
) -> None:
    turn = await talk.ask()
    halting = Halting(engine, at=0)
    halting.go_on.set()
    halting.failures = [SynthesisError("crashed")] * bus.settings.attempts_max
    async with working(bus, halting):
        await talk.say(turn, *TEXTS)
        await talk.until_end(turn, 2)
    speech = await talk.speech()
    assert not [chunk for chunk in speech if chunk.data.segment == 0]
    assert audio_of(speech, 1) == await spoken(engine, TEXTS[1])
    (error,) = [event for event in await talk.events() if event.type == "error"]
    assert error.turn == turn
    dead = bus.keys.dead(bus.keys.partition(talk.session_id), "tts")
    assert await bus.calls.command("XLEN", dead) == 1


async def test_chunks_that_are_ready_together_go_out_together(bus: Bus, talk: Conversation, engine: TtsEngine) -> None:
    turn = await talk.ask()
    async with working(bus, Halting(engine, at=-1)):
        await talk.say(turn, "This sentence is long enough for a good number of chunks, " * 3)
        await talk.until_end(turn, 0)
        writes = int(await bus.calls.command("HGET", bus.keys.of(talk.session_id).session, "tts.number"))
    assert len(talk.heard) > 100
    assert writes < len(talk.heard) / 5
