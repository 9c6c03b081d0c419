"""Interruptions: by a client's word or by speech, in each state of a turn; what was heard of it is known afterwards."""

import pytest
from integration.bus.turns import RATE, answered, cuts_of, lease_of, lease_of_speaker, listener, sentence, speech
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.contract import events, payloads
from voicebus.contract.errors import LeaseLost, Refused, TurnCancelled
from voicebus.contract.mail import UserTurn
from voicebus.contract.payloads import Mode
from voicebus.contract.sessions import Cut, conversation_of


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
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=10_000)
    assert [(cut.turn, cut.heard) for cut in await cuts_of(bus, session_id)] == [(1, "First"), (2, "")]
    assert accepted.turn == 1
    delivery = await agent.next()
    assert delivery is not None
    assert (delivery.mail.turn, delivery.cancelled) == (2, True)  # type: ignore[union-attr]  # a user's turn
    await agent.emit(Emission().answered(2).cursor(delivery.id))
    third = await agent.next()
    assert third is not None
    assert not third.cancelled


async def test_of_many_answers_that_wait_to_be_heard_all_are_cut(bus: Bus) -> None:
    session_id = await open_session(bus, *("long" for _ in range(12)))
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    for turn in range(1, 13):
        await answered(agent, turn, "Words.")
        await speaker.emit(speech(session_id, "Words.", turn=turn))
    await bus.inbox.interrupt(session_id, agent_type="personal")
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == list(range(1, 13))
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).speech) == 0


async def test_texts_that_wait_stay_however_often_somebody_says_stop(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two", "three")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Where?"))
    for _ in range(3):
        await bus.inbox.interrupt(session_id, agent_type="personal")
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == [1]
    assert await ear.interrupt("speech-1", agent_type="personal") == "two"


async def test_speech_of_a_turn_behind_the_one_that_is_named_stays_valid(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two", "three")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    for turn, text in enumerate(["First.", "Second."], 1):
        await answered(agent, turn, text)
        await speaker.emit(speech(session_id, text, turn=turn))
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=3)
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=1)
    assert [(cut.turn, cut.speech_next) for cut in await cuts_of(bus, session_id)] == [(3, 1), (1, 2)]
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).speech) == 1


async def test_in_text_mode_a_question_behind_a_cut_one_is_joined_too(bus: Bus) -> None:
    session_id = await open_session(bus, "one")
    await bus.inbox.set_mode(session_id, "text")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await agent.next()
    await agent.emit(Emission(1, "r1").begin())
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    await bus.inbox.submit(session_id, "two", agent_type="personal", message_id="m2")
    assert await ear.interrupt("speech-2", agent_type="personal") == "two"


async def test_a_very_long_sentence_is_taken_back_whole(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    envelope = events.Envelope(session_id=session_id, turn=1)
    for _ in range(90):
        emission = Emission(1, "r1")
        for _ in range(100):
            emission.speech(envelope, b"", segment=0, sample_rate=RATE, is_last=False, text="Words.")
        await speaker.emit(emission)
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=1)
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).speech) == 0
    assert [cut.turn for cut in await cuts_of(bus, session_id)] == [1]


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
