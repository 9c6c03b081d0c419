"""The worker as a process of its own."""

import asyncio
import signal
from dataclasses import replace

from integration.tts_worker.engines import LONG_TEXT, spoken
from integration.tts_worker.session import audio_of, conversation
from support.process_tree import alive, children, until
from support.processes import worker_process

from tts_worker.engines.forked import ForkedEngine
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings

ESPEAK = {"TTS_ENGINE": "espeak"}


async def test_a_sentence_survives_kill_9_of_its_worker_byte_by_byte(bus_settings: BusSettings) -> None:
    settings = replace(bus_settings, lease_ms=500)
    async with open_bus(settings) as bus, conversation(bus) as talk:
        turn = await talk.ask()
        async with worker_process("tts_worker", settings, **ESPEAK) as first:
            await talk.say(turn, LONG_TEXT, "And then?")
            await talk.until(lambda heard: len(heard) > 0)
            (forkserver,) = children(first.pid)
            first.kill()
            await until(lambda: not alive(forkserver))
        assert not any(chunk.data.is_last for chunk in talk.heard)
        async with worker_process("tts_worker", settings, **ESPEAK):
            await talk.until_end(turn, 1)
        speech = await talk.speech()
    assert [chunk.n for chunk in speech] == list(range(1, len(speech) + 1))
    assert [chunk.data.segment for chunk in speech if chunk.data.is_last] == [0, 1]
    async with ForkedEngine("espeak") as engine:
        assert audio_of(speech, 0) == await spoken(engine, LONG_TEXT)
        assert audio_of(speech, 1) == await spoken(engine, "And then?")


async def test_sigterm_ends_the_worker_and_its_processes_in_good_order(bus: Bus, bus_settings: BusSettings) -> None:
    async with conversation(bus) as talk, worker_process("tts_worker", bus_settings, **ESPEAK) as process:
        turn = await talk.ask()
        await talk.say(turn, "Hello there.")
        await talk.until_end(turn, 0)
        (forkserver,) = children(process.pid)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            _, log = await process.communicate()
    assert process.returncode == 0
    assert not alive(forkserver)
    assert b'"event": "segment_spoken"' in log
    assert b'"outcome": "ok"' in log


async def test_an_engine_that_can_not_be_used_ends_the_worker_with_its_reason(bus_settings: BusSettings) -> None:
    async with worker_process("tts_worker", bus_settings, **ESPEAK, TTS_VOICE="nobody") as process:
        async with asyncio.timeout(10):
            _, log = await process.communicate()
    assert process.returncode == 1
    assert b"no voice 'nobody'" in log
    assert b"Traceback" not in log
