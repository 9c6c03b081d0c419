"""Frames: every event survives its way over the wire, in both forms."""

from base64 import b64encode
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebus_client.errors import BadFrame
from voicebus_client.events import pack_frame, parse_frame

numbers = st.integers(0, 2**53)
values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
data = st.dictionaries(st.text(max_size=8).filter(lambda name: name != "audio"), values, max_size=5)


@given(st.text(min_size=1, max_size=20), data, st.none() | numbers, st.none() | numbers)
def test_a_text_frame_gives_the_event_that_was_sent(
    kind: str, fields: dict[str, Any], seq: int | None, turn: int | None
) -> None:
    message = {"type": kind, "data": fields, "seq": seq, "turn": turn, "session_id": "s", "timestamp": "t"}
    event = parse_frame(orjson.dumps(message).decode(), 1.5)
    assert (event.type, event.data, event.seq, event.turn) == (kind, fields, seq, turn)
    assert (event.session_id, event.timestamp, event.audio, event.received_s) == ("s", "t", b"", 1.5)


@given(data, st.binary(max_size=200))
def test_speech_is_the_same_whether_it_comes_binary_or_as_base64(fields: dict[str, Any], audio: bytes) -> None:
    header = {"type": "tts", "turn": 3, "data": fields}
    binary = parse_frame(pack_frame(header, audio))
    text = parse_frame(orjson.dumps(header | {"data": fields | {"audio": b64encode(audio).decode()}}).decode())
    assert binary == text
    assert binary.audio == audio


@given(data, st.binary(max_size=50), st.integers(0, 200))
def test_a_binary_frame_cut_within_its_header_is_refused(fields: dict[str, Any], audio: bytes, cut: int) -> None:
    frame = pack_frame({"type": "tts", "data": fields}, audio)
    with pytest.raises(BadFrame):
        parse_frame(frame[: min(cut, len(frame) - len(audio) - 1)])


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"type": 1, "data": {}}',
        '{"type": "token", "data": []}',
        '{"type": "token", "seq": "1"}',
        '{"type": "token", "seq": true}',
        '{"type": "token", "seq": -1}',
        '{"type": "token", "turn": 1.5}',
        '{"type": "tts", "data": {"audio": "%%%"}}',
        '{"type": "tts", "data": {"audio": 7}}',
        b"",
        b"\0\0",
        b"\0\0\0\x09{}",
        b"\xff\xff\xff\xff{}",
        b"\0\0\0\x01\xff",
    ],
)
def test_what_is_not_of_the_protocol_is_refused(frame: str | bytes) -> None:
    with pytest.raises(BadFrame):
        parse_frame(frame)


def test_a_field_that_must_be_a_number_is_refused_otherwise() -> None:
    event = parse_frame('{"type": "ack", "data": {"seq": 4, "other": "4"}}')
    assert event.number("seq") == 4
    for name in ("other", "missing"):
        with pytest.raises(BadFrame):
            event.number(name)
