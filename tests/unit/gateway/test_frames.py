"""Frames that are made ready, as a third-party client reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from gateway.frames import binary_frame, close_frame, ping_frame, pong_frame, text_frame

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000]


def read(data: bytes) -> list[Frame]:
    client = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=OPEN, max_size=None)
    client.receive_data(data)
    return [event for event in client.events_received() if isinstance(event, Frame)]


@pytest.mark.parametrize("size", SIZES)
def test_frames_of_any_size_are_read_as_they_were_made(size: int) -> None:
    text, audio = b"x" * size, b"\x00" * size
    got = read(text_frame(text) + binary_frame(audio))
    assert [(frame.opcode, bytes(frame.data)) for frame in got] == [(Opcode.TEXT, text), (Opcode.BINARY, audio)]


@given(st.lists(st.text(max_size=300), max_size=20))
def test_frames_that_are_joined_are_told_apart(texts: list[str]) -> None:
    got = read(b"".join(text_frame(text.encode()) for text in texts))
    assert [bytes(frame.data).decode() for frame in got] == texts


def test_control_frames() -> None:
    got = read(ping_frame(b"1") + pong_frame(b"2") + close_frame(1012, "ü" * 100))
    assert [(frame.opcode, bytes(frame.data)) for frame in got[:2]] == [(Opcode.PING, b"1"), (Opcode.PONG, b"2")]
    assert Close.parse(got[2].data) == Close(1012, "ü" * 61)  # as much of it as there is room for
    assert read(close_frame(None))[0].data == b""
