"""One end of an open WebSocket: what is read ahead, answered, and dropped in the end."""

import asyncio
import socket
import struct
from typing import Any

import pytest
from support.process_tree import until
from websockets.frames import Close, Frame, Opcode

from gateway import link as links
from gateway.frames import close_frame, pong_frame
from gateway.link import Link
from gateway.ticks import TICK_S, Ticks

INTERVAL_S = 100.0


class Transport(asyncio.Transport):
    """Notes what a protocol does with it."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.written = b""
        self.ended = ""

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        pass

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: Any) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = "said all"

    def get_write_buffer_size(self) -> int:
        return 1  # it writes all itself

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def fileno(self) -> int:
        return -1


class Listener:
    """Notes what a link tells."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.codes: list[int | None] = []
        self.roomy_times = 0

    def heard(self, message: str | bytes) -> None:
        self.messages.append(message)

    def roomy(self) -> None:
        self.roomy_times += 1

    def gone(self, code: int | None) -> None:
        self.codes.append(code)


def a_link() -> tuple[Link, Transport, Listener, set[Link]]:
    transport, users = Transport(), set[Link]()
    return Link(transport, users, message_max=1_000, ping_s=INTERVAL_S), transport, Listener(), users


def client_frame(opcode: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


async def test_what_comes_before_anybody_listens_is_kept_and_no_more_is_read() -> None:
    link, transport, listener, _ = a_link()
    link.take(client_frame(Opcode.TEXT, b"{}") + client_frame(Opcode.BINARY, b"a"))
    assert not transport.reading
    link.listen(listener)
    assert listener.messages == ["{}", b"a"]
    assert transport.reading


async def test_who_begins_to_listen_when_the_client_has_gone_is_told() -> None:
    link, _, listener, users = a_link()
    link.connection_lost(None)
    link.listen(listener)
    assert listener.codes == [None]
    assert not users


async def test_who_begins_to_listen_to_a_client_that_broke_the_protocol_is_told() -> None:
    link, _, listener, _ = a_link()
    link.take(b"\x81\x01x")
    link.listen(listener)
    link.connection_lost(None)
    assert listener.codes == [1002]


async def test_answers_to_pings_do_not_pile_up_before_a_client_that_does_not_read() -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link.take(client_frame(Opcode.PING, b"?"))
    assert transport.written == pong_frame(b"?")
    link.pause_writing()
    link.take(client_frame(Opcode.PING, b"?") * 1_000)
    assert transport.written == pong_frame(b"?")
    link.resume_writing()
    assert listener.roomy_times == 1
    link.take(client_frame(Opcode.PING, b"!"))
    assert transport.written == pong_frame(b"?") + pong_frame(b"!")


@pytest.mark.parametrize("payload", [b"", struct.pack(">H", 1000) + b"bye"])
async def test_a_client_that_closes_is_answered_with_its_own_code(payload: bytes) -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link.take(client_frame(Opcode.CLOSE, payload))
    assert transport.written == close_frame(1000 if payload else None)
    assert transport.ended == "closed"
    link.connection_lost(None)
    assert listener.codes == [None]


async def test_who_is_closed_says_nothing_more_and_hears_nothing_more() -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link.close(4401, "token_expired")
    link.write(b"late")
    link.take(client_frame(Opcode.TEXT, b"{}"))
    assert not link.is_open
    assert transport.written == close_frame(4401, "token_expired")
    assert not listener.messages
    link.take(client_frame(Opcode.CLOSE, struct.pack(">H", 4401)))
    assert transport.written == close_frame(4401, "token_expired")
    assert transport.ended == "closed"


async def test_the_last_words_wait_for_room() -> None:
    link, transport, _, _ = a_link()
    link.pause_writing()
    link.close(4510, "session_ended")
    assert not transport.written
    link.resume_writing()
    assert transport.written == close_frame(4510, "session_ended")


async def test_who_breaks_the_protocol_is_told_why_and_read_on_for_a_moment() -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link.take(client_frame(Opcode.BINARY, bytes(1_001)))
    assert Close.parse(transport.written[2:]).code == 1009
    assert transport.ended == "said all"
    assert transport.reading
    assert listener.codes == [1009]
    link.connection_lost(None)
    assert listener.codes == [1009]


async def test_the_server_stops() -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link.shutdown()
    assert transport.written == close_frame(1012)
    assert transport.ended == "closed"
    assert listener.codes == [1012]


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
    monkeypatch.setattr(links, "_taken_and_waiting", lambda transport: next(answers, (0, 0)))
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link._ping()
    for _ in range(2):
        link._pong_due()
    assert (transport.ended == "aborted") != lives
    assert listener.codes == ([] if lives else [1011])
    link._stop_timer()


@pytest.mark.parametrize(("answered", "lives"), [(1, True), (2, True), (0, False), (3, False)])
async def test_one_of_the_last_two_pings_is_to_be_answered(answered: int, lives: bool) -> None:
    link, transport, listener, _ = a_link()
    link.listen(listener)
    link._ping()
    link._pong_due()  # asks again
    link.take(client_frame(Opcode.PONG, struct.pack(">I", answered)))
    link._pong_due()
    assert (transport.ended != "aborted") == lives
    link._stop_timer()


class Socketed(Transport):
    """With a socket that it does not read itself."""

    def __init__(self, own: socket.socket) -> None:
        super().__init__()
        self.own = own

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.own if name == "socket" else default


def reads(transport: Transport) -> bool:
    return transport.reading


class Owner:
    """Notes failures."""

    def __init__(self) -> None:
        self.failures = 0

    def fail(self) -> None:
        self.failures += 1


async def test_who_speaks_is_read_at_ticks_and_otherwise_by_the_transport() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    transport, listener, ticks, owner = Socketed(here), Listener(), Ticks(), Owner()
    link = Link(transport, set(), message_max=1_000, ping_s=None)
    link.listen(listener)
    link.read_at(ticks, owner)
    assert reads(transport) is False
    there.send(client_frame(Opcode.BINARY, b"a"))
    await until(lambda: listener.messages == [b"a"])

    link.pause_reading()
    there.send(client_frame(Opcode.BINARY, b"b"))
    await asyncio.sleep(3 * TICK_S)
    assert (listener.messages, reads(transport)) == ([b"a"], False)
    link.resume_reading()
    await until(lambda: listener.messages == [b"a", b"b"])

    link.read_at(None)
    assert reads(transport) is True
    link.pause_reading()
    link.read_at(ticks, owner)
    assert reads(transport) is False
    link.resume_reading()
    assert reads(transport) is False
    there.close()
    await until(lambda: reads(transport))  # it finds that the client has gone
    link.read_at(ticks, owner)
    link.connection_lost(None)
    here.close()
    assert (listener.codes, owner.failures) == ([None], 0)
    ticks.close()


async def test_who_is_sent_away_while_it_speaks_is_read_by_the_transport_again() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    transport, ticks = Socketed(here), Ticks()
    link = Link(transport, set(), message_max=1_000, ping_s=None)
    link.listen(Listener())
    link.read_at(ticks, Owner())
    link.pause_reading()
    link.close(4000)
    assert reads(transport) is True
    link.connection_lost(None)
    ticks.close()
    here.close()
    there.close()


async def test_who_has_gone_is_not_read_by_a_number_that_is_another_s_now() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    ticks = Ticks()
    link = Link(Socketed(here), set(), message_max=1_000, ping_s=None)
    link.listen(Listener())
    link.take(client_frame(Opcode.CLOSE, b""))
    link.connection_lost(None)
    link.read_at(ticks, Owner())  # what the client said last was an audio.start
    there.send(b"for the next one")
    await asyncio.sleep(3 * TICK_S)
    assert here.recv(100) == b"for the next one"
    ticks.close()
    here.close()
    there.close()
