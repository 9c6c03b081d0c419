"""WebSocket frames written straight to the socket, many with one system call.

uvicorn's protocol does the handshake, reads and closes; the application writes frames that are ready, through the
ASGI extension `voicebus.frames`. A server's frames are not masked, so the same bytes can go to any number of clients.
"""

import asyncio
import socket
import struct
import termios
from asyncio import BaseTransport
from collections.abc import Sequence
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.protocol import State

from voicebus.contract.close import Close

EXTENSION: Final = "voicebus.frames"
_TOGETHER: Final = 64  # frames that are written at once; behind them the client's socket is waited for
_READ_AHEAD: Final = 16  # messages of a client that may wait; then its socket is not read
_AT_ONCE: Final = 32_768  # bytes that are read; what they hold is parsed at once, before reading can be paused
_UNANSWERED_MOST: Final = 2  # pings
_LAST_WORDS_S: Final = 5.0  # for a client to make room for the close frame
_SHORT: Final = struct.Struct(">BB")
_MEDIUM: Final = struct.Struct(">BBH")
_LONG: Final = struct.Struct(">BBQ")
_TCP_INFO: Final = struct.Struct("=120xQ")  # of Linux: tcpi_bytes_acked
_INT: Final = struct.Struct("i")


def text_frame(payload: bytes) -> bytes:
    """UTF-8 text as one unmasked frame."""
    return _header(0x81, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Bytes as one unmasked frame."""
    return _header(0x82, len(payload)) + payload


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return _SHORT.pack(first, length)
    if length < 1 << 16:
        return _MEDIUM.pack(first, 126, length)
    return _LONG.pack(first, 127, length)


class FramesProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol, which also writes frames that are ready, and reads a little ahead.

    A client that takes nothing more is dropped in the end: after two pings, or when it was closed and does not go. One
    that reads slowly can't answer a ping yet that waits behind other data: while it takes of that, it lives.
    """

    _unanswered = 0  # pings in a row
    _asked_before: bytes | None = None  # the ping before the last one
    _taken = 0  # bytes that the client's machine had acknowledged when the last ping was sent
    _before_ping = 0  # bytes that were written before it

    def connection_made(self, transport: BaseTransport) -> None:
        """Reads little at a time: any number of messages may be in it."""
        super().connection_made(transport)
        transport.max_size = _AT_ONCE  # type: ignore[attr-defined]  # of asyncio's own transports

    async def write_frames(self, frames: Sequence[bytes]) -> None:
        """Writes the frames in order; waits while the client doesn't read.

        Raises:
            WebSocketDisconnect: the connection is closing or closed.
        """
        for at in range(0, len(frames), _TOGETHER):
            await self.writable.wait()
            if self.disconnected or self.transport.is_closing() or self.conn.state is not State.OPEN:
                raise WebSocketDisconnect(1006)
            self.transport.write(b"".join(frames[at : at + _TOGETHER]))

    def handle_connect(self, event: Request) -> None:
        """Offers the extension to the application, which runs in the loop's next round."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][EXTENSION] = {"write": self.write_frames}

    def send_receive_event_to_app(self) -> None:
        """Hands a message on; uvicorn would stop reading at each one."""
        was_paused, self.read_paused = self.read_paused, True
        super().send_receive_event_to_app()
        self.read_paused = was_paused
        if not was_paused and self.queue.qsize() >= _READ_AHEAD:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_cont(self, event: Frame) -> None:
        """Takes the next piece of a message; empty ones are not kept, because no size limit bounds their number."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answers, unless earlier answers are not read: they must not pile up."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def handle_pong(self, event: Frame) -> None:
        """The client lives, if it answers one of the last two pings; what nobody asked for says nothing."""
        if bytes(event.data) in (self.pending_ping_payload, self._asked_before):
            self._unanswered = 0
        super().handle_pong(event)

    def send_keepalive_ping(self) -> None:
        """Asks whether the client is there."""
        self._taken, waiting = _taken_and_waiting(self.transport)
        self._before_ping = self._taken + waiting
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Asks once more, then closes; what the client has not read by then is dropped with it."""
        taken, _ = _taken_and_waiting(self.transport)
        takes_on = self._taken < taken <= self._before_ping
        self._unanswered = 0 if takes_on else self._unanswered + 1
        if self._unanswered < _UNANSWERED_MOST:
            self._asked_before = self.pending_ping_payload
            self.send_keepalive_ping()
            return
        self._note_closed(Close.INTERNAL)
        super().keepalive_timeout()
        self.transport.abort()

    def _note_closed(self, code: int) -> None:
        if hasattr(self, "scope"):
            self.scope["extensions"][EXTENSION]["closed"] = code

    def handle_parser_exception(self) -> None:
        """Says why, and reads on for a moment: a socket that is closed on unread bytes takes its last words along."""
        if self.close_sent or self.conn.close_sent is None:
            return
        close = self.conn.close_sent
        self._note_closed(close.code)
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code, "reason": close.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    async def send(self, message: ASGISendEvent) -> None:
        """Sends a message of the application; a client that does not read the close frame is dropped."""
        if message["type"] == "websocket.close" and not self.writable.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    await self.writable.wait()
            if not self.writable.is_set():
                self.transport.abort()
                return
        await super().send(message)
        if message["type"] == "websocket.close" and self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)


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


async def write_frames(websocket: WebSocket, frames: Sequence[bytes]) -> None:
    """Writes frames to an accepted socket that `FramesProtocol` serves. Raises as it does."""
    await websocket.scope["extensions"][EXTENSION]["write"](frames)


def closed_by_protocol(websocket: WebSocket) -> int | None:
    """The code with which the protocol itself has closed: for a bad frame, or for want of pongs."""
    code: int | None = websocket.scope["extensions"][EXTENSION].get("closed")
    return code
