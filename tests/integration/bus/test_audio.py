"""Microphone audio: resumable by offsets, one stream at a time, one owner at a time."""

import pytest
from support.sessions import open_session

from voicebus.bus.bus import Bus
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
