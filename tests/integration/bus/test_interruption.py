"""Interruptions: by a client's word or by speech, in each state of a turn; what was heard of it is known afterwards."""

import pytest
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads
from voicebus.contract.errors import LeaseLost, Refused, TurnCancelled
from voicebus.contract.events import Interrupted
from voicebus.contract.keys import Stage
from voicebus.contract.mail import Sentence, UserTurn
from voicebus.contract.payloads import Mode
from voicebus.contract.sessions import Cut, HistoryEntry, conversation_of

SECOND = bytes(32_000)


async def lease_of(bus: Bus, stage: Stage, session_id: str) -> Lease:
    lease = await bus.stages(stage, f"{stage}-1").lease(session_id)
    assert lease is not None
    return lease


async def listener(bus: Bus, session_id: str) -> Lease:
    """The stt stage's owner, which needs mail to be leased."""
    k = bus.keys.of(session_id)
    await bus.calls.command("ZADD", k.ready("stt"), 0, session_id)
    return await lease_of(bus, "stt", session_id)


def sentence(text: str, *, turn: int = 1, segment: int = 0, response: str = "r1") -> Emission:
    mail = Sentence(turn=turn, response_id=response, segment=segment, text=text)
    return Emission(turn, response).begin().sentence(mail)


def speech(
    session_id: str, text: str, *, turn: int = 1, segment: int = 0, response: str = "r1", whole: bool = True
) -> Emission:
    """One second that says the text."""
    envelope = events.Envelope(session_id=session_id, turn=turn)
    return Emission(turn, response).speech(
        envelope, SECOND, segment=segment, sample_rate=16_000, is_last=whole, text=text
    )


async def lease_of_speaker(bus: Bus, session_id: str) -> Lease:
    """The tts stage's owner, which needs mail to be leased."""
    await bus.calls.command("ZADD", bus.keys.of(session_id).ready("tts"), 0, session_id)
    return await lease_of(bus, "tts", session_id)


async def spoken(bus: Bus, session_id: str, text: str) -> None:
    """The tts stage's last write of the one sentence that waits."""
    speaker = await lease_of(bus, "tts", session_id)
    delivery = await speaker.next()
    assert delivery is not None
    await speaker.emit(speech(session_id, text).cursor(delivery.id))


async def restart(agent: Lease, response: str = "r1") -> None:
    """The agent takes the response of turn 1 back."""
    restarted = payloads.ResponseRestartedData(response_id=response, discard_from_seq=3)
    event = events.ResponseRestarted(session_id=agent.session_id, turn=1, data=restarted)
    await agent.emit(Emission(1).restart(event))


async def heard_by_the_clock(bus: Bus, session_id: str) -> None:
    """The speech of the session's only turn began so long ago that it is over."""
    k = bus.keys.of(session_id)
    turn, begins_ms, duration_ms = (await bus.calls.command("HGET", k.session, "playback")).decode().split(":")
    await bus.calls.command("HSET", k.session, "playback", f"{turn}:{float(begins_ms) - 60_000:.3f}:{duration_ms}")


async def answered(lease: Lease, turn: int, text: str, *, keep: int = 50) -> None:
    """The agent's last write of a turn."""
    delivery = await lease.next()
    assert delivery is not None
    entry = HistoryEntry(turn=turn, user="?", assistant=text).dump()
    await lease.emit(sentence(text, turn=turn).history(entry, keep=keep).answered(turn).cursor(delivery.id))


async def cuts_of(bus: Bus, session_id: str) -> list[payloads.InterruptedData]:
    return [event.data for event in await events_of(bus, session_id) if isinstance(event, Interrupted)]


async def test_speech_joins_a_question_that_is_still_thought_about(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Where do you mean?"))
    assert await ear.interrupt("speech-1", agent_type="personal") == "what time is it"
    with pytest.raises(TurnCancelled):
        await agent.emit(sentence("Which city?", segment=1))
    (cut,) = await cuts_of(bus, session_id)
    assert (cut.turn, cut.heard, cut.joined) == (1, "", True)
    assert await agent.cut(1) == Cut(heard="", joined=True)
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).mail("tts")) == 0


async def test_the_same_speech_interrupts_once_and_its_next_listener_learns_what_to_join(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    ear = await listener(bus, session_id)
    await ear.interrupt("speech-1", agent_type="personal")
    assert await ear.interrupt("speech-1", agent_type="personal") == "what time is it"
    assert len(await cuts_of(bus, session_id)) == 1
    user = events.User(session_id=session_id, data=payloads.UserData(content="both", input="voice", id="u2"))
    await ear.emit(Emission().open_turn(None, user, UserTurn(id="u2", content="both", input="voice")))
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    assert len(await cuts_of(bus, session_id)) == 1


async def test_a_listener_that_lost_its_lease_interrupts_nothing(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    old = await listener(bus, session_id)
    await old.hand_over()
    await lease_of(bus, "stt", session_id)
    with pytest.raises(LeaseLost):
        await old.interrupt("speech-1", agent_type="personal")
    assert await cuts_of(bus, session_id) == []


async def test_speech_into_what_is_heard_joins_nothing(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    await agent.emit(sentence("It is late."))
    speaker = await lease_of(bus, "tts", session_id)
    await speaker.emit(speech(session_id, "It is late."))
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    assert [cut.joined for cut in await cuts_of(bus, session_id)] == [False]


@pytest.mark.parametrize(("mode", "joined"), [("voice", True), ("text", False)])
async def test_speech_into_an_answer_that_is_only_read_joins_nothing(bus: Bus, mode: Mode, joined: bool) -> None:
    session_id = await open_session(bus, "what time is it")
    await bus.inbox.set_mode(session_id, mode)
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    await agent.emit(Emission(1, "r1").begin())
    assert bool(await ear.interrupt("speech-1", agent_type="personal")) is joined


async def test_an_answer_that_waits_to_be_spoken_can_be_interrupted_and_was_not_heard(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal")
    assert accepted.turn == 1
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).mail("tts")) == 0
    (entry,) = conversation_of(await bus.sessions.history(session_id))
    assert (entry.assistant, entry.interrupted) == ("", True)


async def test_history_holds_what_was_heard_of_a_complete_answer(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time there was a king.")
    speaker = await lease_of(bus, "tts", session_id)
    await speaker.emit(speech(session_id, "Once upon a time there was a king."))
    await bus.inbox.played(session_id, 1, 0, 500)
    await bus.inbox.interrupt(session_id, agent_type="personal")
    (entry,) = conversation_of(await bus.sessions.history(session_id))
    assert (entry.assistant, entry.interrupted) == ("Once upon a time", True)


async def test_a_question_that_was_joined_after_its_answer_is_not_in_the_history(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await answered(agent, 1, "Where?")
    assert await ear.interrupt("speech-1", agent_type="personal") == "what time is it"
    assert conversation_of(await bus.sessions.history(session_id)) == []


async def test_all_that_is_answered_or_heard_is_cut_and_what_waits_is_not(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two", "three")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "First answer.")
    speaker = await lease_of(bus, "tts", session_id)
    await speaker.emit(speech(session_id, "First answer."))
    await agent.next()
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=500)
    assert [(cut.turn, cut.heard) for cut in await cuts_of(bus, session_id)] == [(1, "First"), (2, "")]
    assert accepted.turn == 1
    delivery = await agent.next()
    assert delivery is not None
    assert (delivery.mail.turn, delivery.cancelled) == (2, True)  # type: ignore[union-attr]  # a user's turn
    await agent.emit(Emission().answered(2).cursor(delivery.id))
    third = await agent.next()
    assert third is not None
    assert not third.cancelled


async def test_sentences_that_were_heard_of_an_abandoned_response_are_known(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await agent.next()
    texts = ["Once upon a time.", "There was a king.", "He had a dog."]
    for segment, text in enumerate(texts):
        await agent.emit(sentence(text, segment=segment))
    speaker = await lease_of(bus, "tts", session_id)
    for segment, text in enumerate(texts):
        await speaker.emit(speech(session_id, text, segment=segment, whole=segment < 2))
    await bus.inbox.played(session_id, 1, 1, 1_000)
    await restart(agent)
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).speech) == 0
    assert await agent.said(1) == {0: "Once upon a time.", 1: "There was a king."}
    assert await agent.said(2) == {}
    await agent.emit(sentence("He had a cat.", segment=2, response="r2"))
    await speaker.emit(speech(session_id, "He had a cat.", segment=2, response="r2"))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=500)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Once upon a time. There was a king. He had"


async def test_what_was_heard_stands_in_the_order_of_its_speech(bus: Bus) -> None:
    """The answer that was made anew goes another way than the one that was cut."""
    session_id = await open_session(bus, "tell me a story")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Once upon a time."))
    await speaker.emit(speech(session_id, "Once upon a time."))
    await bus.inbox.played(session_id, 1, 0, 1_000)
    await restart(agent)
    await agent.emit(sentence("There was a king.", response="r2"))
    for segment, text in enumerate(["There was a king.", "He had a dog."]):
        await speaker.emit(speech(session_id, text, segment=segment, response="r2"))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=2_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Once upon a time. There was a king. He had a dog."


async def test_a_turn_that_was_heard_stays_so_while_its_answer_is_made_anew(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    speaker = await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Once upon a time."))
    await speaker.emit(speech(session_id, "Once upon a time.", whole=False))
    await restart(agent)
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    assert [(cut.heard, cut.joined) for cut in await cuts_of(bus, session_id)] == [("", False)]


async def test_a_client_that_plays_slowly_can_interrupt_what_it_still_plays(bus: Bus) -> None:
    """The estimate is that all was heard by now."""
    session_id = await open_session(bus, "tell me a story")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await heard_by_the_clock(bus, session_id)
    await bus.inbox.played(session_id, 1, 0, 500)
    await bus.inbox.played(session_id, 1, 0, 300)
    await ear.interrupt("speech-1", agent_type="personal")
    assert [(cut.turn, cut.heard) for cut in await cuts_of(bus, session_id)] == [(1, "Once upon")]


async def test_a_client_that_stopped_reporting_is_taken_to_have_stopped_playing(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await bus.inbox.played(session_id, 1, 0, 500)
    await heard_by_the_clock(bus, session_id)
    await bus.calls.command("HINCRBY", bus.keys.of(session_id).session, "played_at", -6_000)
    assert (await bus.inbox.interrupt(session_id, agent_type="personal")).turn is None
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, played_ms=500)
    assert accepted.turn == 1


async def test_nothing_is_left_to_be_cut_of_what_was_played_to_its_end(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await heard_by_the_clock(bus, session_id)
    await bus.inbox.played(session_id, 1, 0, 1_000)
    assert (await bus.inbox.interrupt(session_id, agent_type="personal")).turn is None
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, played_ms=1_000)
    assert accepted.turn is None


async def test_no_more_was_heard_of_a_sentence_than_there_is(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    for segment in range(2):
        await speaker.emit(speech(session_id, "Once upon a time.", segment=segment))
    await bus.inbox.played(session_id, 1, 0, 99_000)
    await bus.inbox.interrupt(session_id, agent_type="personal")
    assert [cut.heard for cut in await cuts_of(bus, session_id)] == ["Once upon a time."]


async def test_what_was_heard_of_long_turns_is_known_from_their_beginning(bus: Bus) -> None:
    """Their first speech is gone from the stream, sentences of turns long past are forgotten."""
    session_id = await open_session(bus, *("long" for _ in range(10)))
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    k = bus.keys.of(session_id)
    for turn in range(1, 11):
        await answered(agent, turn, "Words.")
        for segment in range(3):
            await speaker.emit(speech(session_id, f"Words {segment}.", turn=turn, segment=segment))
    await bus.calls.command("XTRIM", k.speech, "MAXLEN", 1)
    assert await bus.calls.command("LLEN", k.spoken) == 8 * 3
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=10, played_ms=2_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Words 0. Words 1."


async def test_interruptions_take_no_room_in_the_history(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    for turn in (1, 2):
        await answered(agent, turn, f"Answer {turn}.", keep=3)
        await speaker.emit(speech(session_id, f"Answer {turn}.", turn=turn))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=500)
    await bus.inbox.submit(session_id, "three", agent_type="personal", message_id="m3")
    await answered(agent, 3, 'It is "100 %1".', keep=3)
    await speaker.emit(speech(session_id, 'It is "100 %1".', turn=3))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=1_000)
    entries = conversation_of(await bus.sessions.history(session_id))
    heard = [(1, "Answer", True), (2, "", True), (3, 'It is "100 %1".', True)]
    assert [(entry.turn, entry.assistant, entry.interrupted) for entry in entries] == heard


async def test_what_became_of_many_turns_is_known_until_they_are_wound_up(bus: Bus) -> None:
    session_id = await open_session(bus, *(f"question {turn}" for turn in range(1, 13)))
    agent = await lease_of(bus, "agent", session_id)
    await agent.next()
    for turn in range(12, 0, -1):
        await bus.inbox.interrupt(session_id, agent_type="personal", turn=turn)
    k = bus.keys.of(session_id)
    assert await bus.calls.command("HEXISTS", k.session, "cut:4") == 1
    assert await agent.cut(12) == Cut(heard="")
    await agent.emit(Emission().answered(4))
    assert await bus.calls.command("HEXISTS", k.session, "cut:4") == 0
    assert await bus.calls.command("HEXISTS", k.session, "cut:12") == 1


async def test_a_hand_over_in_good_order_is_no_failed_attempt(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    for _ in range(5):
        lease = await lease_of(bus, "agent", session_id)
        delivery = await lease.next()
        assert delivery is not None
        assert delivery.attempt == 1
        await lease.hand_over()


async def test_a_text_that_interrupts_does_so_once_and_only_if_it_is_taken(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    await bus.inbox.submit(session_id, "used", agent_type="personal", message_id="m1")
    with pytest.raises(Refused):
        await bus.inbox.submit(session_id, "other", agent_type="personal", message_id="m1", on_busy="interrupt")
    assert await cuts_of(bus, session_id) == []
    for _ in range(2):
        accepted = await bus.inbox.submit(
            session_id, "stop", agent_type="personal", message_id="m2", on_busy="interrupt"
        )
    assert accepted.repeated
    assert [event.type for event in (await events_of(bus, session_id))[-2:]] == ["interrupted", "user"]
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == [1]


async def test_a_tool_call_that_looks_like_an_event_does_not_confuse_the_joining(bus: Bus) -> None:
    session_id = await open_session(bus, "find ann")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    called = payloads.ToolCallData(tool_call_id="c", tool_name="find", parameters={"type": "user", "turn": 1})
    await agent.emit(Emission(1).event(events.ToolCall(session_id=session_id, turn=1, data=called)))
    assert await ear.interrupt("speech-1", agent_type="personal") == "find ann"


async def test_the_turn_behind_one_that_was_cut_can_be_cut_before_that_is_wound_up(bus: Bus) -> None:
    session_id = await open_session(bus, "one")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    assert await ear.interrupt("speech-1", agent_type="personal") == "one"
    user = events.User(session_id=session_id, data=payloads.UserData(content="one two", input="voice", id="u2"))
    await ear.emit(Emission().open_turn(None, user, UserTurn(id="u2", content="one two", input="voice")))
    assert await ear.interrupt("speech-2", agent_type="personal") == "one two"
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == [1, 2]


async def test_an_answer_that_waits_behind_anothers_playback_was_not_heard(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await answered(agent, 1, "First.")
    await answered(agent, 2, "Second.")
    speaker = await lease_of(bus, "tts", session_id)
    await speaker.emit(speech(session_id, "First."))
    await speaker.emit(speech(session_id, "Second.", turn=2))
    assert await ear.interrupt("speech-1", agent_type="personal") == "two"
    assert [cut.joined for cut in await cuts_of(bus, session_id)] == [False, True]


async def test_what_comes_behind_a_turn_that_was_cut_is_heard_sooner(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "First.")
    await answered(agent, 2, "Second.")
    speaker = await lease_of(bus, "tts", session_id)
    for _ in range(5):
        await speaker.emit(speech(session_id, "First."))
    await speaker.emit(speech(session_id, "Second.", turn=2))
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=1)
    value = await bus.calls.command("HGET", bus.keys.of(session_id).session, "playback")
    turn, begins_ms, _ = value.decode().split(":")
    seconds, micros = await bus.calls.command("TIME")
    assert turn == "2"
    assert float(begins_ms) <= int(seconds) * 1_000 + int(micros) // 1_000


async def test_a_question_whose_speech_was_given_up_is_left_to_the_next_listener(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    ear = await listener(bus, session_id)
    assert await ear.interrupt("speech-1", agent_type="personal") == "what time is it"
    await ear.hand_over()
    heir = await lease_of(bus, "stt", session_id)
    assert heir.joined == "what time is it"
    assert await heir.interrupt("speech-2", agent_type="personal") == "what time is it"
    user = events.User(session_id=session_id, data=payloads.UserData(content="both", input="voice", id="u2"))
    await heir.emit(Emission().open_turn(None, user, UserTurn(id="u2", content="both", input="voice")))
    await heir.hand_over()
    assert (await lease_of(bus, "stt", session_id)).joined == ""
