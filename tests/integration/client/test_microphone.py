"""A microphone stream arrives whole and once, wherever the connection breaks."""

import asyncio
import random
from collections import deque
from dataclasses import replace

import pytest
from integration.client.clients import QUICK, connecting, holds
from integration.client.scripted_gateway import ScriptedGateway

from voicebus_client.errors import AudioRefused, Closed
from voicebus_client.microphone import Microphone
from voicebus_client.upload import AudioSpec
from voicebus_client.wav import Recording, feed

AUDIO = bytes(random.Random(7).randbytes(40_000))
SMALL = replace(QUICK, audio_frame_bytes=4_096, audio_waiting_bytes=16_384)


@pytest.mark.parametrize("lost", [True, False])
async def test_a_cut_at_any_message_leaves_the_stream_whole(lost: bool) -> None:
    """The stream takes twelve messages; `lost`: the one at the cut did not arrive, else its answer is lost."""
    for cut in range(13):
        gateway = ScriptedGateway(cut_before_ack=deque([cut, 3]), ignore_last=lost)
        async with gateway.serving(), connecting(gateway, options=SMALL) as connection, asyncio.timeout(10):
            async with connection.audio_stream(sample_rate=48_000, channels=2) as microphone:
                await microphone.write(AUDIO)
            assert bytes(gateway.audio) == AUDIO
            assert gateway.audio_closed == [microphone.stream]
            assert microphone.acknowledged <= microphone.written == len(AUDIO)


async def test_the_stream_says_how_it_is_to_be_read() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        async with connection.audio_stream("opus", sample_rate=48_000, channels=2) as microphone:
            pass
        start, stop = gateway.received
    assert start == {
        "type": "audio.start",
        "id": start["id"],
        "stream": microphone.stream,
        "format": "opus",
        "sample_rate": 48_000,
        "channels": 2,
        "offset": 0,
    }
    assert stop == {"type": "audio.stop", "id": stop["id"], "stream": microphone.stream}


async def test_after_a_reconnect_only_what_is_not_acknowledged_is_sent_again() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        async with connection.audio_stream() as microphone:
            await microphone.write(AUDIO[:10_000])
            await holds(lambda: microphone.acknowledged == 10_000)
            gateway.cut_all()
            await holds(lambda: len(gateway.received) == 2)
            await microphone.write(AUDIO[10_000:])
        assert [m["offset"] for m in gateway.received if m["type"] == "audio.start"] == [0, 10_000]
        assert bytes(gateway.audio) == AUDIO


async def test_writing_waits_while_nothing_is_acknowledged() -> None:
    async with (
        ScriptedGateway().serving() as gateway,
        connecting(gateway, options=SMALL) as connection,
        connection.audio_stream() as microphone,
    ):
        gateway.mute = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await microphone.write(AUDIO)
        assert microphone.written == 16_384
        gateway.mute = False
        gateway.cut_all()
        await microphone.write(AUDIO[16_384:])
        await microphone.stop()
        assert bytes(gateway.audio) == AUDIO


async def test_after_a_rollback_older_bytes_are_sent_again() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        async with connection.audio_stream() as microphone:
            await microphone.write(AUDIO[:30_000])
            await holds(lambda: microphone.acknowledged == 30_000)
            del gateway.audio[20_000:]
            gateway.forget(0, "bbbbbbbb")
            gateway.cut_all()
            await microphone.write(AUDIO[30_000:])
        assert bytes(gateway.audio) == AUDIO
        assert [m["offset"] for m in gateway.received if m["type"] == "audio.start"] == [0, 0]


async def test_a_second_stream_on_the_same_connection_is_refused() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        async with connection.audio_stream():
            with pytest.raises(AudioRefused) as raised:
                connection.audio_stream()
            assert raised.value.code == "audio_busy"
        async with connection.audio_stream():
            pass


async def test_a_session_whose_microphone_is_in_use_refuses_the_stream() -> None:
    async with (
        ScriptedGateway().serving() as gateway,
        connecting(gateway) as first,
        connecting(gateway) as second,
        first.audio_stream(),
    ):
        with pytest.raises(AudioRefused) as raised:
            async with second.audio_stream():
                pass
        assert raised.value.code == "audio_busy"


async def test_a_stream_that_another_connection_took_over_fails_while_writing() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        microphone = await connection.audio_stream().__aenter__()
        gateway.tell("error", code="audio_taken_over", message="")
        with pytest.raises(AudioRefused, match="audio_taken_over"):
            await _write_on(microphone)


async def test_leaving_by_an_error_stops_the_stream_without_a_wait() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        with pytest.raises(ValueError, match="mine"):
            async with connection.audio_stream() as microphone:
                raise ValueError("mine")
        await holds(lambda: gateway.audio_closed == [microphone.stream])


async def test_closing_the_connection_fails_the_stream() -> None:
    async with ScriptedGateway(mute=True).serving() as gateway:
        connection = connecting(gateway)
        await connection.__aenter__()
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(_open(connection.audio_stream()))
            await holds(lambda: gateway.connections)
            await connection.close()
        assert opening.result() == "closed"


async def _open(microphone: Microphone) -> str:
    with pytest.raises(Closed) as raised:
        await microphone.__aenter__()
    return raised.value.code


async def _write_on(microphone: Microphone) -> None:
    async with asyncio.timeout(10):
        while True:
            await microphone.write(b"\0" * 3_200)
            await asyncio.sleep(0)


async def test_a_recording_is_fed_as_fast_as_it_would_be_spoken() -> None:
    recording = Recording(AudioSpec("pcm16", 8_000, 1), AUDIO[:8_000])
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        now = asyncio.get_running_loop().time
        began = now()
        async with connection.audio_stream(sample_rate=8_000) as microphone:
            await feed(microphone, recording)
        assert recording.duration_s <= now() - began < 3 * recording.duration_s
        assert bytes(gateway.audio) == recording.data
