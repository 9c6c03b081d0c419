"""When a turn is over, for whoever watches it, and when its question was."""

import asyncio
from typing import cast

import pytest

from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError, make_error
from voicebus_client.events import Event
from voicebus_client.outbox import Ack
from voicebus_stack.turn import Turn, say


def event(kind: str, **data: object) -> Event:
    return Event(kind, data, seq=1, turn=1, timestamp="2026-01-01T10:20:30.456Z")


def turn_of(*events: Event) -> Turn:
    return Turn(0.0, events=list(events))


@pytest.mark.parametrize("end", [event("interrupted"), event("error", code="agent_failed")])
def test_a_turn_that_is_cut_short_is_over(end: Event) -> None:
    assert turn_of(event("user"), end).over


def test_a_sentence_that_cannot_be_spoken_does_not_end_its_turn() -> None:
    silent = event("error", code="tts_failed"), event("tts", segment=0, is_last=True)
    assert not turn_of(event("user"), *silent).over
    assert turn_of(event("user"), *silent, event("response", segments=1)).over


def test_a_question_ends_with_the_last_voiced_frame_that_its_transcript_covers() -> None:
    partial, final = event("stt", is_final=False, end_ms=900), event("stt", is_final=True, end_ms=1_000)
    turn = Turn(0.0, [partial], voiced=[(0, 5.0), (980, 6.0), (1_600, 6.6)])
    assert turn.last_voiced_s == 6.6
    turn.events.append(final)
    assert turn.last_voiced_s == 6.0


class Refusing:
    """A connection on which nothing comes but a refusal."""

    def send_text(self, content: str) -> asyncio.Future[Ack]:
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(make_error("overloaded"))
        return answer

    def __aiter__(self) -> "Refusing":
        return self

    async def __anext__(self) -> Event:
        never: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        return await never


async def test_who_is_refused_waits_for_no_answer() -> None:
    with pytest.raises(VoicebusError, match="overloaded"):
        await asyncio.wait_for(say(cast("Connection", Refusing()), "hello"), 5)
