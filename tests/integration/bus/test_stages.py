"""Leases, mail and numbered writes: one owner at a time, each write once and in order."""

import asyncio
from dataclasses import replace

import pytest
from integration.bus.leases import a_lease, a_speaker
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.emission import Emission
from voicebus.bus.items import SpeechItem
from voicebus.bus.lease import Lease
from voicebus.bus.settings import BusSettings
from voicebus.bus.stages import Stages
from voicebus.contract import events, payloads
from voicebus.contract.errors import LeaseLost, TurnCancelled
from voicebus.contract.mail import Sentence, UserTurn
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Cut


def token(text: str, turn: int = 1) -> events.Token:
    return events.Token(session_id="s", turn=turn, data=payloads.TokenData(token=text, response_id="r1"))


async def until_free(stages: Stages, session_id: str) -> Lease:
    async with asyncio.timeout(5):
        while (lease := await stages.lease(session_id)) is None:  # noqa: ASYNC110 - Redis's own clock decides
            await asyncio.sleep(0.02)
    return lease


async def test_only_one_worker_gets_the_lease(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    leases = await asyncio.gather(*(bus.stages("agent", f"w{n}").lease(session_id) for n in range(5)))
    assert sum(lease is not None for lease in leases) == 1


async def test_a_session_without_mail_is_not_leased(bus: Bus) -> None:
    session_id = await open_session(bus)
    assert await bus.stages("agent", "w").lease(session_id) is None


async def test_an_expired_lease_is_taken_over_and_the_old_owner_writes_nothing_more(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, lease_ms=50)) as bus:
        session_id = await open_session(bus, "hello")
        old = await a_lease(bus, session_id, "old")
        new = await until_free(bus.stages("agent", "new"), session_id)
        for write in (old.emit(Emission(1, "r1").event(token("zombie"))), old.renew(), old.next(), old.release()):
            with pytest.raises(LeaseLost):
                await write
        await new.emit(Emission(1, "r1").event(token("alive")))
        assert [e.data.token for e in await events_of(bus, session_id) if isinstance(e, events.Token)] == ["alive"]


async def test_a_session_waits_until_it_is_leased_and_again_when_the_lease_is_over(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, lease_ms=300)) as bus:
        session_id, stages = await open_session(bus, "hello"), bus.stages("agent", "w1")
        assert await stages.waiting(range(4)) == [session_id]
        await a_lease(bus, session_id)
        assert await stages.waiting(range(4)) == []
        async with asyncio.timeout(5):
            while await stages.waiting(range(4)) != [session_id]:  # noqa: ASYNC110 - Redis's own clock decides
                await asyncio.sleep(0.02)
        assert await stages.lease(session_id) is not None


async def test_a_renewed_lease_is_kept(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, lease_ms=200)) as bus:
        session_id = await open_session(bus, "hello")
        lease = await a_lease(bus, session_id)
        other = bus.stages("agent", "other")
        for _ in range(8):
            await lease.renew()
            assert await other.lease(session_id) is None
            await asyncio.sleep(0.04)  # the lease's own time passes


async def test_release_is_refused_while_mail_waits(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    assert not await lease.release()
    delivery = await lease.next()
    assert delivery is not None
    await lease.emit(Emission().cursor(delivery.id))
    assert await lease.release()
    with pytest.raises(LeaseLost):
        await lease.release()


async def test_mail_that_comes_after_a_release_is_ready_again(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    delivery = await lease.next()
    assert delivery is not None
    await lease.emit(Emission().cursor(delivery.id))
    await lease.release()
    await bus.inbox.submit(session_id, "again", agent_type="personal")
    delivery = await (await a_lease(bus, session_id)).next()
    assert delivery is not None
    assert isinstance(delivery.mail, UserTurn)
    assert (delivery.mail.content, delivery.mail.turn) == ("again", 2)


async def test_hand_over_frees_the_stage_at_once(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    await lease.hand_over()
    assert await bus.stages("agent", "other").lease(session_id) is not None
    with pytest.raises(LeaseLost):
        await lease.emit(Emission(1, "r1").event(token("late")))


async def test_a_write_sent_twice_is_applied_once(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    emissions = [Emission(1, "r1").event(token(str(n))) for n in range(3)]
    await lease.emit(*emissions)
    lease._number = 0  # as if no answer had come
    await lease.emit(*emissions)
    assert [e.data.token for e in await events_of(bus, session_id) if isinstance(e, events.Token)] == ["0", "1", "2"]


async def test_a_write_ahead_of_its_turn_is_not_applied(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    reply = await lease._write(2, Emission(1, "r1").event(token("second")))
    assert reply[0] == b"gap"
    assert [e.type for e in await events_of(bus, session_id)] == ["session_start", "user"]


async def test_mail_that_fails_too_often_is_buried_with_its_error_and_the_next_is_served(bus: Bus) -> None:
    session_id = await open_session(bus, "poison", "fine")
    stages = bus.stages("agent", "w")
    for attempt in range(1, 4):
        lease = await until_free(stages, session_id)
        delivery = await lease.next()
        assert delivery is not None
        assert isinstance(delivery.mail, UserTurn)
        assert (delivery.mail.content, delivery.attempt) == ("poison", attempt)
        await lease.hand_over(failed=True)
    delivery = await (await until_free(stages, session_id)).next()
    assert delivery is not None
    assert isinstance(delivery.mail, UserTurn)
    assert (delivery.mail.content, delivery.attempt) == ("fine", 1)
    last = (await events_of(bus, session_id))[-1]
    assert isinstance(last, events.Error)
    assert (last.turn, last.data.code) == (1, "agent_failed")
    dead = await bus.calls.command("XRANGE", bus.keys.of(session_id).dead("agent"), "-", "+")
    assert len(dead) == 1


async def test_sentences_reach_tts_and_speech_reaches_the_reader_behind_its_event(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    sentence = Sentence(turn=1, response_id="r1", segment=0, text="Hello there.")
    await lease.emit(Emission(1, "r1").begin().event(token("Hello there.")).sentence(sentence))
    speaker = await bus.stages("tts", "t1").lease(session_id)
    assert speaker is not None
    delivery = await speaker.next()
    assert delivery is not None
    assert delivery.mail == sentence
    chunk = Emission(1, "r1").speech(
        events.Envelope(session_id=session_id, turn=1), b"\1\2" * 480, segment=0, sample_rate=16_000, is_last=True
    )
    await speaker.emit(chunk.cursor(delivery.id))
    page = await bus.log.read(session_id, Position())
    assert page.items[-1].seq == 3
    assert getattr(page.items[-1], "audio", None) == b"\1\2" * 480
    assert page.complete


async def test_speech_is_kept_a_minute_behind_its_playback_and_its_absence_is_told(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    speaker, key = await a_speaker(bus, session_id), bus.keys.of(session_id).speech

    async def speak() -> None:
        chunk = Emission(1, "r1").speech(
            events.Envelope(session_id=session_id, turn=1),
            b"\1\2" * 16_000,
            segment=0,
            sample_rate=16_000,
            is_last=True,
        )
        await speaker.emit(chunk)

    await speak()
    await speak()
    assert 60_000 < await bus.calls.command("PTTL", key) <= 62_000
    await bus.calls.command("DEL", key)  # as when it expires
    await speak()
    page = await bus.log.read(session_id, Position())
    assert [(gap.stream, gap.first, gap.last) for gap in page.gaps] == [("speech", 1, 2)]
    assert [item.n for item in page.items if isinstance(item, SpeechItem)] == [3]


async def test_a_lease_of_another_epoch_is_free_at_once(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    old = await a_lease(bus, session_id, "old")
    await bus.calls.command("HSET", bus.keys.of(session_id).session, "agent.token", "1.00000000")
    await a_lease(bus, session_id, "new")
    with pytest.raises(LeaseLost):
        await old.renew()


async def test_after_an_interruption_nothing_of_the_turn_is_accepted_or_kept(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    lease = await a_lease(bus, session_id)
    await lease.next()
    sentence = Sentence(turn=1, response_id="r1", segment=0, text="Once upon a time.")
    await lease.emit(Emission(1, "r1").begin().event(token("Once")).sentence(sentence))
    speaker = await bus.stages("tts", "t1").lease(session_id)
    assert speaker is not None
    envelope = events.Envelope(session_id=session_id, turn=1)

    def chunk(text: str | None) -> Emission:
        return Emission(1, "r1").speech(
            envelope, bytes(32_000), segment=0, sample_rate=16_000, is_last=False, text=text
        )

    await speaker.emit(chunk("Once upon a time."), chunk(None))
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=1_000)
    assert accepted.turn == 1
    for owner, emission in ((lease, Emission(1, "r1").event(token("upon"))), (speaker, chunk(None))):
        with pytest.raises(TurnCancelled):
            await owner.emit(emission)
    page = await bus.log.read(session_id, Position())
    assert not [item for item in page.items if hasattr(item, "audio")]
    interrupted = (await events_of(bus, session_id))[-1]
    assert isinstance(interrupted, events.Interrupted)
    assert (interrupted.data.turn, interrupted.data.heard, interrupted.data.speech_next) == (1, "Once upon", 3)
    assert 1 in (await lease.renew()).cancelled
    assert await lease.cut(1) == Cut(heard="Once upon")
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).mail("tts")) == 0


async def test_an_interruption_when_all_is_over_changes_nothing(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    lease = await a_lease(bus, session_id)
    delivery = await lease.next()
    assert delivery is not None
    await lease.emit(Emission(1).event(token("hi")).answered(1).cursor(delivery.id))
    before = await events_of(bus, session_id)
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, message_id="i1")
    assert accepted.turn is None
    assert await events_of(bus, session_id) == before


async def test_a_restarted_response_takes_its_sentences_back_and_refuses_later_ones(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    old = await a_lease(bus, session_id)
    await old.next()
    sentence = Sentence(turn=1, response_id="r1", segment=0, text="Hel")
    await old.emit(Emission(1, "r1").begin().event(token("Hel")).sentence(sentence))
    await old.hand_over()
    lease = await a_lease(bus, session_id, "new")
    delivery = await lease.next()
    assert delivery is not None
    assert (delivery.response, delivery.response_from) == ("r1", 3)
    restarted = events.ResponseRestarted(
        session_id=session_id, turn=1, data=payloads.ResponseRestartedData(response_id="r1", discard_from_seq=3)
    )
    await lease.emit(Emission(1).restart(restarted))
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).mail("tts")) == 0
    with pytest.raises(TurnCancelled):
        await lease.emit(Emission(1, "r1").event(token("lo")))
    await lease.emit(Emission(1, "r2").event(token("Hello")))


async def test_dead_letters_are_kept_up_to_a_bound(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, attempts_max=0)) as bus:
        session_id = await open_session(bus, "poison")
        dead = bus.keys.of(session_id).dead("agent")
        fill = "for _ = 1, 12000 do redis.call('XADD', KEYS[1], '*', 'sid', 'earlier') end"
        await bus.calls.command("EVAL", fill, 1, dead)
        lease = await a_lease(bus, session_id)
        assert await lease.next() is None
        assert 10_000 <= await bus.calls.command("XLEN", dead) < 10_200
        [(_, last)] = await bus.calls.command("XREVRANGE", dead, "+", "-", "COUNT", 1)
        assert session_id.encode() in last
