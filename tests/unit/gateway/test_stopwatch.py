"""How long a user waits for an answer, as one connection sees it."""

import json
from typing import Any

import pytest

from gateway import metrics
from gateway.stopwatch import Stopwatch
from voicebus.bus.items import EventItem, SpeechItem
from voicebus.contract.commands import AudioStart, Text

RATE = 16_000
FRAME = 640  # bytes, 20 ms


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def event(kind: str, turn: int | None = None, **data: Any) -> EventItem:
    opening = {"seq": 1} | ({"turn": turn} if turn else {})
    body = {**opening, "type": kind, "session_id": "s", "data": data}
    return EventItem("e", 1, json.dumps(body, separators=(",", ":")).encode())


def speech(turn: int) -> SpeechItem:
    return SpeechItem("e", 1, 1, f'{{"type":"tts","turn":{turn},"data":{{}}}}'.encode(), b"")


def observed() -> dict[tuple[str, str], float]:
    """The sums of all histograms, by input and part."""
    return {
        (sample.labels["input"], sample.labels["part"]): sample.value
        for metric in metrics.turn_seconds.collect()
        for sample in metric.samples
        if sample.name.endswith("_sum")
    }


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stopwatch(clock: Clock) -> Stopwatch:
    return Stopwatch(clock)


class Measured:
    """What was observed since."""

    def __init__(self) -> None:
        self._before = observed()

    def __call__(self) -> dict[tuple[str, str], float]:
        now = observed()
        return {key: round(now[key] - self._before[key], 6) for key in now if now[key] - self._before[key] > 1e-9}


def test_a_text_is_timed_from_its_arrival_to_each_part_of_its_answer(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(Text(content="hello"))
    stopwatch.sent([event("user", 3)])
    clock.now += 0.5
    stopwatch.sent([event("token", 3), event("token", 3)])
    clock.now += 0.25
    stopwatch.sent([speech(3), speech(3)])
    clock.now += 0.25
    stopwatch.sent([event("response", 3)])
    assert measured() == {("text", "first_token"): 0.5, ("text", "first_speech"): 0.75, ("text", "response"): 1.0}


def test_it_runs_only_once_there_is_something_to_time(stopwatch: Stopwatch) -> None:
    stopwatch.command(AudioStart(stream="m", format="opus"))
    seen = [stopwatch.running]
    stopwatch.command(Text(content="hello"))
    assert [*seen, stopwatch.running] == [False, True]


def test_speech_is_timed_from_the_arrival_of_its_last_word(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(AudioStart(stream="m", format="pcm16", sample_rate=RATE))
    for _ in range(100):  # two seconds, as they are spoken
        clock.now += 0.02
        stopwatch.heard(FRAME)
    # The last word ended after one second, which was a second ago.
    stopwatch.sent([event("stt", is_final=True, end_ms=1_000), event("user", 7)])
    clock.now += 0.1
    stopwatch.sent([event("token", 7), speech(7), event("response", 7)])
    assert measured() == {
        ("voice", "transcript"): 1.0,
        ("voice", "first_token"): 1.1,
        ("voice", "first_speech"): 1.1,
        ("voice", "response"): 1.1,
    }


def test_a_stream_that_goes_on_here_is_timed_from_what_came_here(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(AudioStart(stream="m", format="pcm16", sample_rate=RATE, offset=50 * FRAME))
    for _ in range(50):
        clock.now += 0.02
        stopwatch.heard(FRAME)
    stopwatch.sent([event("stt", is_final=True, end_ms=900), event("user", 1)])
    assert measured() == {}
    stopwatch.sent([event("stt", is_final=True, end_ms=1_500), event("user", 2)])
    assert measured() == {("voice", "transcript"): 0.5}


@pytest.mark.parametrize("form", ["wav", "opus", "webm"])
def test_bytes_that_do_not_tell_the_time_are_not_timed(stopwatch: Stopwatch, form: Any) -> None:
    measured = Measured()
    stopwatch.command(AudioStart(stream="m", format=form))
    stopwatch.heard(FRAME)
    stopwatch.sent([event("stt", is_final=True, end_ms=10), event("user", 1), event("token", 1)])
    assert measured() == {}


def test_another_turn_s_answer_is_not_taken_for_this_one_s(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(Text(content="hello"))
    stopwatch.sent([event("token", 1), speech(1), event("user", 2)])
    clock.now += 1
    stopwatch.sent([event("token", 1), speech(1), event("response", 1)])
    assert measured() == {}


def test_what_is_said_in_an_answer_is_no_event(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(Text(content="hello"))
    stopwatch.sent([event("user", 2)])
    clock.now += 1
    stopwatch.sent([event("tool_call", 2, text='"type":"token"')])
    assert measured() == {}


def test_what_it_remembers_is_bounded(stopwatch: Stopwatch, clock: Clock) -> None:
    measured = Measured()
    stopwatch.command(AudioStart(stream="m", format="pcm16", sample_rate=RATE))
    for _ in range(10_000):
        clock.now += 0.02
        stopwatch.heard(FRAME)
    stopwatch.sent([event("stt", is_final=True, end_ms=1_000), event("user", 1)])
    assert measured() == {}
    stopwatch.sent([event("stt", is_final=True, end_ms=199_000), event("user", 2)])
    assert measured() == {("voice", "transcript"): 1.0}
