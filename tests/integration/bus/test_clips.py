"""Whole clips, from the client's message to STT's mailbox: the same id has one effect."""

import base64

import pytest
from support.sessions import open_session

from gateway.commands import CommandHandler
from gateway.microphone import Microphone
from voicebus.bus.bus import Bus
from voicebus.contract.commands import Audio
from voicebus.contract.errors import Refused


class Connection:
    """Can't fail."""

    def fail(self) -> None:
        raise AssertionError


async def command_handler(bus: Bus, session_id: str) -> CommandHandler:
    async def ignore(*_: object) -> None:
        """Nobody listens."""

    microphone = Microphone(
        bus.inbox,
        session_id,
        Connection(),
        acknowledge=ignore,
        acknowledge_now=lambda *_: True,
        complain=ignore,
        pay=ignore,
        start=lambda work: work.close(),
        soon=lambda send: None,  # a clip is handed on without a tick
        later=lambda act: None,
    )
    return CommandHandler(bus, session_id, microphone, agents=())


def clip(message_id: str, content: bytes) -> Audio:
    return Audio(id=message_id, content=base64.b64encode(content).decode(), format="pcm16")


async def waiting(bus: Bus, session_id: str) -> int:
    return int(await bus.calls.command("XLEN", bus.keys.of(session_id).mail("stt")))


async def test_a_clip_sent_again_after_another_one_has_no_second_effect(bus: Bus) -> None:
    session_id = await open_session(bus)
    handle = (await command_handler(bus, session_id)).handle
    for message in (clip("a", b"abcd"), clip("b", b"efgh")):
        await handle(message, agent_type="personal")
    before = await waiting(bus, session_id)
    assert before == 2 * len(("start", "audio", "stop"))
    await handle(clip("a", b"abcd"), agent_type="personal")
    assert await waiting(bus, session_id) == before


async def test_another_clip_with_the_same_id_is_a_conflict(bus: Bus) -> None:
    session_id = await open_session(bus)
    handle = (await command_handler(bus, session_id)).handle
    await handle(clip("a", b"abcd"), agent_type="personal")
    with pytest.raises(Refused) as caught:
        await handle(clip("a", b"others"), agent_type="personal")
    assert caught.value.code == "id_conflict"
