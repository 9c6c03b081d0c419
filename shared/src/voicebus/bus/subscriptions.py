"""What is published, heard over one connection per process.

Redis loses published messages silently when a connection drops or its buffer overflows. So every listener is told
when some may have been lost, and a probe, published through the writing connection, shows a deaf one.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol
from uuid import uuid4

import redis.asyncio as redis
import structlog
from redis.exceptions import RedisError

from voicebus.bus.calls import Calls
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

    def __init__(self, client: redis.Redis, calls: Calls, *, prefix: str, probe_s: float = 5.0) -> None:
        self._client = client
        self._calls = calls
        self._pubsub = client.pubsub()
        self._listeners: dict[bytes, set[Listener]] = {}
        self._confirmed: dict[bytes, asyncio.Event] = {}
        self._probe = f"{prefix}:probe:{uuid4().hex}"
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
        if fresh:
            with suppress(RedisError, OSError):  # the reading task reconnects and subscribes to all
                await self._pubsub.subscribe(*fresh)
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
        with suppress(RedisError, OSError):
            await self._pubsub.unsubscribe(channel)

    async def run(self) -> None:
        """Reads, until cancelled; reconnects when the connection drops or turns out deaf."""
        losses = 0
        while True:
            try:
                await self._connect()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read())
                    tasks.create_task(self._probe_on())
            except* (RedisError, OSError, _Deaf) as group:
                self.deaf = True
                _log.warning("subscription_lost", reason=str(group.exceptions[0]))
            losses += 1
            await asyncio.sleep(_PAUSES_S[min(losses, len(_PAUSES_S)) - 1])

    async def close(self) -> None:
        """Closes the connection."""
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    async def _connect(self) -> None:
        with suppress(RedisError, OSError):
            await self.close()
        self._pubsub = self._client.pubsub()
        await self._pubsub.subscribe(self._probe)
        for confirmed in self._confirmed.values():
            confirmed.clear()
        if self._listeners:
            await self._pubsub.subscribe(*self._listeners)

    async def _read(self) -> None:
        pending = set(self._listeners)
        while True:
            reply = await self._pubsub.parse_response(block=True)
            if reply is None:
                continue
            kind, channel, payload = reply
            if kind == b"message":
                if channel == self._probe.encode():
                    self._heard.set()
                for listener in tuple(self._listeners.get(channel, ())):
                    listener.message(payload)
            elif kind == b"subscribe" and (confirmed := self._confirmed.get(channel)) is not None:
                confirmed.set()
                if channel in pending:
                    pending.discard(channel)
                    for listener in tuple(self._listeners.get(channel, ())):
                        listener.lost()

    async def _probe_on(self) -> None:
        misses = 0
        while True:
            self._heard.clear()
            try:
                await self._calls.command("PUBLISH", self._probe, b"?")
                async with asyncio.timeout(self._probe_s):
                    await self._heard.wait()
                self.deaf = False
                misses = 0
            except TimeoutError as error:
                misses += 1
                self.deaf = True
                if misses >= 2:
                    raise _Deaf("a probe was not heard") from error
            except VoicebusError:
                self.deaf = True
            await asyncio.sleep(self._probe_s)


class _Deaf(Exception):
    """The connection stands, but nothing comes."""
