"""A microphone stream arrives whole and once, wherever its connections break."""

from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voicebus_client.audio_buffer import AudioBuffer
from voicebus_client.errors import AudioRefused, make_error
from voicebus_client.outbox import Ack
from voicebus_client.upload import AudioSpec, Upload

FRAME = 4
Answer = dict[str, Any]


def upload(limit: int = 1_000, keep: int = 8) -> Upload:
    return Upload(AudioSpec(), AudioBuffer(limit, keep), frame_bytes=FRAME)


@dataclass
class Receiver:
    """The session's side: one stream, owned by a connection, as the bus keeps it."""

    owner: int | None = None
    stream: str | None = None
    closed: str | None = None
    data: bytearray = field(default_factory=bytearray)
    known: set[str] = field(default_factory=set)
    opened: int = 0

    def handle(self, connection: int, expected: int | None, frame: str | bytes) -> tuple[list[Answer], int | None]:
        """The answers, and the offset that the connection's next bytes have."""
        if isinstance(frame, bytes):
            return self._bytes(connection, expected, frame)
        message = orjson.loads(frame)
        if message["type"] == "audio.start":
            return self._start(connection, message)
        if self.stream != message["stream"]:
            code = None if self.closed == message["stream"] else "audio_not_open"
            return [_answer(message, code)], None
        if self.owner != connection:
            return [_answer(message, "audio_taken_over")], None
        self.stream, self.closed = None, message["stream"]
        return [_answer(message)], None

    def _start(self, connection: int, message: dict[str, Any]) -> tuple[list[Answer], int | None]:
        offset = message["offset"]
        if message["id"] in self.known and self.closed == message["stream"]:
            return [_answer(message)], None
        if self.stream != message["stream"]:
            if offset > 0:
                return [_answer(message, "audio_gap")], None
            self.stream, self.data = message["stream"], bytearray()
            self.opened += 1
        elif offset > len(self.data):
            return [_answer(message, "audio_gap")], None
        self.owner = connection
        self.known.add(message["id"])
        return [{"offset": len(self.data)}, _answer(message)], offset

    def _bytes(self, connection: int, expected: int | None, frame: bytes) -> tuple[list[Answer], int | None]:
        if expected is None or self.stream is None or self.owner != connection:
            return [{"code": "audio_not_open"}], None
        new = len(self.data) - expected
        assert new >= 0, "bytes were left out"
        self.data += frame[new:]
        return [{"offset": len(self.data)}], expected + len(frame)


def _answer(message: dict[str, Any], code: str | None = None) -> Answer:
    return {"id": message["id"]} if code is None else {"ref": message["id"], "code": code}


def tell(stream: Upload, answer: Answer) -> None:
    if "offset" in answer:
        stream.audio_acknowledged(answer["offset"])
    elif "id" in answer:
        assert stream.acknowledged(Ack(answer["id"], 1))
    elif "ref" in answer:
        assert stream.refused(answer["ref"], make_error(answer["code"]))
    else:
        stream.disturbed(make_error(answer["code"]))


@settings(max_examples=400)
@given(
    writes=st.lists(st.binary(min_size=1, max_size=11), max_size=8),
    cuts=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=6),
    heard=st.lists(st.booleans(), min_size=1),
)
def test_all_bytes_arrive_once_whatever_breaks(
    writes: list[bytes], cuts: list[tuple[int, int]], heard: list[bool]
) -> None:
    """Each cut: so many steps are taken on a connection, and the last few answers are lost.

    `heard`: whether an answer is read before the next frame goes out, over and over.
    """
    stream, receiver = upload(), Receiver()
    pending = list(writes)
    turns = cycle(heard)
    for connection, (steps, lost) in enumerate([*cuts, (1_000, 0)]):
        stream.linked(void=False)
        expected: int | None = None
        answers: list[Answer] = []
        for _ in range(steps):
            if pending and stream.started:
                stream.buffer.write(pending.pop(0))
            elif not pending:
                stream.stop()
            hears = next(turns)
            if answers and hears:
                tell(stream, answers.pop(0))
            frame = stream.next_frame()
            if frame is not None:
                more, expected = receiver.handle(connection, expected, frame)
                answers += more
            elif answers:
                tell(stream, answers.pop(0))
        for answer in answers[: max(0, len(answers) - lost)]:
            tell(stream, answer)
    assert stream.over
    assert stream.error is None
    assert bytes(receiver.data) == b"".join(writes)
    assert receiver.opened == 1
    assert receiver.closed == stream.stream


@given(st.lists(st.tuples(st.sampled_from(["write", "take", "ack", "rewind", "back"]), st.integers(0, 9)), max_size=60))
def test_the_buffer_keeps_its_order_and_its_bounds(steps: list[tuple[str, int]]) -> None:
    buffer, written = AudioBuffer(limit=20, keep=5), b""
    for step, size in steps:
        if step == "write":
            data = bytes((len(written) + i) % 251 for i in range(min(size, buffer.room)))
            buffer.write(data)
            written += data
        elif step == "take":
            start = buffer.sent
            assert buffer.take(size) == written[start : start + size]
        elif step == "ack":
            buffer.acknowledge(buffer.acked + size)
        elif step == "rewind":
            assert buffer.rewind() == buffer.acked
        else:
            assert buffer.roll_back() == buffer.base
        assert 0 <= buffer.base <= min(buffer.acked, buffer.sent)
        assert max(buffer.acked, buffer.sent) <= buffer.end == len(written)
        assert buffer.base >= min(buffer.acked - 5, buffer.sent)
        assert buffer.end - buffer.base <= 2 * 20 + 5


def begun(*, data: bytes = b"", acked: int = 0) -> Upload:
    """An open stream with everything sent."""
    stream = upload()
    stream.linked(void=False)
    stream.next_frame()
    stream.acknowledged(Ack(f"{stream.stream}.0", 1))
    stream.buffer.write(data)
    while stream.next_frame() is not None:
        pass
    stream.audio_acknowledged(acked)
    return stream


def sent(stream: Upload) -> dict[str, Any]:
    frame = stream.next_frame()
    assert isinstance(frame, str)
    message: dict[str, Any] = orjson.loads(frame)
    return message


def test_bytes_wait_for_the_answer_to_the_start() -> None:
    stream = upload()
    stream.linked(void=False)
    assert sent(stream) == {
        "type": "audio.start",
        "id": f"{stream.stream}.0",
        "stream": stream.stream,
        "offset": 0,
        "format": "pcm16",
        "sample_rate": 16_000,
        "channels": 1,
    }
    stream.buffer.write(b"abcdef")
    assert stream.next_frame() is None
    stream.acknowledged(Ack(f"{stream.stream}.0", 1))
    assert [stream.next_frame(), stream.next_frame(), stream.next_frame()] == [b"abcd", b"ef", None]


def test_a_new_connection_goes_on_behind_what_is_acknowledged() -> None:
    stream = begun(data=b"abcdefgh", acked=5)
    stream.linked(void=False)
    assert sent(stream)["offset"] == 5
    stream.acknowledged(Ack(f"{stream.stream}.5", 1))
    assert stream.next_frame() == b"fgh"


def test_after_a_rollback_it_goes_on_from_the_oldest_byte_that_is_kept() -> None:
    stream = begun(data=b"abcdefghijkl", acked=12)
    stream.linked(void=True)
    assert sent(stream)["offset"] == 4


@pytest.mark.parametrize("by_message", [True, False])
def test_a_server_that_lost_bytes_gets_the_older_ones_again(by_message: bool) -> None:
    stream = begun(data=b"abcdefghijkl", acked=12)
    if by_message:
        stream.linked(void=False)
        stream.refused(sent(stream)["id"], make_error("audio_gap"))
    else:
        stream.disturbed(make_error("audio_gap"))
    assert sent(stream)["offset"] == 4


def test_a_gap_before_the_oldest_byte_ends_the_stream() -> None:
    stream = begun(data=b"abcdefghijkl", acked=12)
    stream.linked(void=True)
    stream.refused(sent(stream)["id"], make_error("audio_gap"))
    assert stream.over
    assert isinstance(stream.error, AudioRefused)


def test_a_stop_whose_answer_was_lost_is_asked_for_before_the_stream_is_opened_again() -> None:
    stream = begun(data=b"abcd")
    stream.stop()
    stop = sent(stream)
    stream.linked(void=False)
    assert sent(stream) == stop
    stream.refused(stop["id"], make_error("audio_taken_over"))
    assert sent(stream)["type"] == "audio.start"


def test_overload_asks_for_another_connection() -> None:
    stream = begun(data=b"abcd")
    stream.disturbed(make_error("overloaded", temporary=True))
    asked = [stream.needs_link]
    stream.linked(void=False)
    asked.append(stream.needs_link)
    assert asked == [True, False]
    assert sent(stream)["offset"] == 0


def test_bytes_refused_before_the_stop_make_the_stop_fail() -> None:
    stream = begun(data=b"abcd")
    stream.stop()
    stop = sent(stream)
    stream.disturbed(make_error("overloaded", temporary=True))
    stream.acknowledged(Ack(stop["id"], 3))
    assert stream.stopped is None
    assert stream.error is not None
    assert stream.error.code == "overloaded"


def test_a_busy_session_refuses_the_stream_for_good() -> None:
    stream = upload()
    stream.linked(void=False)
    stream.refused(sent(stream)["id"], make_error("audio_busy", temporary=True))
    assert isinstance(stream.error, AudioRefused)


def test_a_stream_taken_by_another_connection_is_over() -> None:
    stream = begun(data=b"abcd")
    stream.disturbed(make_error("audio_taken_over"))
    assert isinstance(stream.error, AudioRefused)


def test_a_stream_left_in_a_hurry_is_stopped_without_its_rest() -> None:
    stream = begun()
    stream.buffer.write(b"abcd")
    stream.stop(abandon=True)
    assert sent(stream)["type"] == "audio.stop"
    never = upload()
    never.stop(abandon=True)
    assert never.over
