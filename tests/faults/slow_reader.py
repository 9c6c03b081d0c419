"""A client that takes so many bytes a second from its socket, which holds few more."""

import asyncio
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from support.processes import bearer_of
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

_SOCKET_BYTES: Final = 2_048
_SIPS: Final = 10  # a second
_GULP_BYTES: Final = 262_144
_SILENT_S: Final = 40


class SlowReader(ABC):
    """Reads numbered events over one connection after the other; each goes on where the one before has ended."""

    def __init__(self, port: int, *, rate: int) -> None:
        self.seen: list[int] = []  # the numbers
        self.closed: list[int] = []  # the codes with which the server ended a connection
        self.connections = 0
        self._port = port
        self._rate = rate  # bytes a second
        self._hurried = False
        self._ended = False  # by the server
        self._taken = 0  # bytes, over this connection
        self._news = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """It is connected while inside, and reads slowly unless it is told to catch up."""
        self._hurried = self._ended = False
        self._taken = 0
        self.connections += 1
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
        """Returns when it has read slowly for so long, or the server ends the connection."""
        enough = self._taken + seconds * self._rate
        await self._until(lambda: self._taken >= enough)

    async def catch_up(self, count: int) -> None:
        """Returns when it has so many, reading as fast as it can, or the connection is over, or nothing comes."""
        self._hurried = True
        with suppress(TimeoutError):  # what did not come counts as lost
            while len(self.seen) < count and not self._ended:
                taken = self._taken
                async with asyncio.timeout(_SILENT_S):
                    await self._until(lambda taken=taken: self._taken > taken)  # type: ignore[misc]  # a default

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and not self._ended:
            self._news.clear()
            await self._news.wait()

    async def _read(self, raw: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self._port))
        path, headers = self._ask()
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self._port}{path}"))
        request = protocol.connect()
        request.headers.update(headers)
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
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                    self._take(protocol, bytes(frame.data).decode())
            self._news.set()
            if not came:
                break
            await asyncio.sleep(0 if self._hurried else 1 / _SIPS)
        self.closed.append(protocol.close_rcvd.code if protocol.close_rcvd else 1006)
        self._ended = True
        self._news.set()

    @abstractmethod
    def _ask(self) -> tuple[str, Headers]:
        """The path of the next connection and what its headers add: whoever connects is not welcome yet."""

    @property
    @abstractmethod
    def _welcomed(self) -> bool:
        """Whether the server has taken this connection for a client of its own."""

    @abstractmethod
    def _take(self, protocol: ClientProtocol, text: str) -> None:
        """What a frame brought."""


class SlowClient(SlowReader):
    """Of a gateway: reads a session's tokens, which begin with their numbers."""

    def __init__(self, port: int, session_id: str, sub: str, *, rate: int) -> None:
        super().__init__(port, rate=rate)
        self._session_id = session_id
        self._bearer = bearer_of(sub)
        self._seq = 0
        self._greeted = False

    def _ask(self) -> tuple[str, Headers]:
        self._greeted = False
        return f"/ai/ws/{self._session_id}?after={self._seq}", Headers(self._bearer)

    @property
    def _welcomed(self) -> bool:
        return self._greeted

    def _take(self, protocol: ClientProtocol, text: str) -> None:
        event = json.loads(text)
        self._greeted = self._greeted or event["type"] == "welcome"
        self._seq = event.get("seq", self._seq)
        if event["type"] == "token":
            self.seen.append(int(event["data"]["token"].partition(" ")[0]))


class SlowSocketioClient(SlowReader):
    """Of a Socket.IO server: reads the events of a session of `bench/peers/socketio/server.js`."""

    def __init__(self, port: int, session: str, *, rate: int) -> None:
        super().__init__(port, rate=rate)
        self.anew = 0  # connections after which Socket.IO said that it does not give what the client missed
        self._joins = {"session": session}  # who it is, and what it has
        self._joined_at: int | None = None  # bytes of this connection

    def _ask(self) -> tuple[str, Headers]:
        self._joined_at = None
        return "/socket.io/?EIO=4&transport=websocket", Headers()

    @property
    def _welcomed(self) -> bool:
        """All that it missed comes before the server says so: something has come since it asked."""
        return self._joined_at is not None and self._taken > self._joined_at

    def _take(self, protocol: ClientProtocol, text: str) -> None:
        """A packet of Engine.IO: 0 opens, 2 is a ping; 40 and 42 are Socket.IO's, for a connection and an event."""
        if text.startswith("0"):
            protocol.send_text(f"40{json.dumps(self._joins)}".encode())
            self._joined_at = self._taken
        elif text == "2":
            protocol.send_text(b"3")
        elif text.startswith("40"):
            pid = json.loads(text[2:])["pid"]
            self.anew += self._joins.get("pid", pid) != pid
            self._joins["pid"] = pid
        elif text.startswith("42"):
            _, number, _, self._joins["offset"] = json.loads(text[2:])
            self.seen.append(number)
