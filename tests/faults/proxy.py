"""A way from clients to servers that can be cut: by a reset, or so that nobody is told."""

import asyncio
import itertools
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import cast

_LINGER_NONE = struct.pack("ii", 1, 0)
_LEFT = (7, 8)  # Linux's TCP_CLOSE and TCP_CLOSE_WAIT: an RST or a FIN came


class End(asyncio.Protocol):
    """One side of a connection; what it gets goes out at the other side, at the pace of that."""

    other: "End"
    transport: asyncio.Transport

    def __init__(self, pair: "Pair") -> None:
        self._pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes to pass on."""
        pair = self._pair
        data = pair.proxy.passing(pair, data, up=self is pair.client)
        if data and not pair.deaf:
            self.other.transport.write(data)
            pair.to_client += len(data) if self is pair.server else 0

    def pause_writing(self) -> None:
        """This side takes no more for now."""
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        if not self._pair.deaf:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended; the other side learns of it, unless the line is dead."""
        self._pair.ended(self)

    @property
    def left(self) -> bool:
        """Whether who is at this side has closed the connection, even if nobody reads here any more."""
        raw = self.transport.get_extra_info("socket")
        if self.transport.is_closing() or raw is None:
            return True
        return raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT

    def reset(self) -> None:
        """Ends it by an RST: what is on its way is lost."""
        if (raw := self.transport.get_extra_info("socket")) is not None:
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.transport.abort()


class _Door(End):
    """The client's side, which waits for the other one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self._pair.proxy.open(self._pair)


class Pair:
    """A client's connection and the one to its server."""

    def __init__(self, proxy: "Proxy") -> None:
        self.client, self.server = _Door(self), End(self)
        self.client.other, self.server.other = self.server, self.client
        self.target = 0  # the server's port
        self.deaf = False
        self.to_client = 0  # bytes so far
        self.proxy = proxy

    def reset(self) -> None:
        """RST to both sides."""
        self.client.reset()
        self.server.reset()

    def swallow(self, *, taking: bool = False) -> None:
        """From now on nothing passes, and no side is told: a cable was pulled.

        `taking`: what comes is taken and thrown away, so that each side sees that the other's machine acknowledges it.
        """
        self.deaf = True
        for end in (self.client, self.server):
            if taking:
                end.transport.resume_reading()
            else:
                end.transport.pause_reading()

    def ended(self, end: End) -> None:
        """One side is gone."""
        if not self.deaf:
            end.other.transport.close()
        if self.client.transport.is_closing() and self.server.transport.is_closing():
            self.proxy.pairs.discard(self)


class Proxy:
    """Listens on a port of its own and takes each connection to the next of its targets that answers."""

    def __init__(self, targets: Sequence[int]) -> None:
        self.targets = list(targets)  # ports of 127.0.0.1; may be changed
        self.pairs: set[Pair] = set()  # that are open
        self.port = 0
        self._turn = itertools.count()
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """For clients of a gateway."""
        return f"http://127.0.0.1:{self.port}"

    def take(self) -> asyncio.Protocol:
        """A client comes."""
        return Pair(self).client

    def passing(self, pair: "Pair", data: bytes, *, up: bool) -> bytes:
        """What goes on of these bytes, which are for the server (`up`) or for the client."""
        return data

    def open(self, pair: "Pair") -> None:
        """Connects the pair to a target, or sends its client away."""
        opening = asyncio.get_running_loop().create_task(self._open(pair))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)

    async def _open(self, pair: Pair) -> None:
        loop, first = asyncio.get_running_loop(), next(self._turn)
        for i in range(len(self.targets)):
            pair.target = self.targets[(first + i) % len(self.targets)]
            with suppress(OSError):
                await loop.create_connection(lambda: pair.server, "127.0.0.1", pair.target)
                if pair.client.transport.is_closing():
                    pair.server.transport.abort()
                else:
                    self.pairs.add(pair)
                    pair.client.transport.resume_reading()
                return
        pair.server.transport = pair.client.transport
        pair.client.reset()

    def stop(self) -> None:
        """Ends all connections."""
        for opening in tuple(self._opening):
            opening.cancel()
        for pair in tuple(self.pairs):
            pair.reset()


@asynccontextmanager
async def proxy(targets: Sequence[int]) -> AsyncIterator[Proxy]:
    """A running proxy to these ports of 127.0.0.1."""
    async with serving(Proxy(targets)) as made:
        yield made


@asynccontextmanager
async def serving(made: Proxy) -> AsyncIterator[Proxy]:
    """The proxy listens while inside."""
    server = await asyncio.get_running_loop().create_server(made.take, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.stop()
        await server.wait_closed()
