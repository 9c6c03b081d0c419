"""The worker as a process of its own."""

import asyncio
import signal
from dataclasses import replace

from integration.stt_worker.hearing import recording
from integration.stt_worker.talk import talk
from support.process_tree import alive, children, until
from support.processes import worker_process

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings


async def test_an_utterance_survives_kill_9_of_its_worker(bus_settings: BusSettings) -> None:
    settings = replace(bus_settings, lease_ms=500)
    data = recording("two-requests")
    async with open_bus(settings) as bus, talk(bus) as client:
        async with worker_process("stt_worker", settings) as first:
            await client.start()
            await client.say(data[:50_000])
            await client.until(lambda _: bool(client.partials))
            (forkserver,) = children(first.pid)
            processes = [forkserver, *children(forkserver)]
            first.kill()
            await until(lambda: not any(alive(process) for process in processes))
        assert client.finals == []
        async with worker_process("stt_worker", settings):
            await client.say(data[50_000:])
            await client.stop()
            first_said, second_said = "what time is it in paris", "please add twenty three and nineteen"
            await client.until_said(first_said, f"{first_said} {second_said}")
        assert [event.seq for event in await client.log()] == [2, 3, 4, 5, 6]


async def test_sigterm_ends_the_worker_and_its_processes_in_good_order(bus: Bus, bus_settings: BusSettings) -> None:
    async with talk(bus) as client, worker_process("stt_worker", bus_settings, STT_ENDPOINT_SILENCE_S="0.3") as process:
        await client.start()
        await client.say(recording("two-requests"))
        await client.until(lambda _: bool(client.finals))
        (forkserver,) = children(process.pid)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            _, log = await process.communicate()
    assert process.returncode == 0
    assert not alive(forkserver)
    assert b'"event": "utterance_transcribed"' in log
    assert b"what time is it" not in log


async def test_the_instant_engine_answers_with_its_text(bus: Bus, bus_settings: BusSettings) -> None:
    settings = {"STT_ENGINE": "instant", "STT_INSTANT_TEXT": "anything else"}
    async with talk(bus) as client, worker_process("stt_worker", bus_settings, **settings):
        await client.start()
        await client.say(recording("question"))
        await client.until_said("anything else")
