"""How the gateway hands microphone audio to the bus."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from support.sessions import open_session

from gateway.microphone import Microphone
from voicebus.bus.bus import Bus
from voicebus.bus.link import Link
from voicebus.bus.scripts import SCRIPTS, sha
from voicebus.bus.wire import Reply
from voicebus.contract.commands import AudioStart, AudioStop
from voicebus.contract.errors import VoicebusError


class Connection:
    """Can't fail."""

    def fail(self) -> None:
        raise AssertionError


async def test_a_stop_that_follows_its_last_bytes_travels_with_them(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = await open_session(bus)
    acknowledged: list[int] = []

    async def acknowledge(_: str, offset: int) -> None:
        acknowledged.append(offset)

    async def complain(error: VoicebusError) -> None:
        raise error

    async def pay(stream: str, from_ms: int, to_ms: int) -> None:
        assert (stream, from_ms, to_ms) == ("s1#1", 0, 1_000)

    batches: list[set[str]] = []
    exchange = Link.exchange

    async def watched(link: Link, commands: Sequence[bytes]) -> list[Reply]:
        batches.append({name for name in SCRIPTS if any(sha(name).encode() in command for command in commands)})
        return await exchange(link, commands)

    def start(work: Coroutine[Any, Any, None]) -> None:
        raise AssertionError("nothing has to be waited for")

    microphone = Microphone(
        bus.inbox,
        session_id,
        Connection(),
        acknowledge=acknowledge,
        acknowledge_now=lambda *_: False,
        complain=complain,
        pay=pay,
        start=start,
        soon=lambda send: None,  # the tick comes too late
        later=lambda act: None,
    )
    await microphone.start(AudioStart(stream="s1", format="pcm16"))
    monkeypatch.setattr(Link, "exchange", watched)
    await microphone.feed(bytes(640))
    for _ in range(5):  # the frame and the stop come in two packets
        await asyncio.sleep(0)
    await microphone.stop(AudioStop(stream="s1"))
    assert batches == [{"audio", "audio_stop"}]
    assert acknowledged == [0, 640]
