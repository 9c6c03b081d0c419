"""WebSocket frames written straight to the socket, many with one system call.

uvicorn's protocol does the handshake, reads and closes; the application writes frames that are ready, through the
ASGI extension `voicebus.frames`. A server's frames are not masked, so the same bytes can go to any number of clients.
"""

import struct
from collections.abc import Sequence
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

EXTENSION: Final = "voicebus.frames"
_TOGETHER: Final = 64  # frames that are written at once; behind them the client's socket is waited for
_READ_AHEAD: Final = 16  # messages of a client that may wait; then its socket is not read
_SHORT: Final = struct.Struct(">BB")
_MEDIUM: Final = struct.Struct(">BBH")
_LONG: Final = struct.Struct(">BBQ")


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
    """uvicorn's protocol, which also writes frames that are ready, and reads a little ahead."""

    async def write_frames(self, frames: Sequence[bytes]) -> None:
        """Writes the frames in order; waits while the client doesn't read.

        Raises:
            WebSocketDisconnect: the connection is closing or closed.
        """
        for at in range(0, len(frames), _TOGETHER):
            await self.writable.wait()
            if self.disconnected or self.conn.state is not State.OPEN:
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


async def write_frames(socket: WebSocket, frames: Sequence[bytes]) -> None:
    """Writes frames to an accepted socket that `FramesProtocol` serves. Raises as it does."""
    await socket.scope["extensions"][EXTENSION]["write"](frames)
