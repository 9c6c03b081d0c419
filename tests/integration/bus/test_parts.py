"""Writes of several sessions travel as one call of a script, where Redis lets them."""

import asyncio
from collections.abc import Sequence

import pytest
from integration.bus.leases import a_lease
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.bus.link import Link
from voicebus.bus.scripts import sha
from voicebus.bus.settings import BusSettings
from voicebus.bus.wire import Reply
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import LeaseLost, Refused, VoicebusError
from voicebus.contract.events import Token
from voicebus.contract.payloads import TokenData

Sent = list[bytes]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What goes to Redis from now on: packed commands."""
    commands: Sent = []
    exchange = Link.exchange

    async def note(link: Link, packed: Sequence[bytes]) -> list[Reply]:
        commands.extend(packed)
        return await exchange(link, packed)

    monkeypatch.setattr(Link, "exchange", note)
    return commands


async def leases(bus: Bus, count: int) -> list[Lease]:
    return [await a_lease(bus, await open_session(bus, "hello"), f"w{number}") for number in range(count)]


def words(lease: Lease, *texts: str) -> Emission:
    emission = Emission(1, "r1")
    for text in texts:
        emission.event(Token(session_id=lease.session_id, turn=1, data=TokenData(token=text, response_id="r1")))
    return emission


async def tokens(bus: Bus, lease: Lease) -> list[str]:
    return [event.data.token for event in await events_of(bus, lease.session_id) if isinstance(event, Token)]


async def test_each_write_has_its_own_effect_and_answer(bus: Bus, bus_settings: BusSettings, sent: Sent) -> None:
    some = await leases(bus, 8)
    slots = {bus.servers.slot_of(bus.keys.of(lease.session_id).session) for lease in some}
    sent.clear()
    said = [[f"{number}.{each}" for each in range(number % 3 + 1)] for number in range(8)]
    for texts in (said, said[::-1]):
        writes = [lease.emit(words(lease, *each)) for lease, each in zip(some, texts, strict=True)]
        heads = await asyncio.gather(*writes)
        assert heads == [(await bus.sessions.get(lease.session_id)).position.seq for lease in some]
    together = [command for command in sent if sha("words").encode() in command]
    assert len(together) == 2 if len(slots) == 1 else len(together) < 16
    for lease, first, second in zip(some, said, said[::-1], strict=True):
        assert await tokens(bus, lease) == [*first, *second]


async def test_one_that_is_refused_does_not_hold_the_others_up(bus: Bus) -> None:
    first, lost, last = await leases(bus, 3)
    await bus.calls.command("HSET", bus.keys.of(lost.session_id).session, "agent.token", "someone else's")
    done = await asyncio.gather(
        *(lease.emit(words(lease, "hi")) for lease in (first, lost, last)), return_exceptions=True
    )
    assert [type(each) for each in done] == [int, LeaseLost, int]
    assert [await tokens(bus, lease) for lease in (first, lost, last)] == [["hi"], [], ["hi"]]


async def test_one_that_fails_in_redis_does_not_fail_the_others_and_none_is_applied_twice(bus: Bus) -> None:
    first, broken, last = await leases(bus, 3)
    key = bus.keys.of(broken.session_id).log
    await bus.calls.command("DEL", key)
    await bus.calls.command("SET", key, "no stream")
    done = await asyncio.gather(
        *(lease.emit(words(lease, "hi")) for lease in (first, broken, last)), return_exceptions=True
    )
    assert isinstance(done[1], VoicebusError)
    assert done[1].code == "internal"
    for lease in (first, last):
        assert await tokens(bus, lease) == ["hi"]
        assert await lease.emit(words(lease, "again")) == done[0] + 1  # type: ignore[operator]  # an int


async def test_sound_of_several_sessions_is_kept_apart(bus: Bus) -> None:
    session_ids = [await open_session(bus) for _ in range(5)]
    spec = AudioSpec(format="pcm16")
    for session_id in session_ids:
        await bus.inbox.audio_start(session_id, "c", "s", spec, 0)
    await bus.sessions.end(session_ids[2], "deleted")
    sound = [
        bus.inbox.audio(session_id, "c", "s", 2 if number == 3 else 0, bytes([number] * (2 + 2 * number)))
        for number, session_id in enumerate(session_ids)
    ]
    safe = await asyncio.gather(*sound, return_exceptions=True)
    assert [each if isinstance(each, int) else type(each) for each in safe] == [2, 4, Refused, Refused, 10]
    assert [each.code for each in safe if isinstance(each, Refused)] == ["session_ended", "audio_gap"]
    lease = await bus.stages("stt", "w").lease(session_ids[4])
    assert lease is not None
    assert [getattr(mail, "data", None) for _, mail in await lease.mail_after("0-0")] == [None, bytes([4] * 10)]


async def test_text_that_is_none_is_refused_to_who_says_it(bus: Bus) -> None:
    first, last = await leases(bus, 2)
    with pytest.raises(UnicodeEncodeError):
        await first.emit(Emission(1).note("\ud800"))
    assert await last.emit(words(last, "hi"))
