"""Frames that are made ready, as a third-party client reads them, and how far a client is read ahead."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from gateway import frames
from gateway.frames import FramesProtocol, binary_frame, text_frame

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


class Transport(asyncio.Transport):
    """Notes what a protocol does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[bool] = []  # True: paused; False: resumed
        self.written = b""
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        self.pauses.append(True)

    def resume_reading(self) -> None:
        self.pauses.append(False)

    def write(self, data: Any) -> None:
        self.written += data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


def a_protocol() -> tuple[FramesProtocol, Transport]:
    config = Config(lambda scope: None, log_config=None)
    config.load()
    protocol = FramesProtocol(config, ServerState(), {})
    protocol.transport = transport = Transport()
    return protocol, transport


async def test_a_client_is_read_a_little_ahead_and_no_further() -> None:
    protocol, transport = a_protocol()
    for _ in range(frames._READ_AHEAD - 1):
        protocol.handle_text(Frame(Opcode.TEXT, b"{}"))
    assert transport.pauses == []
    protocol.handle_text(Frame(Opcode.TEXT, b"{}"))
    assert transport.pauses == [True]
    while not protocol.queue.empty():
        await protocol.receive()
    assert transport.pauses == [True, False]


async def test_a_message_in_any_number_of_empty_pieces_takes_no_memory() -> None:
    protocol, _ = a_protocol()
    protocol.handle_text(Frame(Opcode.TEXT, b"{", fin=False))
    for _ in range(1_000):
        protocol.handle_cont(Frame(Opcode.CONT, b"", fin=False))
    assert len(protocol.frames) == 1
    protocol.handle_cont(Frame(Opcode.CONT, b"}", fin=True))
    assert (await protocol.receive())["text"] == "{}"  # type: ignore[typeddict-item]


async def test_answers_to_pings_do_not_pile_up_before_a_client_that_does_not_read() -> None:
    protocol, transport = a_protocol()
    protocol.conn.state = OPEN
    ping = Frame(Opcode.PING, b"?")
    protocol.conn.recv_frame(ping)
    protocol.handle_ping()
    assert len(transport.written) == 3
    protocol.pause_writing()
    for _ in range(1_000):
        protocol.conn.recv_frame(ping)
        protocol.handle_ping()
    assert len(transport.written) == 3
    assert protocol.conn.data_to_send() == []
    protocol.resume_writing()
    protocol.conn.recv_frame(ping)
    protocol.handle_ping()
    assert len(transport.written) == 6


@pytest.mark.parametrize(
    ("looks", "lives"),
    [
        ([(100, 500), (200, 400), (200, 400), (300, 300)], True),  # it takes what waits before the ping
        ([(100, 500), (606, 0), (606, 20), (700, 0)], False),  # it has taken the ping, and more
        ([(100, 0), (106, 30), (106, 30), (150, 0)], False),  # nothing waited before it
        ([(100, 500), (100, 500), (100, 500), (100, 500)], False),  # it takes nothing
        ([(0, 0), (0, 0), (0, 0), (0, 0)], False),  # nobody knows
    ],
)
async def test_who_does_not_answer_lives_while_it_takes_what_waits_before_the_ping(
    monkeypatch: pytest.MonkeyPatch, looks: list[tuple[int, int]], lives: bool
) -> None:
    """What it has taken and what waits for it, at each ping and when its time is over."""
    answers = iter(looks)
    monkeypatch.setattr(frames, "_taken_and_waiting", lambda transport: next(answers, (0, 0)))
    protocol, transport = a_protocol()
    protocol.conn.state = OPEN
    protocol.ping_timeout = 100.0
    protocol.send_keepalive_ping()
    for _ in range(2):
        protocol.keepalive_timeout()
        if protocol.pong_timer:
            protocol.pong_timer.cancel()
    assert transport.aborted != lives
