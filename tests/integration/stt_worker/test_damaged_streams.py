"""Streams that can't be read, have lost mail or lose their recogniser: what is refused, and what goes on."""

import pytest
from integration.stt_worker.hearing import recording, speech
from integration.stt_worker.scripted import Fault, ScriptedEngine
from integration.stt_worker.talk import PCM, WAV, talk, working

from stt_worker.engines.instant import InstantEngine
from voicebus.bus.bus import Bus
from voicebus.contract.audio import AudioSpec

HELLO = InstantEngine("hello")


@pytest.mark.parametrize(
    ("spec", "data", "code"),
    [
        (AudioSpec(format="opus"), b"OggS", "audio_unsupported"),
        (WAV, b"this is no WAV file at all", "audio_invalid"),
    ],
)
async def test_a_stream_that_cant_be_decoded_is_refused_once_and_the_next_one_is_not(
    bus: Bus, spec: AudioSpec, data: bytes, code: str
) -> None:
    async with working(bus, HELLO), talk(bus) as client, talk(bus) as neighbour:
        await neighbour.start()
        await client.speak(data * 5, spec, chunk=len(data))
        await client.speak(recording("question"))
        await neighbour.say(recording("question"))
        await client.until_said("hello")
        await neighbour.until_said("hello")
        assert client.errors == [code]
        assert [event.type for event in await client.log()] == ["error", "stt", "user"]
        assert neighbour.errors == []


@pytest.mark.parametrize("spec", [PCM, WAV], ids=lambda spec: spec.format)
async def test_behind_a_hole_the_stream_goes_on(bus: Bus, spec: AudioSpec) -> None:
    async with talk(bus) as client:
        await client.start(spec)
        await client.say(speech() if spec is PCM else recording("question"), chunk=9_999)
        await client.lose_mail(4)
        async with working(bus, HELLO):
            await client.stop()
            await client.until_released()
        assert client.errors == []
        assert [user.data.content for user in client.users] == ["hello", "hello hello"]
        assert client.finals[1].data.start_ms == pytest.approx(4 * 9_999 / 32, abs=120)


async def test_a_stream_whose_beginning_is_lost_is_refused(bus: Bus) -> None:
    async with talk(bus) as client:
        await client.start(PCM)
        await client.say(speech(), chunk=9_999)
        await client.lose_mail(0)
        await client.stop()
        async with working(bus, HELLO):
            await client.speak(speech(), PCM, chunk=9_999, stream=client.stream)
            await client.until_said("hello")
        assert client.errors == ["audio_invalid"]


async def test_a_lost_utterance_is_decoded_again(bus: Bus) -> None:
    engine = ScriptedEngine(Fault.UNOPENED, Fault.LOST, "hello")
    async with working(bus, engine), talk(bus) as client:
        await client.speak(recording("two-requests"))
        await client.until_said("hello", "hello hello")
        assert client.errors == []
        assert engine.opened == 4


async def test_an_utterance_that_is_lost_again_and_again_is_given_up_and_the_next_one_understood(bus: Bus) -> None:
    engine = ScriptedEngine(Fault.UNOPENED, Fault.UNOPENED, Fault.UNOPENED, "hello")
    async with working(bus, engine), talk(bus) as client:
        await client.speak(recording("two-requests"))
        await client.until_said("hello")
        assert [event.type for event in await client.log()] == ["error", "stt", "user"]
        assert client.errors == ["stt_failed"]
        (final,) = client.finals
        assert final.data.start_ms is not None
        assert final.data.start_ms > 2_500
        await client.until_released()
        assert await client.waiting() == 0


async def test_each_utterance_has_all_its_attempts(bus: Bus) -> None:
    nothing = ""
    engine = ScriptedEngine(Fault.LOST, Fault.LOST, nothing, Fault.LOST, Fault.LOST, "hello")
    async with working(bus, engine), talk(bus) as client:
        await client.speak(recording("two-requests"))
        await client.until_released()
        assert [final.data.text for final in client.finals] == ["hello"]
        assert client.errors == []
