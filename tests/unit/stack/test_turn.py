"""When a turn is over, for whoever watches it."""

import pytest

from voicebus_client.events import Event
from voicebus_stack.turn import Turn


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
