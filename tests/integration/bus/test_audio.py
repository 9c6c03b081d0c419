"""Microphone audio: resumable by offsets, one stream at a time, one owner at a time."""

from dataclasses import replace

import pytest
from support.sessions import open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import Refused
from voicebus.contract.mail import AudioChunk, AudioStarted, AudioStopped

PCM = AudioSpec(format="pcm16")


async def mail_of(bus: Bus, session_id: str) -> list[object]:
    lease = await bus.stages("stt", "w").lease(session_id)
    assert lease is not None
    return [mail for _, mail in await lease.mail_after("0-0")]


async def test_bytes_sent_twice_are_kept_once(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    assert await bus.inbox.audio(session_id, "c1", "s1", 0, b"abcdef") == 6
    assert await bus.inbox.audio(session_id, "c1", "s1", 0, b"abcdef") == 6
    assert await bus.inbox.audio(session_id, "c1", "s1", 4, b"efgh") == 8
    await bus.inbox.audio_stop(session_id, "c1", "s1")
    assert await mail_of(bus, session_id) == [
        AudioStarted(stream="s1", spec=PCM, offset=0),
        AudioChunk(stream="s1", offset=0, data=b"abcdef"),
        AudioChunk(stream="s1", offset=6, data=b"gh"),
        AudioStopped(stream="s1", offset=8),
    ]


async def test_a_jump_ahead_is_refused(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio(session_id, "c1", "s1", 10, b"late")
    assert caught.value.code == "audio_gap"


async def test_a_second_stream_is_refused_while_one_is_open(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio_start(session_id, "c2", "s2", PCM, 0)
    assert caught.value.code == "audio_busy"
    await bus.inbox.audio_stop(session_id, "c1", "s1")
    assert (await bus.inbox.audio_start(session_id, "c2", "s2", PCM, 0)).expected == 0


async def test_another_connection_takes_the_stream_over_where_it_stands(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    await bus.inbox.audio(session_id, "c1", "s1", 0, b"abcd")
    opened = await bus.inbox.audio_start(session_id, "c2", "s1", PCM, 2)
    assert opened.expected == 4
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio(session_id, "c1", "s1", 4, b"from the old one")
    assert caught.value.code == "audio_taken_over"
    assert await bus.inbox.audio(session_id, "c2", "s1", 2, b"cdef") == 6


async def test_a_start_repeated_after_the_stop_does_not_open_the_stream_again(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "m1")
    await bus.inbox.audio_stop(session_id, "c1", "s1", "m2")
    assert (await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "m1")).done
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio(session_id, "c1", "s1", 0, b"late")
    assert caught.value.code == "audio_not_open"
    assert len(await mail_of(bus, session_id)) == 2


async def test_a_start_repeated_after_other_streams_does_not_open_its_stream_again(bus: Bus) -> None:
    session_id = await open_session(bus)
    for name in ("s1", "s2"):
        await bus.inbox.audio_start(session_id, "c1", name, PCM, 0, f"start-{name}")
        await bus.inbox.audio_stop(session_id, "c1", name)
    assert (await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "start-s1")).done
    assert len(await mail_of(bus, session_id)) == 4


async def test_a_stream_that_was_replaced_when_it_fell_silent_is_neither_done_nor_opened_again(
    bus_settings: BusSettings,
) -> None:
    async with open_bus(replace(bus_settings, audio_idle_ms=0)) as bus:
        session_id = await open_session(bus)
        await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "start-s1")
        await bus.inbox.audio_start(session_id, "c2", "s2", PCM, 0, "start-s2")
        with pytest.raises(Refused) as caught:
            await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "start-s1")
        assert caught.value.code == "audio_not_open"
        assert await bus.inbox.audio(session_id, "c2", "s2", 0, b"goes on") == 7


async def test_a_stream_is_not_taken_over_with_another_format_or_rate(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    for spec in (AudioSpec(format="wav"), AudioSpec(format="pcm16", sample_rate=8_000)):
        with pytest.raises(Refused) as caught:
            await bus.inbox.audio_start(session_id, "c2", "s1", spec, 0)
        assert caught.value.code == "id_conflict"
    assert await bus.inbox.audio(session_id, "c1", "s1", 0, b"goes on") == 7


async def test_what_waits_for_stt_is_bounded_in_bytes(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0)
    offset, refused = 0, None
    while not refused and offset < 64 * 1024 * 1024:
        try:
            offset = await bus.inbox.audio(session_id, "c1", "s1", offset, bytes(131_072))
        except Refused as error:
            refused = error.code
    assert refused == "overloaded"
    waiting = await bus.calls.command("MEMORY", "USAGE", bus.keys.of(session_id).mail("stt"), "SAMPLES", 0)
    assert waiting < 17 * 1024 * 1024
    assert (await bus.inbox.audio_start(session_id, "c2", "s1", PCM, 0)).expected == offset
    await bus.inbox.audio_stop(session_id, "c2", "s1")
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio_start(session_id, "c2", "s2", PCM, 0, "m")
    assert caught.value.code == "overloaded"
    assert caught.value.retry_after_ms


async def test_streams_that_are_opened_and_ended_over_and_over_are_refused_when_too_many_wait(
    bus_settings: BusSettings,
) -> None:
    async with open_bus(replace(bus_settings, waiting_audio_max=5)) as bus:
        session_id = await open_session(bus)
        for name in ("s1", "s2", "s3"):
            await bus.inbox.audio_start(session_id, "c1", name, PCM, 0)
            await bus.inbox.audio_stop(session_id, "c1", name)
        with pytest.raises(Refused) as caught:
            await bus.inbox.audio_start(session_id, "c1", "s4", PCM, 0)
        assert caught.value.code == "overloaded"
        assert len(await mail_of(bus, session_id)) == 6


async def test_a_late_copy_of_a_start_does_not_take_the_stream_back(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "m1")
    await bus.inbox.audio_start(session_id, "c2", "s1", PCM, 0, "m2")
    with pytest.raises(Refused) as caught:
        await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 0, "m1")
    assert caught.value.code == "audio_taken_over"
    assert await bus.inbox.audio(session_id, "c2", "s1", 0, bytes(640)) == 640
    await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 640, "m3")  # on purpose
    again = await bus.inbox.audio_start(session_id, "c1", "s1", PCM, 640, "m3")
    assert again.expected == 640
