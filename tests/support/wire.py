"""A bare WebSocket client: sees every frame as it comes, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from support.processes import RunningGateway, bearer_of
from voicebus_client.dial import Socket

Message = dict[str, Any]


class Wire:
    """One socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[Message] = []

    async def send(self, **message: Any) -> None:
        """Sends a JSON message."""
        await self.socket.send(json.dumps(message))

    async def receive(self) -> Message:
        """The next message; speech's raw audio under `audio`."""
        async with asyncio.timeout(20):
            frame = await self.socket.recv()
        message = parse(frame)
        self.seen.append(message)
        return message

    async def until(self, wanted: str | Callable[[Message], bool]) -> Message:
        """Receives until a message has this type or passes this test; returns that one."""
        while True:
            message = await self.receive()
            if message["type"] == wanted if isinstance(wanted, str) else wanted(message):
                return message

    async def close_code(self) -> int:
        """Receives until the other side closes; returns its code."""
        with suppress(ConnectionClosed):
            while True:
                await self.receive()
        return int(self.socket.close_code or 1006)

    def cut(self) -> None:
        """Drops the TCP connection, without a word."""
        self.socket.transport.abort()


def parse(frame: str | bytes) -> Message:
    """A text or binary frame."""
    if isinstance(frame, str):
        return dict(json.loads(frame))
    length = int.from_bytes(frame[:4], "big")
    message: Message = json.loads(frame[4 : 4 + length])
    message["data"]["audio"] = frame[4 + length :]
    return message


@asynccontextmanager
async def wire(
    gateway: RunningGateway, session_id: str, query: str = "", *, sub: str = "alice", **options: Any
) -> AsyncIterator[Wire]:
    """A socket to the session, as this user."""
    options = {"additional_headers": bearer_of(sub), "close_timeout": 1, **options}
    url = f"{gateway.ws}/ai/ws/{session_id}{query}"
    async with websockets.connect(url, max_size=None, create_connection=Socket, **options) as socket:
        yield Wire(socket)
