"""Somebody speaks while a question is open: it is interrupted once, and its text is never lost."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from integration.stt_worker.hearing import recording, speech, speech_events
from integration.stt_worker.scripted import Fault, ScriptedEngine
from integration.stt_worker.talk import PCM, SILENCE, VADS, talk, working

from stt_worker.audio import Checkpoint
from stt_worker.engines.instant import InstantEngine
from stt_worker.events import Reporter
from stt_worker.listen import Final
from stt_worker.progress import Progress
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.events import User

QUESTION = "what time is it"
HELLO = InstantEngine("hello")
BEGUN = 40_000  # bytes of the recording, in the middle of its utterance


@pytest.fixture
async def bus(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    async with open_bus(replace(bus_settings, lease_ms=300)) as opened:
        yield opened


async def test_a_question_that_a_cough_interrupted_is_asked_again(bus: Bus) -> None:
    async with working(bus, ScriptedEngine("hello", "")), talk(bus) as client:
        await client.speak(recording("two-requests"))
        await client.until_said("hello", "hello")
        await client.until_released()
        log = await client.log()
        assert [(event.type, event.turn) for event in log] == [
            *(("stt", 1), ("user", 1), ("interrupted", 1), ("user", 2)),
        ]
        first, second = (user.data.id for user in client.users)
        assert first != second


@pytest.mark.parametrize(
    ("goes_on", "said"),
    [(False, [QUESTION, QUESTION]), (True, [QUESTION, QUESTION, f"{QUESTION} hello"])],
    ids=["stopped", "goes on"],
)
async def test_a_question_whose_interruption_was_buried_is_asked_again(
    bus_settings: BusSettings, goes_on: bool, said: list[str]
) -> None:
    settings = replace(bus_settings, lease_ms=200, attempts_max=1)
    async with open_bus(settings) as bus, talk(bus) as client:
        await client.ask(QUESTION)
        await client.start(PCM)
        await client.say(speech()[:BEGUN])
        for number in (1, 2):  # the first one finds the stream's start in the mailbox, the second one the audio
            dying = await working(bus, HELLO).__aenter__()
            await client.until_tried(by=number)
            await client.until_interrupted()
            await dying.crash()
        if not goes_on:
            await client.stop()
        async with working(bus, HELLO):
            if goes_on:
                await client.until_waiting(0)
                await client.say(speech())
                await client.stop()
            await client.until_released()
        assert [event.data.content for event in await client.log() if isinstance(event, User)] == said


async def test_a_stream_with_the_name_of_an_earlier_one_interrupts_and_opens_a_turn_of_its_own(bus: Bus) -> None:
    async with working(bus, HELLO), talk(bus) as client:
        await client.ask(QUESTION)
        said = [QUESTION]
        for _ in range(2):
            await client.speak(speech() + SILENCE, PCM, stream="microphone")
            said.append(f"{said[-1]} hello")
            await client.until_said(*said)
        assert [(event.type, event.turn) for event in await client.log()] == [
            *(("user", 1), ("interrupted", 1), ("stt", 2), ("user", 2)),
            *(("interrupted", 2), ("stt", 3), ("user", 3)),
        ]
        assert len({user.data.id for user in client.users}) == 3
        first, second = (final.data for final in client.finals)
        assert first == second


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "handed over"])
async def test_speech_that_another_worker_hears_again_keeps_its_ids(bus: Bus, killed: bool) -> None:
    data = speech() + SILENCE
    async with talk(bus) as client:
        await client.ask(QUESTION)
        await client.start(PCM)
        (start_id,) = await client.mail_ids()
        first = await working(bus, HELLO, drain_s=0.1).__aenter__()
        await client.say(data[:BEGUN])
        await client.until_interrupted()
        known = await client.message_ids()
        await (first.crash() if killed else first.drain())
        async with working(bus, HELLO):
            await client.say(data[BEGUN:])
            await client.until_said(QUESTION, f"{QUESTION} hello")
        assert await client.message_ids() == known
        assert [event.type for event in await client.log()] == ["user", "interrupted", "stt", "user"]
        found = await speech_events(HELLO, VADS, data, start=Checkpoint.at_start(PCM), size=640)
        (final,) = (heard for heard in found if isinstance(heard, Final))
        progress = Progress(stream=client.stream, start_id=start_id)
        expected = Reporter(client.session_id, "personal").speech_id(progress, "end", final.speech_end)
        assert client.users[-1].data.id == expected


async def test_a_question_waits_for_the_speech_that_interrupted_it_to_be_heard_again(bus: Bus) -> None:
    """Its worker dies, and the next one hears silence first."""
    async with talk(bus) as client:
        await client.ask(QUESTION)
        await client.start(PCM)
        await client.say(SILENCE * 2 + speech()[:BEGUN], chunk=200_000)
        dying = await working(bus, HELLO).__aenter__()
        await client.until_interrupted()
        await dying.crash()
        async with working(bus, HELLO):
            await client.say(speech()[BEGUN:] + SILENCE)
            await client.until_said(QUESTION, f"{QUESTION} hello")
        assert [event.type for event in await client.log()] == ["user", "interrupted", "stt", "user"]


async def test_a_question_is_not_asked_again_while_what_interrupted_it_is_decoded_again(bus: Bus) -> None:
    """The microphone stalls, and the decoder is lost as the utterance is ended."""
    async with working(bus, ScriptedEngine(Fault.LOST, "hello"), idle_s=0.3), talk(bus) as client:
        await client.ask(QUESTION)
        await client.start(PCM)
        await client.say(speech()[:BEGUN])
        await client.until_said(QUESTION, f"{QUESTION} hello")
        await client.until_released()
        assert [event.type for event in await client.log()] == ["user", "interrupted", "stt", "user"]


@pytest.mark.parametrize("outcome", ["hello", ""], ids=["understood", "not understood"])
async def test_an_utterance_that_is_decoded_again_still_goes_on_with_the_question(bus: Bus, outcome: str) -> None:
    async with working(bus, ScriptedEngine(Fault.LOST, outcome)), talk(bus) as client:
        await client.ask(QUESTION)
        await client.speak(speech() + SILENCE, PCM)
        await client.until_released()
        assert [user.data.content for user in client.users] == [QUESTION, f"{QUESTION} {outcome}".rstrip()]
        assert [event.type for event in await client.log() if event.type != "stt"] == ["user", "interrupted", "user"]
