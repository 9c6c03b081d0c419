"""What a client's bytes say: compared with a third-party server that reads the same, however they are cut."""

import struct
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gateway.frame_reader import Closing, FrameReader, Incoming, Ping, Pong, Violation

LIMIT = 1_000
Piece = tuple[int, bytes, bool]  # opcode, payload, whether it is the last of its message

data = st.one_of(st.binary(max_size=200), st.sampled_from([125, 126, 127, LIMIT - 1, LIMIT, LIMIT + 1]).map(bytes))
text = st.text(max_size=100).map(str.encode)
piece = st.one_of(
    st.tuples(st.just(2), data, st.booleans()),
    st.tuples(st.just(1), text, st.booleans()),
    st.tuples(st.just(0), text, st.booleans()),
    st.tuples(st.sampled_from([9, 10]), st.binary(max_size=125), st.just(value=True)),
)
cuts = st.lists(st.integers(0, 3_000), max_size=30)


def packed(pieces: Sequence[Piece]) -> bytes:
    return b"".join(Frame(Opcode(opcode), payload, fin).serialize(mask=True) for opcode, payload, fin in pieces)


def cut(whole: bytes, at: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(min(place, len(whole)) for place in at), len(whole)]
    return [whole[first:last] for first, last in pairwise(places)]


def heard(chunks: Sequence[bytes], limit: int = LIMIT) -> list[Incoming]:
    reader = FrameReader(limit)
    return [message for chunk in chunks for message in reader.feed(chunk)]


def heard_by_websockets(whole: bytes) -> tuple[list[Incoming], int | None]:
    """What it hears of it, and with which code it closes then; messages are put together here as uvicorn does."""
    server = ServerProtocol(state=OPEN, max_size=LIMIT)
    server.receive_data(whole)
    found: list[Incoming] = []
    pieces: list[bytes] = []
    opcode = Opcode.TEXT
    for frame in server.events_received():
        assert isinstance(frame, Frame)
        payload = bytes(frame.data)
        if frame.opcode is Opcode.PING:
            found.append(Ping(payload))
        elif frame.opcode is Opcode.PONG:
            found.append(Pong(payload))
        elif frame.opcode is Opcode.CLOSE:
            assert server.close_rcvd is not None
            found.append(Closing(server.close_rcvd.code, server.close_rcvd.reason))
        else:
            if frame.opcode is not Opcode.CONT:
                opcode, pieces = frame.opcode, []
            pieces.append(payload)
            if frame.fin:
                message = b"".join(pieces)
                found.append(message.decode() if opcode is Opcode.TEXT else message)
    failed = server.parser_exc is not None and server.close_sent is not None
    return found, server.close_sent.code if failed and server.close_sent else None


def fit(pieces: Sequence[Piece]) -> bool:
    """Whether each control frame has room in what is left for the message around it: websockets wants that, too."""
    size = 0
    for opcode, payload, is_last in pieces:
        if opcode > 8:
            if len(payload) > LIMIT - size:
                return False
        else:
            size = 0 if is_last else size + len(payload)
    return True


@given(st.lists(piece, max_size=8).filter(fit), cuts)
@example([(1, b"{", False), (0, b"", False), (9, b"?", True), (0, b"}", True)], [1, 2, 3])
def test_it_hears_what_a_third_party_server_hears(pieces: list[Piece], at: list[int]) -> None:
    whole = packed(pieces)
    expected, code = heard_by_websockets(whole)
    got = heard(cut(whole, at))
    if code is None:
        assert got == expected
    else:
        assert got[:-1] == expected
        assert isinstance(got[-1], Violation)
        assert got[-1].code == code


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xc1\x80\0\0\0\0", 1002),  # a reserved bit
        (b"\x81\x01x", 1002),  # no mask
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x8b\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),  # a ping in pieces
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),  # a ping of 126 bytes
        (b"\x80\x80\0\0\0\0", 1002),  # goes on with nothing
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),  # begins before the one before has ended
        (b"\x82\xff" + struct.pack(">Q", LIMIT + 1), 1009),  # said, not sent
        (b"\x82\xff" + b"\xff" * 8, 1009),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x88\x81\0\0\0\0x", 1002),
        (b"\x88\x82\0\0\0\0" + struct.pack(">H", 1005), 1002),
        (b"\x88\x83\0\0\0\0" + struct.pack(">H", 1000) + b"\xff", 1007),
    ],
)
def test_what_breaks_the_protocol_is_the_last_that_is_heard(frame: bytes, code: int) -> None:
    for chunks in ([frame], [bytes([byte]) for byte in frame]):
        reader = FrameReader(LIMIT)
        got = [message for chunk in chunks for message in reader.feed(chunk)]
        assert [(type(message), message.code) for message in got if isinstance(message, Violation)] == [
            (Violation, code)
        ]
        assert reader.feed(packed([(1, b"hello", True)])) == []


def test_a_message_in_pieces_has_the_limit_of_a_whole_one() -> None:
    pieces: list[Piece] = [(2, bytes(LIMIT), False), (0, b"x", True)]
    got = heard([packed(pieces)])
    assert isinstance(got[0], Violation)
    assert got[0].code == 1009


def test_a_message_in_any_number_of_empty_pieces_takes_no_memory() -> None:
    reader = FrameReader(LIMIT)
    reader.feed(packed([(1, b"{", False)]))
    for _ in range(1_000):
        assert reader.feed(packed([(0, b"", False)])) == []
    assert reader._pieces == [b"{"]
    assert reader.feed(packed([(0, b"}", True)])) == ["{}"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", Closing(1005, "")),
        (struct.pack(">H", 1000), Closing(1000, "")),
        (struct.pack(">H", 4999) + "süß".encode(), Closing(4999, "süß")),
    ],
)
def test_a_client_closes(payload: bytes, expected: Closing) -> None:
    whole = packed([(8, payload, True), (1, b"nobody hears this", True)])
    assert heard([whole]) == [expected]
