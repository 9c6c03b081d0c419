"""Whole turns on real parts: speech in, transcript, tools, answer, speech out."""

import asyncio
import re
from pathlib import Path

from voicebus_client.client import Voicebus
from voicebus_stack.question import Question, bundled_question
from voicebus_stack.turn import Turn, say, speak

DATA = Path(__file__).parents[1] / "data"


async def spoken(voicebus: Voicebus, question: Question) -> Turn:
    session = await voicebus.create_session()
    async with voicebus.connect(session.session_id) as connection:
        return await speak(connection, question)


async def written(voicebus: Voicebus, text: str) -> Turn:
    session = await voicebus.create_session()
    async with voicebus.connect(session.session_id) as connection:
        return await say(connection, text)


async def test_a_spoken_question_is_understood_looked_up_and_answered_aloud(voicebus: Voicebus) -> None:
    turn = await spoken(voicebus, bundled_question())
    assert turn.transcript is not None
    assert turn.transcript.data["text"] == "what time is it in new york"
    assert turn.last_frame_s is not None
    assert len([event for event in turn.partials if event.received_s < turn.last_frame_s]) >= 2
    call, result, response = (turn.first(kind) for kind in ("tool_call", "tool_result", "response"))
    assert call is not None
    assert "new york" in str(call.data["parameters"]).lower()
    assert result is not None
    assert result.data["outcome"] == "ok"
    assert response is not None
    assert re.search(r"\d{1,2}:\d{2}", response.data["content"])
    assert "".join(token.data["token"] for token in turn.of("token")) == response.data["content"]
    audio, rate = turn.speech
    assert len(audio) > rate  # more than half a second


async def test_a_written_question_calls_the_tool_with_the_numbers_in_it(voicebus: Voicebus) -> None:
    turn = await written(voicebus, "please add twenty three and nineteen")
    response = turn.first("response")
    assert response is not None
    assert "42" in response.data["content"]
    assert len(turn.of("tool_call")) == 1


async def test_a_long_answer_is_heard_from_its_first_sentence_on_before_it_is_complete(voicebus: Voicebus) -> None:
    turn = await written(voicebus, "tell me ten facts about redis")
    kinds = [event.type for event in turn.events]
    assert kinds.index("tts") < kinds.index("response")
    response = turn.first("response")
    assert response is not None
    assert response.data["segments"] >= 10
    segments = [event.data["segment"] for event in turn.of("tts")]
    assert segments == sorted(segments)
    assert set(segments) == set(range(response.data["segments"]))


async def test_two_people_speak_at_the_same_time_in_sessions_of_their_own(voicebus: Voicebus) -> None:
    turns = await asyncio.gather(*(spoken(voicebus, bundled_question()) for _ in range(2)))
    for turn in turns:
        assert turn.transcript is not None
        assert turn.transcript.data["text"] == "what time is it in new york"


async def test_in_text_mode_nothing_is_spoken(voicebus: Voicebus) -> None:
    session = await voicebus.create_session(mode="text")
    async with voicebus.connect(session.session_id) as connection:
        turn = await say(connection, "please add two and two")
    response = turn.first("response")
    assert response is not None
    assert response.data["segments"] == 0
    assert turn.of("tts") == []


async def test_rest_can_wait_for_the_answer_and_shows_the_conversation(voicebus: Voicebus) -> None:
    session = await voicebus.create_session(mode="text")
    answer = await voicebus.send_message(session.session_id, "please add five and six", wait=True)
    assert answer.response is not None
    assert "11" in answer.response["content"]
    shown = await voicebus.session(session.session_id)
    assert [message.role for message in shown.history] == ["user", "assistant"]
