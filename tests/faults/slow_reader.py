"""A client that takes so many bytes a second from its socket, which holds few more."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from support.processes import bearer_of
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

_SOCKET_BYTES: Final = 2_048
_SIPS: Final = 10  # a second
_GULP_BYTES: Final = 262_144


class SlowReader:
    """Reads a session's tokens over one connection after the other; each goes on where the one before has ended."""

    def __init__(self, port: int, session_id: str, sub: str, *, rate: int) -> None:
        self.seen: list[int] = []  # the numbers in the tokens
        self.closed: list[int] = []  # the codes with which the gateway ended a connection
        self._port = port
        self._path = f"/ai/ws/{session_id}"
        self._bearer = bearer_of(sub)["Authorization"]
        self._rate = rate  # bytes a second
        self._seq = 0
        self._hurried = False
        self._welcomed = False
        self._ended = False  # by the gateway
        self._taken = 0  # bytes, over this connection
        self._news = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """It is connected while inside, and reads slowly unless it is told to catch up."""
        self._hurried = self._welcomed = self._ended = False
        self._taken = 0
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
            raw.setblocking(False)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(raw))
                try:
                    async with asyncio.timeout(20):
                        await self._until(lambda: self._welcomed)
                    yield
                finally:
                    reading.cancel()

    async def goes_on_for(self, seconds: float) -> None:
        """Returns when it has read slowly for so long, or the gateway ends the connection."""
        enough = self._taken + seconds * self._rate
        await self._until(lambda: self._taken >= enough)

    async def catch_up(self, count: int) -> None:
        """Returns when it has so many tokens, reading as fast as it can, or the gateway ends the connection."""
        self._hurried = True
        await self._until(lambda: len(self.seen) >= count)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and not self._ended:
            self._news.clear()
            await self._news.wait()

    async def _read(self, raw: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self._port))
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self._port}{self._path}?after={self._seq}"))
        request = protocol.connect()
        request.headers["Authorization"] = self._bearer
        protocol.send_request(request)
        while True:
            for data in protocol.data_to_send():
                await loop.sock_sendall(raw, data)
            if self._hurried:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _GULP_BYTES)
            came = await loop.sock_recv(raw, _GULP_BYTES if self._hurried else self._rate // _SIPS)
            self._taken += len(came)
            protocol.receive_data(came)
            for frame in protocol.events_received():
                self._take(frame)
            self._news.set()
            if not came:
                break
            await asyncio.sleep(0 if self._hurried else 1 / _SIPS)
        self.closed.append(protocol.close_rcvd.code if protocol.close_rcvd else 1006)
        self._ended = True
        self._news.set()

    def _take(self, frame: object) -> None:
        if not isinstance(frame, Frame) or frame.opcode is not Opcode.TEXT:
            return
        event = json.loads(bytes(frame.data))
        self._welcomed = self._welcomed or event["type"] == "welcome"
        if "seq" in event:
            self._seq = event["seq"]
        if event["type"] == "token":
            self.seen.append(int(event["data"]["token"].partition(" ")[0]))
