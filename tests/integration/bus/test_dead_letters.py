"""Dead letters: what lies there, its way back, and its way out."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from integration.bus.turns import lease_of, restart, sentence
from support.burials import bury, bury_question
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.dead_letters import DeadLetter, LetterId
from voicebus.bus.lease import Lease
from voicebus.bus.settings import BusSettings
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import Refused
from voicebus.contract.events import Activity, Error, User
from voicebus.contract.mail import Say, Sentence, UserTurn


async def bury_sentence(bus: Bus) -> tuple[str, Lease]:
    """A turn whose sentence can't be spoken; the agent goes on with it."""
    session_id = await open_session(bus, "hello")
    agent = await lease_of(bus, "agent", session_id)
    await agent.next()
    await agent.emit(sentence("Hello there."))
    await (await bury(bus, "tts", session_id)).release()
    return session_id, agent


async def only(bus: Bus) -> DeadLetter:
    letters, _ = await bus.dead_letters.page()
    assert len(letters) == 1
    return letters[0]


async def code_of(call: Any) -> str:
    with pytest.raises(Refused) as refused:
        await call
    return refused.value.code


@pytest.fixture
async def many(bus: Bus) -> list[str]:
    """Dead letters of two stages in all partitions; their sessions, newest letter first."""
    sessions = [await bury_question(bus) if number % 3 else (await bury_sentence(bus))[0] for number in range(6)]
    return sessions[::-1]


async def test_a_dead_letter_tells_what_failed_and_why(bus: Bus) -> None:
    session_id = await bury_question(bus)
    letter = await only(bus)
    assert (letter.id.stage, letter.session_id, letter.turn) == ("agent", session_id, 1)
    assert letter.id.partition == bus.keys.partition(session_id)
    assert letter.error.code == "agent_failed"
    assert isinstance(letter.mail, dict)
    assert letter.mail["content"] == "poison"
    assert await bus.dead_letters.get(letter.id) == letter
    assert LetterId.parse(str(letter.id)) == letter.id


async def test_letters_of_all_stages_and_partitions_are_listed_newest_first_page_by_page(
    bus: Bus, many: list[str]
) -> None:
    everything, end = await bus.dead_letters.page()
    assert end is None
    assert [letter.session_id for letter in everything] == many
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        page, after = await bus.dead_letters.page(after=after, limit=2)
        assert len(page) <= 2
        found += page
        pages += 1
    assert found == everything
    assert pages == 3


async def test_letters_that_died_at_the_same_moment_are_all_listed(bus: Bus) -> None:
    fields = ("sid", "s", "mail", "1-0", "to", "1-0", "turn", "1", "error", '"type":"odd"}', "d", "not JSON")
    keys = [bus.keys.dead(partition, stage) for stage in ("agent", "tts") for partition in range(bus.keys.partitions)]
    for key in keys:
        await bus.calls.command("XADD", key, "5-1", *fields)
    found, after = await bus.dead_letters.page(limit=1)
    while after is not None:
        page, after = await bus.dead_letters.page(after=after, limit=1)
        found += page
    assert len({str(letter.id) for letter in found}) == len(found) == len(keys)
    assert {(letter.mail, letter.error.code) for letter in found} == {("not JSON", "internal")}
    assert await code_of(bus.dead_letters.retry(found[0].id)) == "retry_impossible"


async def test_one_stage_is_listed_alone(bus: Bus, many: list[str]) -> None:
    letters, _ = await bus.dead_letters.page(stage="tts")
    assert [letter.session_id for letter in letters] == many[2::3]
    assert {letter.id.stage for letter in letters} == {"tts"}


async def test_a_question_that_is_retried_opens_a_new_turn_with_all_attempts_before_it(bus: Bus) -> None:
    session_id = await bury_question(bus)
    letter = await only(bus)
    retried = await bus.dead_letters.retry(letter.id)
    last = (await events_of(bus, session_id))[-1]
    assert isinstance(last, User)
    assert (last.turn, last.seq, last.data.content) == (2, retried.seq, "poison")
    assert retried.turn == 2
    delivery = await (await lease_of(bus, "agent", session_id)).next()
    assert delivery is not None
    assert isinstance(delivery.mail, UserTurn)
    assert (delivery.mail.turn, delivery.mail.content, delivery.attempt) == (2, "poison", 1)
    assert delivery.mail.id == last.data.id
    assert (await bus.dead_letters.page())[0] == []


async def test_a_retried_text_that_is_to_be_said_is_no_question(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.say(session_id, "Mind the gap.", agent_type="personal")
    worker = await bury(bus, "agent", session_id)
    await bus.dead_letters.retry((await only(bus)).id)
    last = (await events_of(bus, session_id))[-1]
    assert isinstance(last, Activity)
    assert (last.turn, last.data.content) == (2, "Mind the gap.")
    delivery = await worker.next()
    assert delivery is not None
    assert isinstance(delivery.mail, Say)
    assert (delivery.mail.turn, delivery.mail.content) == (2, "Mind the gap.")


async def test_a_sentence_that_is_retried_is_spoken_in_its_own_turn(bus: Bus) -> None:
    session_id, _ = await bury_sentence(bus)
    retried = await bus.dead_letters.retry((await only(bus)).id)
    assert retried.turn == 1
    delivery = await (await lease_of(bus, "tts", session_id)).next()
    assert delivery is not None
    assert isinstance(delivery.mail, Sentence)
    assert (delivery.mail.turn, delivery.mail.text, delivery.attempt) == (1, "Hello there.", 1)


async def test_a_retried_mail_wakes_the_worker_that_owns_the_stage(bus: Bus) -> None:
    session_id = await open_session(bus, "poison")
    worker = await bury(bus, "agent", session_id)
    assert await worker.next() is None
    await bus.dead_letters.retry((await only(bus)).id)
    delivery = await worker.next()
    assert delivery is not None
    assert delivery.attempt == 1


async def test_a_letter_is_retried_once(bus: Bus) -> None:
    session_id = await bury_question(bus)
    letter = await only(bus)
    await bus.dead_letters.retry(letter.id)
    before = len(await events_of(bus, session_id))
    assert await code_of(bus.dead_letters.retry(letter.id)) == "dead_letter_not_found"
    assert len(await events_of(bus, session_id)) == before


async def test_a_retry_that_is_sent_again_on_the_wire_has_one_effect(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the connection breaks before Redis's answer."""
    session_id = await bury_question(bus)
    letter = await only(bus)
    once = bus.calls.script

    async def twice(*call: Any) -> Any:
        first = await once(*call)
        assert first[0] == b"ok"
        return await once(*call)

    monkeypatch.setattr(bus.calls, "script", twice)
    retried = await bus.dead_letters.retry(letter.id)
    monkeypatch.undo()
    users = [event for event in await events_of(bus, session_id) if isinstance(event, User)]
    assert [user.turn for user in users] == [1, 2]
    assert retried.seq == users[-1].seq


async def test_speech_is_not_retried_because_its_audio_is_gone(bus: Bus) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c", "s1", AudioSpec(format="pcm16"), 0)
    await bus.inbox.audio(session_id, "c", "s1", 0, b"\0" * 3_200)
    await bury(bus, "stt", session_id)
    letter = await only(bus)
    assert (letter.id.stage, letter.mail, letter.error.code) == ("stt", None, "stt_failed")
    with pytest.raises(Refused, match="audio is not kept") as refused:
        await bus.dead_letters.retry(letter.id)
    assert refused.value.code == "retry_impossible"
    assert await only(bus) == letter


@pytest.mark.parametrize("how", ["interrupted", "begun anew"])
async def test_a_sentence_that_nobody_is_to_hear_any_more_is_not_retried(bus: Bus, how: str) -> None:
    session_id, agent = await bury_sentence(bus)
    if how == "interrupted":
        await bus.inbox.interrupt(session_id, agent_type="personal", turn=1)
    else:
        await restart(agent)
    letter = await only(bus)
    assert await code_of(bus.dead_letters.retry(letter.id)) == "retry_impossible"
    assert await only(bus) == letter


async def test_a_letter_of_a_session_that_ended_or_is_gone_stays_where_it_is(bus: Bus) -> None:
    session_id = await bury_question(bus)
    letter = await only(bus)
    await bus.sessions.end(session_id, "deleted")
    assert await code_of(bus.dead_letters.retry(letter.id)) == "session_ended"
    await bus.calls.command("DEL", bus.keys.of(session_id).session)
    assert await code_of(bus.dead_letters.retry(letter.id)) == "session_not_found"
    assert await only(bus) == letter


async def test_a_retry_waits_for_room_like_any_text(bus: Bus) -> None:
    session_id = await bury_question(bus)
    for _ in range(bus.settings.waiting_turns_max):
        await bus.inbox.submit(session_id, "more", agent_type="personal")
    letter = await only(bus)
    assert await code_of(bus.dead_letters.retry(letter.id)) == "overloaded"
    assert await only(bus) == letter


async def test_a_dropped_letter_is_gone(bus: Bus) -> None:
    session_id = await bury_question(bus)
    letter = await only(bus)
    await bus.dead_letters.drop(letter.id)
    assert (await bus.dead_letters.page())[0] == []
    for call in (bus.dead_letters.drop, bus.dead_letters.get, bus.dead_letters.retry):
        assert await code_of(call(letter.id)) == "dead_letter_not_found"
    assert isinstance((await events_of(bus, session_id))[-1], Error)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "agent",
        "agent-0-5",
        "boss-0-5-1",
        "agent--1-5-1",
        "agent-0-5-1 ",
        "agent-0-5-99999999999999999999",
        "agent-\u0660-5-1",
    ],
)
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert LetterId.parse(text) is None


async def test_a_letter_in_a_partition_that_is_not_there_is_not_found(bus: Bus) -> None:
    letter_id = LetterId.at("agent", bus.keys.partitions, "5-1")
    assert await code_of(bus.dead_letters.get(letter_id)) == "dead_letter_not_found"
    assert await code_of(bus.dead_letters.get(LetterId.at("agent", 0, f"{10**19 - 1}-0"))) == "dead_letter_not_found"


async def test_dead_letters_go_with_their_session(bus_settings: BusSettings) -> None:
    async with open_bus(
        replace(bus_settings, partitions=1, prefix=f"{bus_settings.prefix}d", ended_kept_ms=100)
    ) as bus:
        kept, gone = [await bury_question(bus, "kept"), await bury_question(bus, "gone")]
        assert {letter.session_id for letter in (await bus.dead_letters.page())[0]} == {kept, gone}
        await bus.sessions.end(gone, "deleted")
        async with asyncio.timeout(10):
            while len((await bus.dead_letters.page())[0]) > 1:
                await bus.sessions.end_idle()
                await asyncio.sleep(0.02)
        assert [letter.session_id for letter in (await bus.dead_letters.page())[0]] == [kept]
