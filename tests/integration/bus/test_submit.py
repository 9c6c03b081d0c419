"""Text on its way to the agent: once, in order, and refused at the door where it can't be served."""

import asyncio
from dataclasses import replace

import pytest
from support.redis_cluster import everywhere

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.codec import load_event
from voicebus.contract.errors import Refused, VoicebusError
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession

START = Position()


async def types_of(bus: Bus, session_id: str) -> list[str]:
    page = await bus.log.read(session_id, START)
    return [load_event(item.body).type for item in page.items if hasattr(item, "body")]


async def test_a_text_opens_a_turn_and_waits_for_the_agent(bus: Bus) -> None:
    session, _ = await bus.sessions.open(NewSession(), "alice")
    accepted = await bus.inbox.submit(session.session_id, "hello", agent_type="personal", message_id="m1")
    assert (accepted.seq, accepted.turn, accepted.repeated) == (2, 1, False)
    assert await bus.stages("agent", "w").waiting(range(4)) == [session.session_id]
    assert await types_of(bus, session.session_id) == ["session_start", "user"]


async def test_the_same_message_twice_has_one_effect_and_the_same_ack(bus: Bus) -> None:
    session, _ = await bus.sessions.open(NewSession(), "alice")
    first, second = await asyncio.gather(
        *(bus.inbox.submit(session.session_id, "hello", agent_type="personal", message_id="m1") for _ in range(2))
    )
    assert first.seq == second.seq
    assert {first.repeated, second.repeated} == {False, True}
    assert (await types_of(bus, session.session_id)).count("user") == 1


async def test_the_same_id_with_other_content_is_a_conflict(bus: Bus) -> None:
    session, _ = await bus.sessions.open(NewSession(), "alice")
    await bus.inbox.submit(session.session_id, "hello", agent_type="personal", message_id="m1")
    with pytest.raises(Refused, match="used before") as caught:
        await bus.inbox.submit(session.session_id, "goodbye", agent_type="personal", message_id="m1")
    assert caught.value.code == "id_conflict"


async def test_too_many_waiting_turns_are_refused_at_the_door(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, waiting_turns_max=3)) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        for number in range(3):
            await bus.inbox.submit(session.session_id, str(number), agent_type="personal")
        with pytest.raises(Refused) as caught:
            await bus.inbox.submit(session.session_id, "one more", agent_type="personal")
        assert caught.value.code == "overloaded"
        assert caught.value.temporary
        assert (await types_of(bus, session.session_id)).count("user") == 3


async def test_a_session_that_never_was_and_one_that_ended_take_no_input(bus: Bus) -> None:
    with pytest.raises(Refused) as never:
        await bus.inbox.submit("nobody", "hello", agent_type="personal")
    session, _ = await bus.sessions.open(NewSession(), "alice")
    await bus.sessions.end(session.session_id, "deleted")
    with pytest.raises(Refused) as ended:
        await bus.inbox.submit(session.session_id, "hello", agent_type="personal")
    assert (never.value.code, ended.value.code) == ("session_not_found", "session_ended")
    assert await types_of(bus, session.session_id) == ["session_start", "session_end"]


async def test_an_idempotent_open_returns_the_same_session(bus: Bus) -> None:
    first, created = await bus.sessions.open(NewSession(mode="text"), "alice", session_id="one")
    again, created_again = await bus.sessions.open(NewSession(mode="voice"), "alice", session_id="one")
    assert (created, created_again) == (True, False)
    assert first == again
    with pytest.raises(Refused) as caught:
        await bus.sessions.open(NewSession(), "mallory", session_id="one")
    assert caught.value.code == "not_member"


async def test_sessions_without_input_end_after_their_ttl(bus: Bus) -> None:
    idle, _ = await bus.sessions.open(NewSession(ttl_s=1), "alice")
    busy, _ = await bus.sessions.open(NewSession(ttl_s=3600), "alice")
    async with asyncio.timeout(10):
        while not await bus.sessions.end_idle():  # noqa: ASYNC110 - Redis's own clock decides
            await asyncio.sleep(0.05)
    assert (await bus.sessions.get(idle.session_id)).status == "ended"
    assert (await bus.sessions.get(busy.session_id)).status == "open"


async def test_another_number_of_partitions_refuses_to_start(bus: Bus, bus_settings: BusSettings) -> None:
    with pytest.raises(VoicebusError, match="4 partitions"):
        async with open_bus(replace(bus_settings, partitions=8)):
            pytest.fail("it started")


async def test_calls_survive_a_flushed_script_cache(bus: Bus) -> None:
    session, _ = await bus.sessions.open(NewSession(), "alice")
    await everywhere(bus, "SCRIPT", "FLUSH")
    accepted = await asyncio.gather(
        *(bus.inbox.submit(session.session_id, str(n), agent_type="personal") for n in range(20))
    )
    assert sorted(a.seq for a in accepted) == list(range(2, 22))


async def test_text_that_no_wire_can_carry_fails_its_caller_alone(bus: Bus) -> None:
    session, _ = await bus.sessions.open(NewSession(), "alice")
    with pytest.raises(UnicodeEncodeError):
        await bus.calls.command("SET", "k", "\ud800")
    assert (await bus.inbox.submit(session.session_id, "hello", agent_type="personal")).turn == 1
