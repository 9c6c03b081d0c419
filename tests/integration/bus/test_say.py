"""A text that the assistant is to say: a turn like any other, opened by nobody's question."""

import asyncio
from dataclasses import replace

import pytest
from integration.bus.turns import answered, cuts_of, lease_of, listener, sentence, speech
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.settings import BusSettings
from voicebus.contract.errors import Refused, TurnCancelled
from voicebus.contract.events import Activity, User
from voicebus.contract.mail import Say, UserTurn


async def opened(bus: Bus, session_id: str) -> list[tuple[int | None, object]]:
    """The turns, each with what it says: a user's text or what is to be said."""
    return [
        (event.turn, event.data.content)
        for event in await events_of(bus, session_id)
        if isinstance(event, Activity | User)
    ]


async def next_of(bus: Bus, session_id: str) -> Delivery:
    delivery = await (await lease_of(bus, "agent", session_id)).next()
    assert delivery is not None
    return delivery


async def test_it_opens_a_turn_that_waits_for_the_agent(bus: Bus) -> None:
    session_id = await open_session(bus)
    accepted = await bus.inbox.say(session_id, "Dinner is ready.", agent_type="family", message_id="m1")
    assert (accepted.seq, accepted.turn, accepted.repeated) == (2, 1, False)
    assert await bus.stages("agent", "w").waiting(range(4)) == [session_id]
    _, event = await events_of(bus, session_id)
    assert isinstance(event, Activity)
    assert (event.seq, event.turn, event.agent_type) == (2, 1, "family")
    assert (event.data.activity_type, event.data.content) == ("say", "Dinner is ready.")
    delivery = await next_of(bus, session_id)
    assert delivery.mail == Say(turn=1, id="m1", content="Dinner is ready.")
    assert (await bus.sessions.get(session_id)).active_turn == 1


async def test_it_waits_in_order_with_what_users_say(bus: Bus) -> None:
    session_id = await open_session(bus, "one")
    await bus.inbox.say(session_id, "two", agent_type="personal")
    await bus.inbox.submit(session_id, "three", agent_type="personal")
    assert await opened(bus, session_id) == [(1, "one"), (2, "two"), (3, "three")]
    agent, mail = await lease_of(bus, "agent", session_id), []
    for turn in (1, 2, 3):
        delivery = await agent.next()
        assert delivery is not None
        mail.append(delivery.mail)
        await agent.emit(Emission().answered(turn).cursor(delivery.id))
    assert [type(each) for each in mail] == [UserTurn, Say, UserTurn]


async def test_the_same_id_twice_has_one_effect_and_the_same_ack(bus: Bus) -> None:
    session_id = await open_session(bus)
    first, second = await asyncio.gather(
        *(bus.inbox.say(session_id, "hello", agent_type="personal", message_id="m1") for _ in range(2))
    )
    assert first.seq == second.seq
    assert {first.repeated, second.repeated} == {False, True}
    assert await opened(bus, session_id) == [(1, "hello")]


async def test_the_same_id_for_anything_else_is_a_conflict(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.say(session_id, "hello", agent_type="personal", message_id="m1")
    for other in (
        bus.inbox.say(session_id, "goodbye", agent_type="personal", message_id="m1"),
        bus.inbox.say(session_id, "hello", agent_type="personal", message_id="m1", on_busy="interrupt"),
        bus.inbox.submit(session_id, "hello", agent_type="personal", message_id="m1"),
    ):
        with pytest.raises(Refused) as caught:
            await other
        assert caught.value.code == "id_conflict"
    assert await opened(bus, session_id) == [(1, "hello")]


async def test_too_much_that_waits_is_refused_at_the_door(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, waiting_turns_max=2)) as bus:
        session_id = await open_session(bus, "one", "two")
        with pytest.raises(Refused) as caught:
            await bus.inbox.say(session_id, "three", agent_type="personal")
        assert (caught.value.code, caught.value.temporary) == ("overloaded", True)
        assert len(await opened(bus, session_id)) == 2


async def test_a_session_that_never_was_and_one_that_ended_say_nothing(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.sessions.end(session_id, "deleted")
    codes = []
    for name in ("nobody", session_id):
        with pytest.raises(Refused) as caught:
            await bus.inbox.say(name, "hello", agent_type="personal")
        codes.append(caught.value.code)
    assert codes == ["session_not_found", "session_ended"]
    assert await opened(bus, session_id) == []


async def test_it_takes_the_place_of_what_goes_on_if_it_is_to(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    await bus.inbox.say(session_id, "later", agent_type="personal")
    assert await cuts_of(bus, session_id) == []
    await bus.inbox.say(session_id, "Fire!", agent_type="personal", on_busy="interrupt")
    # What was to be said later comes first, so it is being answered, too.
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == [1, 2]
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).mail("tts")) == 0


async def test_whoever_speaks_into_it_cuts_it_and_says_nothing_of_what_it_said(bus: Bus) -> None:
    session_id = await open_session(bus, "good morning")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Morning.")
    await bus.inbox.interrupt(session_id, agent_type="personal")
    await bus.inbox.say(session_id, "Dinner is ready.", agent_type="personal")
    await agent.next()
    ear = await listener(bus, session_id)
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    assert [(cut.turn, cut.heard, cut.joined) for cut in await cuts_of(bus, session_id)][1:] == [(2, "", False)]
    with pytest.raises(TurnCancelled):
        await agent.emit(sentence("Dinner is ready.", turn=2))


async def test_what_was_heard_of_it_before_it_was_cut_is_told(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.say(session_id, "Dinner is on the table.", agent_type="personal")
    await answered(await lease_of(bus, "agent", session_id), 1, "Dinner is on the table.")
    await (await lease_of(bus, "tts", session_id)).emit(speech(session_id, "Dinner is on the table."))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=8_000)
    assert [(cut.turn, cut.heard) for cut in await cuts_of(bus, session_id)] == [(1, "Dinner is")]


async def test_what_fails_too_often_becomes_a_dead_letter_and_its_turn_ends(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, attempts_max=1)) as bus:
        session_id = await open_session(bus)
        await bus.inbox.say(session_id, "hello", agent_type="personal")
        agent = await lease_of(bus, "agent", session_id)
        await agent.next()
        await agent.hand_over(failed=True)
        assert await (await lease_of(bus, "agent", session_id)).next() is None
        last = (await events_of(bus, session_id))[-1]
        assert (last.type, last.turn) == ("error", 1)
        ((_, letter),) = await bus.calls.command("XRANGE", bus.keys.of(session_id).dead("agent"), "-", "+")
        assert b'"kind":"say"' in b"".join(letter)
