"""What is published, heard over one connection per process and server.

Redis loses published messages silently when a connection drops or its buffer overflows, and on a cluster when a
channel's slot moves. So every listener is told when some may have been lost.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

from voicebus.bus.calls import Calls
from voicebus.bus.ear import Ear
from voicebus.bus.server import Server
from voicebus.bus.servers import Servers
from voicebus.contract.errors import BusUnavailable

_AGAIN_S = 0.1  # until a channel that its server sent away is looked for again


class Listener(Protocol):
    """Gets a channel's messages. Both methods must return at once."""

    def messages(self, payloads: Sequence[bytes]) -> None:
        """Some that came together, in the order of publication."""

    def lost(self) -> None:
        """Messages may have been lost: read again what counts."""


class Subscriptions:
    """Any number of listeners on any number of channels, each heard at the server of its slot.

    `run` must be running.
    """

    def __init__(self, servers: Servers, calls: Calls, *, prefix: str, probe_s: float = 5.0) -> None:
        self._servers = servers
        self._calls = calls
        self._probe_stem = f"{prefix}:probe:{uuid4().hex}"
        self._probe_s = probe_s
        self._ears = {server: self._ear(server) for server in servers.all}
        self._tasks: dict[Server, asyncio.Task[None]] = {}
        self._listeners: dict[bytes, tuple[Listener, ...]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._at: dict[bytes, Ear] = {}
        self._missed: set[bytes] = set()  # channels whose listeners are to be told of the loss
        self._unsettled = asyncio.Event()
        servers.follow(self._unsettled.set)

    @property
    def deaf(self) -> bool:
        """Whether anything that is published now may not be heard."""
        return any(ear.deaf for ear in self._ears.values())

    @asynccontextmanager
    async def listening(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Everything published on the channel while inside reaches the listener, or it is told of the loss."""
        try:
            await self.add({channel: listener})
            yield
        finally:
            self.remove(channel, listener)

    async def add(self, listeners: dict[str, Listener], *, wait_s: float = 10.0) -> None:
        """Subscribes and waits until Redis has confirmed it. Also after a failure it listens until it is removed.

        Raises:
            BusUnavailable: it was not confirmed in time.
        """
        fresh = []
        for name, listener in listeners.items():
            channel = name.encode()
            listening = self._listeners.get(channel, ())
            if listener not in listening:
                self._listeners[channel] = (*listening, listener)
            if channel not in self._confirmed:
                self._confirmed[channel] = asyncio.Event()
                fresh.append(channel)
        self._place(fresh)
        try:
            async with asyncio.timeout(wait_s):
                for name in listeners:
                    if (confirmed := self._confirmed.get(name.encode())) is not None:
                        await confirmed.wait()
        except TimeoutError as error:
            raise BusUnavailable("Redis does not confirm the subscription.") from error

    def remove(self, channel_name: str, listener: Listener) -> None:
        """Takes the listener off; the last one of a channel unsubscribes."""
        channel = channel_name.encode()
        listeners = tuple(other for other in self._listeners.get(channel, ()) if other is not listener)
        if listeners:
            self._listeners[channel] = listeners
        if listeners or self._listeners.pop(channel, None) is None:
            return
        self._confirmed.pop(channel, None)
        self._missed.discard(channel)
        if (ear := self._at.pop(channel, None)) is not None:
            ear.remove(channel)

    async def run(self) -> None:
        """Listens, until cancelled, and follows the slots as they move."""
        async with asyncio.TaskGroup() as owner:
            self._settle(owner)
            while True:
                await self._unsettled.wait()
                self._unsettled.clear()
                self._settle(owner)

    def heard(self, channel: bytes, payloads: Sequence[bytes]) -> None:
        """An ear has messages."""
        for listener in self._listeners.get(channel, ()):
            listener.messages(payloads)

    def confirmed(self, channel: bytes) -> None:
        """An ear listens to the channel from now on."""
        if (confirmed := self._confirmed.get(channel)) is None:
            return
        confirmed.set()
        if channel in self._missed:
            self._missed.discard(channel)
            for listener in self._listeners.get(channel, ()):
                listener.lost()

    def lost(self, channels: Iterable[bytes]) -> None:
        """An ear does not listen to the channels for now."""
        for channel in channels:
            self._missed.add(channel)
            self._confirmed[channel].clear()

    def moved(self, channels: Iterable[bytes]) -> None:
        """An ear's server does not serve the channels any more."""
        for channel in channels:
            self._at.pop(channel)
            self.lost([channel])
        asyncio.get_running_loop().call_later(_AGAIN_S, self._unsettled.set)

    def _ear(self, server: Server) -> Ear:
        return Ear(server, self._servers, self._calls, self, probe_stem=self._probe_stem, probe_s=self._probe_s)

    def _settle(self, owner: asyncio.TaskGroup) -> None:
        """An ear for each server, and each channel at the ear of its slot's server."""
        for server in self._servers.all:
            if server not in self._ears:
                self._ears[server] = self._ear(server)
            if server not in self._tasks:
                self._tasks[server] = owner.create_task(self._ears[server].run())
            self._ears[server].settle()
        astray = [
            channel
            for channel in self._listeners
            if (ear := self._at.get(channel)) is None or ear.server != self._servers.of_channel(channel)
        ]
        for channel in astray:
            if (ear := self._at.pop(channel, None)) is not None:
                ear.remove(channel)
                self.lost([channel])
        self._place(astray)
        for server in self._ears.keys() - set(self._servers.all):
            del self._ears[server]
            self._tasks.pop(server).cancel()

    def _place(self, channels: list[bytes]) -> None:
        """Subscribes each at the server of its slot."""
        by_ear = defaultdict[Ear, list[bytes]](list)
        for channel in channels:
            # A server that came just now gets its ear, and its channels, in a moment.
            if (ear := self._ears.get(self._servers.of_channel(channel))) is not None:
                self._at[channel] = ear
                by_ear[ear].append(channel)
        for ear, of_ear in by_ear.items():
            ear.add(of_ear)
