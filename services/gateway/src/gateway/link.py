"""One client's socket behind the handshake: frames in and out, pings, and an end that always comes.

Who writes asks `blocked` before.
"""

import asyncio
import os
import socket
import struct
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Final, Protocol

from gateway.frame_reader import NO_CODE, Closing, FrameReader, Ping, Pong, Violation
from gateway.frames import close_frame, ping_frame, pong_frame
from gateway.ticks import Acts, Ticks
from voicebus.contract.close import Close

_AT_ONCE: Final = memoryview(bytearray(32_768))  # for what is read; it is parsed at once, before reading can be paused
_MESSAGE: Final = (str, bytes)  # as a tuple it is looked up in a fifth of the time
_UNANSWERED_MOST: Final = 2  # pings
_LAST_WORDS_S: Final = 5.0  # for a client to make room for the close frame
_CLOSE_S: Final = 10.0  # for a client to answer it
_COUNT: Final = struct.Struct(">I")
_TCP_INFO: Final = struct.Struct("=120xQ")  # of Linux: tcpi_bytes_acked
_INT: Final = struct.Struct("i")


class Listener(Protocol):
    """Whom a link tells. All methods return at once."""

    def heard(self, message: str | bytes) -> None:
        """A message of the client."""

    def roomy(self) -> None:
        """The client takes more again, or is gone."""

    def gone(self, code: int | None) -> None:
        """The connection is over: by the client, or by the link itself with this code. Told once."""


class Link(asyncio.BufferedProtocol):
    """A WebSocket that is open.

    A client that takes nothing more is dropped in the end: after two pings, or when it was closed and does not go. One
    that reads slowly can't answer a ping yet that waits behind other data: while it takes of that, it lives.
    """

    __slots__ = (
        *(
            "_before_ping",
            "_closed_with",
            "_fileno",
            "_last_words",
            "_listener",
            "_ping_s",
            "_pings",
            "_reader",
            "_taken",
        ),
        *("_over", "_over_with", "_paused", "_ticks", "_timer", "_transport", "_unanswered", "_users", "_waiting"),
        "blocked",
    )

    def __init__(
        self, transport: asyncio.Transport, users: "set[Link]", *, message_max: int, ping_s: float | None
    ) -> None:
        self.blocked = False  # more would only wait
        self._transport = transport
        self._fileno = _fileno_of(transport)
        self._reader = FrameReader(message_max)
        self._listener: Listener | None = None
        self._users = users  # whom the server knows, for its end
        self._waiting: list[str | bytes] | None = None  # came before there was a listener
        self._closed_with: int | None = None  # by either side
        self._over = False
        self._over_with: int | None = None  # by us
        self._paused = False  # its next messages wait in its socket
        self._ticks: tuple[Ticks, Acts] | None = None  # that read the socket now, and whose it is
        self._last_words: bytes | None = None  # the close frame, while there is no room for it
        self._ping_s = ping_s
        self._pings = 0
        self._unanswered = 0  # in a row
        self._taken = 0  # bytes that the client's machine had acknowledged when the last ping was sent
        self._before_ping = 0  # bytes that were written before it
        transport.set_protocol(self)
        users.add(self)
        self._timer: asyncio.TimerHandle | None = None
        if ping_s:
            self._after(ping_s, self._ping)

    def listen(self, listener: Listener) -> None:
        """Who is told from now on, and of what came before."""
        if self._over:
            listener.gone(self._over_with)
            return
        self._listener = listener
        waiting, self._waiting = self._waiting, None
        if waiting:
            self.resume_reading()  # first: who hears them may stop it again
        for message in waiting or ():
            listener.heard(message)

    @property
    def is_open(self) -> bool:
        """Whether anything can be written."""
        return self._closed_with is None and not self._transport.is_closing()

    def write(self, frames: bytes) -> None:
        """Frames that are ready, in order; nothing happens once the connection closes."""
        if self._closed_with is None and not self._transport.is_closing():
            self._transport.write(frames)

    def close(self, code: int, reason: str = "") -> None:
        """Says why, and lets the client go first; who doesn't is dropped."""
        if self._closed_with is None and not self._transport.is_closing():
            self._closed_with = code
            frame = close_frame(code, reason)
            self.resume_reading()
            self.read_at(None)
            if self.blocked:
                self._last_words = frame
                self._after(_LAST_WORDS_S, self._transport.abort)
            else:
                self._say_last(frame)

    def pause_reading(self) -> None:
        """The client's next messages wait in its socket."""
        if not self._paused:
            self._paused = True
            self._read_on(False)

    def resume_reading(self) -> None:
        """They are welcome again."""
        if self._paused:
            self._paused = False
            self._read_on(True)

    def read_at(self, ticks: Ticks | None, who: Acts | None = None) -> None:
        """Reads the socket at ticks from now on, together with others; or at once again, whenever something comes.

        Nothing is begun once the connection closes: the socket's number may be another's by then.
        """
        if ticks is not None and not self.is_open:
            return
        if (ticks is None) != (self._ticks is None):
            if not self._paused:
                self._read_on(False)
            self._ticks = (ticks, who) if ticks and who else None
            if not self._paused:
                self._read_on(True)

    def _read_on(self, on: bool) -> None:
        if self._ticks is None:
            (self._transport.resume_reading if on else self._transport.pause_reading)()
            return
        ticks, who = self._ticks
        if on:
            ticks.add(self._fileno, who, self._read)
        else:
            ticks.remove(self._fileno)

    def _read(self) -> None:
        """At a tick, what has come. The end of it all is left to the transport to find."""
        try:
            size = os.readv(self._fileno, (_AT_ONCE,))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if size:
            self.buffer_updated(size)
        else:
            self.read_at(None)

    # What asyncio calls.

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Where to read to: the same for all, as it is emptied at once."""
        return _AT_ONCE

    def buffer_updated(self, nbytes: int) -> None:
        """The client has sent so many bytes."""
        self.take(bytes(_AT_ONCE[:nbytes]))

    def take(self, data: bytes) -> None:
        """Bytes of the client."""
        for message in self._reader.feed(data):
            if isinstance(message, _MESSAGE):
                if self._closed_with is None:
                    self._hand_on(message)
            elif isinstance(message, Ping):
                if not self.blocked:  # answers that are not read must not pile up
                    self.write(pong_frame(message.payload))
            elif isinstance(message, Pong):
                self._note_pong(message.payload)
            elif isinstance(message, Closing):
                self._answer_close(message)
            else:
                self._refuse(message)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self.blocked = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.blocked = False
        if self._last_words is not None:
            self._say_last(self._last_words)
            self._last_words = None
        if self._listener is not None:
            self._listener.roomy()

    def eof_received(self) -> None:
        """The client says nothing more: it is gone."""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The socket is closed."""
        self.read_at(None)
        self._users.discard(self)
        self._stop_timer()
        self._end(None)

    def shutdown(self) -> None:
        """The server stops."""
        self.close(Close.DRAINING)
        self._end(Close.DRAINING)
        self._transport.close()

    # The end.

    def _end(self, code: int | None) -> None:
        if not self._over:
            self._over, self._over_with = True, code
        listener, self._listener = self._listener, None
        if listener is not None:
            self.blocked = False
            listener.gone(code)
            listener.roomy()

    def _say_last(self, frame: bytes) -> None:
        self._transport.write(frame)
        self._after(_CLOSE_S, self._transport.abort)

    def _answer_close(self, closing: Closing) -> None:
        if self._closed_with is None:
            self._closed_with = closing.code
            self._transport.write(close_frame(None if closing.code == NO_CODE else closing.code))
        self._transport.close()
        self._after(_CLOSE_S, self._transport.abort)  # it may take nothing more
        self._end(None)

    def _refuse(self, violation: Violation) -> None:
        """Says why, and reads on for a moment: a socket that is closed on unread bytes takes its last words along."""
        if self._closed_with is None:
            self.close(violation.code, violation.reason)
            if self._last_words is None and self._transport.can_write_eof():
                self._transport.write_eof()
            self._end(violation.code)

    def _hand_on(self, message: str | bytes) -> None:
        if self._listener is not None:
            self._listener.heard(message)
            return
        if self._waiting is None:
            self._waiting = []
            self.pause_reading()
        self._waiting.append(message)

    # Whether the client is there.

    def _ping(self) -> None:
        self._taken, waiting = _taken_and_waiting(self._transport)
        self._before_ping = self._taken + waiting
        self._pings += 1
        self._transport.write(ping_frame(_COUNT.pack(self._pings)))
        self._after(self._ping_s or 0, self._pong_due)

    def _note_pong(self, payload: bytes) -> None:
        """The client lives, if it answers one of the last two pings; what nobody asked for says nothing."""
        if len(payload) == _COUNT.size and 0 <= self._pings - _COUNT.unpack(payload)[0] < _UNANSWERED_MOST:
            self._unanswered = -1

    def _pong_due(self) -> None:
        """Asks again, or closes if it has asked twice; what the client has not read by then is dropped with it."""
        taken, _ = _taken_and_waiting(self._transport)
        takes_on = self._taken < taken <= self._before_ping
        self._unanswered = 0 if takes_on else self._unanswered + 1
        if self._unanswered < _UNANSWERED_MOST:
            self._ping()
            return
        self._transport.write(close_frame(Close.INTERNAL, "keepalive ping timeout"))
        self._closed_with = Close.INTERNAL
        self._end(Close.INTERNAL)
        self._transport.abort()

    def _after(self, delay_s: float, act: Callable[[], object]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _fileno_of(transport: asyncio.Transport) -> int:
    """Its socket's number."""
    return int(transport.get_extra_info("socket").fileno())


def _taken_and_waiting(transport: asyncio.Transport) -> tuple[int, int]:
    """Bytes that the client's machine has acknowledged, and those that wait for it; zeros where no system tells."""
    try:
        tcp = transport.get_extra_info("socket")
        info = tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        sent = ioctl(tcp.fileno(), termios.TIOCOUTQ, bytes(_INT.size))
    except (AttributeError, OSError):  # not Linux; the connection is gone
        return 0, 0
    if len(info) < _TCP_INFO.size:  # of an old kernel
        return 0, 0
    return _TCP_INFO.unpack(info)[0], _INT.unpack(sent)[0] + transport.get_write_buffer_size()
