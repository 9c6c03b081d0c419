"""A turn's timeline, as it is printed."""

from voicebus_client.events import Event
from voicebus_stack.timeline import timeline
from voicebus_stack.turn import Turn


def event(kind: str, received_s: float, audio: bytes = b"", **data: object) -> Event:
    return Event(kind, data, seq=1, turn=1, audio=audio, received_s=received_s)


def chunk(received_s: float, segment: int) -> Event:
    return event("tts", received_s, bytes(3_200), segment=segment, sample_rate=16_000, is_last=True, text="One.")


def test_lines_stand_in_the_order_of_their_times() -> None:
    events = [event("token", 10.1), chunk(10.2, 0), event("token", 10.3), event("response", 10.4, content="One. Two.")]
    assert timeline(Turn(10.0, events)) == [
        "   0.100  token         2 from here on",
        "   0.200  tts           0.10 s in 1 chunk: One.",
        "   0.400  response      One. Two.",
    ]


def test_what_belongs_to_a_text_stands_apart_from_it_however_long_it_is() -> None:
    heard = event("stt", 1.0, is_final=True, text="what time is it", confidence=0.61)
    result = event("tool_result", 2.0, result="It is\nnoon. " * 20, outcome="ok", duration_ms=19)
    first, second = timeline(Turn(0.0, [heard, result]))
    assert first.endswith("final: what time is it   confidence 0.61")
    assert "It is noon. It is noon." in second
    assert second.endswith(" …   ok, 19 ms")
