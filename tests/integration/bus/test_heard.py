"""What was heard of a turn is known when it is cut short, or begun anew."""

import pytest
from integration.bus.turns import (
    RATE,
    answered,
    cuts_of,
    lease_of,
    lease_of_speaker,
    listener,
    passed,
    restart,
    sentence,
    speech,
    spoken,
)
from support.sessions import open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.contract import events
from voicebus.contract.sessions import conversation_of


async def test_history_holds_what_was_heard_of_a_complete_answer(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time there was a king.")
    speaker = await lease_of(bus, "tts", session_id)
    await speaker.emit(speech(session_id, "Once upon a time there was a king."))
    await passed(bus, session_id, 15_000)
    await bus.inbox.played(session_id, 1, 0, 10_000)
    await bus.inbox.interrupt(session_id, agent_type="personal")
    (entry,) = conversation_of(await bus.sessions.history(session_id))
    assert (entry.assistant, entry.interrupted) == ("Once upon a time", True)


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
    await passed(bus, session_id, 40_000)
    await bus.inbox.played(session_id, 1, 1, 20_000)
    await restart(agent)
    assert await bus.calls.command("XLEN", bus.keys.of(session_id).speech) == 0
    assert await agent.said(1) == {0: "Once upon a time.", 1: "There was a king."}
    assert await agent.said(2) == {}
    await agent.emit(sentence("He had a cat.", segment=2, response="r2"))
    await speaker.emit(speech(session_id, "He had a cat.", segment=2, response="r2"))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=10_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Once upon a time. There was a king. He had"


async def test_what_stands_behind_the_place_where_a_client_stopped_was_not_heard(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await agent.next()
    texts = {"r1": "Once upon a time there was a king.", "r2": "He had a dog."}  # a tool was called between them
    for segment, (response, text) in enumerate(texts.items()):
        await agent.emit(sentence(text, segment=segment, response=response))
    speaker = await lease_of(bus, "tts", session_id)
    for segment, (response, text) in enumerate(texts.items()):
        await speaker.emit(speech(session_id, text, segment=segment, response=response))
    await passed(bus, session_id, 40_000)  # time enough for both
    await restart(agent, "r2")
    assert await agent.said(1) == {1: "He had a dog."}
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, played_ms=10_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Once upon a time"


async def test_what_was_heard_stands_in_the_order_of_its_speech(bus: Bus) -> None:
    """The answer that was made anew goes another way than the one that was cut."""
    session_id = await open_session(bus, "tell me a story")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Once upon a time."))
    await speaker.emit(speech(session_id, "Once upon a time."))
    await passed(bus, session_id, 20_000)
    await restart(agent)
    await agent.emit(sentence("There was a king.", response="r2"))
    for segment, text in enumerate(["There was a king.", "He had a dog."]):
        await speaker.emit(speech(session_id, text, segment=segment, response="r2"))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=40_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Once upon a time. There was a king. He had a dog."


async def test_a_turn_that_was_heard_stays_so_while_its_answer_is_made_anew(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    speaker = await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Once upon a time."))
    await speaker.emit(speech(session_id, "Once upon a time.", whole=False))
    await passed(bus, session_id, 60_000)
    await restart(agent)
    assert await agent.said(1) == {}
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    assert [(cut.heard, cut.joined) for cut in await cuts_of(bus, session_id)] == [("", False)]


async def test_a_client_that_plays_slowly_can_interrupt_what_it_still_plays(bus: Bus) -> None:
    """The estimate is that all was heard by now."""
    session_id = await open_session(bus, "tell me a story")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await passed(bus, session_id, 60_000)
    await bus.inbox.played(session_id, 1, 0, 10_000)
    await bus.inbox.played(session_id, 1, 0, 6_000)
    await ear.interrupt("speech-1", agent_type="personal")
    assert [(cut.turn, cut.heard) for cut in await cuts_of(bus, session_id)] == [(1, "Once upon")]


async def test_a_client_that_stopped_reporting_is_taken_to_have_stopped_playing(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await passed(bus, session_id, 15_000)
    await bus.inbox.played(session_id, 1, 0, 10_000)
    await passed(bus, session_id, 6_000)
    assert (await bus.inbox.interrupt(session_id, agent_type="personal")).turn is None
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, played_ms=10_000)
    assert accepted.turn == 1


async def test_nothing_is_left_to_be_cut_of_what_was_played_to_its_end(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent = await lease_of(bus, "agent", session_id)
    await answered(agent, 1, "Once upon a time.")
    await spoken(bus, session_id, "Once upon a time.")
    await passed(bus, session_id, 60_000)
    await bus.inbox.played(session_id, 1, 0, 20_000)
    assert (await bus.inbox.interrupt(session_id, agent_type="personal")).turn is None
    accepted = await bus.inbox.interrupt(session_id, agent_type="personal", turn=1, played_ms=20_000)
    assert accepted.turn is None


async def test_no_more_was_heard_of_a_sentence_than_there_is(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    for segment in range(2):
        await speaker.emit(speech(session_id, "Once upon a time.", segment=segment))
    await passed(bus, session_id, 30_000)
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
        await passed(bus, session_id, 60_000)
    await bus.calls.command("XTRIM", k.speech, "MAXLEN", 1)
    assert await bus.calls.command("LLEN", k.spoken) == 8 * 3
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=10, played_ms=40_000)
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == "Words 0. Words 1."


async def test_of_a_sentence_on_its_way_no_more_is_heard_than_came(bus: Bus) -> None:
    session_id = await open_session(bus, "count")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    text = " ".join(f"number{word:04d}" for word in range(100))  # 66 s of usual speech
    await speaker.emit(speech(session_id, text, whole=False))
    await passed(bus, session_id, 60_000)
    await bus.inbox.interrupt(session_id, agent_type="personal")
    (cut,) = await cuts_of(bus, session_id)
    assert cut.heard == " ".join(f"number{word:04d}" for word in range(30))


async def test_a_sentence_that_could_not_be_spoken_was_not_heard(bus: Bus) -> None:
    session_id = await open_session(bus, "what time is it")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    speaker = await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Never spoken."))
    silent = Emission(1, "r1").speech(
        events.Envelope(session_id=session_id, turn=1),
        b"",
        segment=0,
        sample_rate=RATE,
        is_last=True,
        text="Never spoken.",
    )
    await speaker.emit(silent)
    await restart(agent)
    assert await agent.said(1) == {}
    assert await ear.interrupt("speech-1", agent_type="personal") == "what time is it"
    assert [cut.heard for cut in await cuts_of(bus, session_id)] == [""]


async def test_what_a_client_says_it_heard_was_heard_whatever_the_clock_says(bus: Bus) -> None:
    """It skipped the first answer; each turn has reports of its own."""
    session_id = await open_session(bus, "one", "two")
    agent, ear = await lease_of(bus, "agent", session_id), await listener(bus, session_id)
    speaker = await lease_of_speaker(bus, session_id)
    for turn, text in enumerate(["One two three four.", "Five six seven eight."], 1):
        await answered(agent, turn, text)
        await speaker.emit(speech(session_id, text, turn=turn))
    await passed(bus, session_id, 12_000)
    await bus.inbox.played(session_id, 1, 0, 5_000)
    await bus.inbox.played(session_id, 2, 0, 10_000)
    await bus.inbox.played(session_id, 1, 0, 6_000)
    assert await ear.interrupt("speech-1", agent_type="personal") == ""
    cuts = [(cut.heard, cut.joined) for cut in await cuts_of(bus, session_id)]
    assert cuts == [("One", False), ("Five six", False)]


async def test_a_report_of_speech_that_is_not_out_or_was_taken_back_counts_for_nothing(bus: Bus) -> None:
    session_id = await open_session(bus, "tell me a story")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await agent.next()
    await agent.emit(sentence("Once upon a time."))
    await speaker.emit(speech(session_id, "Once upon a time.", whole=False))
    await passed(bus, session_id, 15_000)
    await bus.inbox.played(session_id, 1, 0, 10_000)
    await restart(agent)
    await agent.emit(sentence("There was a king.", response="r2"))
    await speaker.emit(speech(session_id, "There was a king.", response="r2"))
    for turn, segment in ((1, 0), (1, 7), (1, 2**53), (2, 0), (9, 9)):
        await bus.inbox.played(session_id, turn, segment, 15_000)
    await bus.inbox.interrupt(session_id, agent_type="personal")
    assert [cut.heard for cut in await cuts_of(bus, session_id)] == [""]


@pytest.mark.parametrize(
    ("text", "played_ms", "heard"),
    [
        ("今天天气很好我们去公园散步吧", 10_000, "今天天气很好我"),
        ("See https://example.org/a-rather-long-address now", 10_000, "See https://example.org/"),
        ('He said "\\d+ %1" and\u2028left\x00.', 20_000, 'He said "\\d+ %1" and\u2028left\x00.'),
    ],
)
async def test_what_was_heard_is_cut_by_words_or_where_there_are_none_by_characters(
    bus: Bus, text: str, played_ms: int, heard: str
) -> None:
    session_id = await open_session(bus, "tell me")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    await answered(agent, 1, text)
    await speaker.emit(speech(session_id, text))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=played_ms)
    (entry,) = conversation_of(await bus.sessions.history(session_id))
    assert entry.assistant == heard


async def test_interruptions_take_no_room_in_the_history(bus: Bus) -> None:
    session_id = await open_session(bus, "one", "two")
    agent, speaker = await lease_of(bus, "agent", session_id), await lease_of_speaker(bus, session_id)
    for turn in (1, 2):
        await answered(agent, turn, f"Answer {turn}.", keep=3)
        await speaker.emit(speech(session_id, f"Answer {turn}.", turn=turn))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=10_000)
    await bus.inbox.submit(session_id, "three", agent_type="personal", message_id="m3")
    await answered(agent, 3, 'It is "100 %1".', keep=3)
    await speaker.emit(speech(session_id, 'It is "100 %1".', turn=3))
    await bus.inbox.interrupt(session_id, agent_type="personal", played_ms=20_000)
    entries = conversation_of(await bus.sessions.history(session_id))
    heard = [(1, "Answer", True), (2, "", True), (3, 'It is "100 %1".', True)]
    assert [(entry.turn, entry.assistant, entry.interrupted) for entry in entries] == heard


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
    turn, begins_ms, *_ = value.decode().split(":")
    seconds, micros = await bus.calls.command("TIME")
    assert turn == "2"
    assert float(begins_ms) <= int(seconds) * 1_000 + int(micros) // 1_000
