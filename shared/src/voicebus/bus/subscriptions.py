"""What is published, heard over one connection per process.

Redis loses published messages silently when a connection drops or its buffer overflows. So every listener is told
when some may have been lost, and a probe, published through the writing connection, shows a deaf one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import uuid4

import redis.asyncio as redis
import structlog

from voicebus.bus.calls import Calls
from voicebus.bus.wire import Reply, Wire, WireLost, open_wire
from voicebus.contract.errors import BusUnavailable, VoicebusError

_log = structlog.get_logger(__name__)
_PAUSES_S = (0.05, 0.2, 0.5, 1.0)


class Listener(Protocol):
    """Gets a channel's messages. Both methods must return at once."""

    def message(self, payload: bytes) -> None:
        """One message, in the order of publication."""

    def lost(self) -> None:
        """Messages may have been lost: read again what counts."""


class Subscriptions:
    """Any number of listeners on any number of channels. `run` must be running."""

    def __init__(self, pool: redis.ConnectionPool, calls: Calls, *, prefix: str, probe_s: float = 5.0) -> None:
        self._pool = pool
        self._calls = calls
        self._wire: Wire | None = None
        self._cut = asyncio.Event()
        self._restored: set[bytes] = set()  # channels whose listeners are to be told of the loss
        self._listeners: dict[bytes, set[Listener]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._asked: Counter[bytes] = Counter()  # SUBSCRIBEs on their way; only the last one's reply counts
        self._probe = f"{prefix}:probe:{uuid4().hex}".encode()
        self._probe_s = probe_s
        self._heard = asyncio.Event()
        self.deaf = True

    @asynccontextmanager
    async def listening(self, channel: str, listener: Listener) -> AsyncIterator[None]:
        """Everything published on the channel while inside reaches the listener, or it is told of the loss."""
        await self.add({channel: listener})
        try:
            yield
        finally:
            await self.remove(channel, listener)

    async def add(self, listeners: dict[str, Listener], *, wait_s: float = 10.0) -> None:
        """Subscribes and waits until Redis has confirmed it.

        Raises:
            BusUnavailable: it was not confirmed in time.
        """
        fresh = []
        for name, listener in listeners.items():
            channel = name.encode()
            self._listeners.setdefault(channel, set()).add(listener)
            if channel not in self._confirmed:
                self._confirmed[channel] = asyncio.Event()
                fresh.append(channel)
        if fresh and self._wire is not None:  # else the next connection subscribes to all
            self._subscribe(self._wire, fresh)
        try:
            async with asyncio.timeout(wait_s):
                for name in listeners:
                    if (confirmed := self._confirmed.get(name.encode())) is not None:
                        await confirmed.wait()
        except TimeoutError as error:
            for name, listener in listeners.items():
                await self.remove(name, listener)
            raise BusUnavailable("Redis does not confirm the subscription.") from error

    async def remove(self, channel_name: str, listener: Listener) -> None:
        """Takes the listener off; the last one of a channel unsubscribes."""
        channel = channel_name.encode()
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if listeners or channel not in self._listeners:
            return
        del self._listeners[channel]
        self._confirmed.pop(channel, None)
        if self._wire is not None:
            self._wire.send([(b"UNSUBSCRIBE", channel)])

    async def run(self) -> None:
        """Listens, until cancelled; reconnects when the connection drops or turns out deaf."""
        losses = 0
        try:
            while True:
                reason = await self._listen()
                self.deaf = True
                _log.warning("subscription_lost", reason=reason)
                await asyncio.sleep(_PAUSES_S[min(losses, len(_PAUSES_S) - 1)])
                losses += 1
        finally:
            self._close()

    async def _listen(self) -> str:
        """Listens until the connection is lost; returns why."""
        self._close()
        self._cut.clear()
        for confirmed in self._confirmed.values():
            confirmed.clear()
        self._restored = set(self._listeners)
        try:
            self._wire = await open_wire(self._pool, self._hear, self._cut.set)
        except WireLost as error:
            return str(error)
        self._asked.clear()
        self._subscribe(self._wire, [self._probe, *self._listeners])
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe_on())
            await self._cut.wait()
            probing.cancel()
        return "the connection was closed, or nothing comes over it"

    def _subscribe(self, wire: Wire, channels: list[bytes]) -> None:
        self._asked.update(channels)
        wire.send([(b"SUBSCRIBE", *channels)])

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _hear(self, reply: Reply) -> None:
        kind, channel, payload = reply
        if kind == b"message":
            if channel == self._probe:
                self._heard.set()
            for listener in tuple(self._listeners.get(channel, ())):
                listener.message(payload)
        elif kind == b"subscribe":
            self._asked[channel] -= 1
            if not self._asked[channel]:
                del self._asked[channel]
                self._confirm(channel)

    def _confirm(self, channel: bytes) -> None:
        if (confirmed := self._confirmed.get(channel)) is None:
            return
        confirmed.set()
        if channel in self._restored:
            self._restored.discard(channel)
            for listener in tuple(self._listeners.get(channel, ())):
                listener.lost()

    async def _probe_on(self) -> None:
        """Publishes to itself now and then; cuts the connection if that is not heard twice in a row."""
        misses = 0
        while misses < 2:
            self._heard.clear()
            try:
                await self._calls.command("PUBLISH", self._probe, b"?")
                async with asyncio.timeout(self._probe_s):
                    await self._heard.wait()
                self.deaf = False
                misses = 0
            except TimeoutError:
                misses += 1
                self.deaf = True
            except VoicebusError:
                self.deaf = True
            await asyncio.sleep(self._probe_s)
        self._cut.set()
