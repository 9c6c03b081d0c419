"""The one way to Redis: calls of the same tick go out as one pipeline, and only one is in flight.

Every write of the bus is idempotent, so a pipeline that got no answer is sent again as a whole, in order, until its
deadline. The driver itself must not retry: it repeats and reorders.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import TimeoutError as TimedOut

from voicebus.bus.scripts import SCRIPTS, ScriptName, sha, source
from voicebus.contract.errors import BusFull, BusUnavailable, VoicebusError

Arg = str | bytes | int | float
_AGAIN = (
    Disconnected,
    TimedOut,
    BusyLoadingError,
    ClusterDownError,
    ReadOnlyError,
    TryAgainError,
    OSError,
)
_MOST = 512  # calls in one pipeline
_PAUSES_S = (0.0, 0.02, 0.1, 0.25, 0.5)


_ANSWER_S = 5.0  # a server that takes longer for a pipeline is taken for dead


def make_pool(url: str) -> redis.ConnectionPool:
    """Connections that never retry by themselves and never time out: who uses one says how long it waits."""
    return redis.ConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=2.0,
        health_check_interval=0,
    )


class Link:
    """One connection, used by one task: sends commands together and reads their replies."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._connection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    async def exchange(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """The replies in order; a command's own failure is its reply, as an exception.

        Raises:
            ConnectionError, TimeoutError, OSError: of the driver; which commands took effect is not known.
        """
        connection = self._connection
        try:
            async with asyncio.timeout(_ANSWER_S):
                if not connection.is_connected:
                    await connection.connect()
                await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
                return [await self._reply() for _ in commands]
        except BaseException:
            await self.close()  # replies that were not read must not answer other commands
            raise

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    async def close(self) -> None:
        """Closes the connection; the next exchange opens it again."""
        await self._connection.disconnect(nowait=True)


@dataclass(slots=True)
class _Call:
    command: tuple[Arg, ...]
    until: float  # loop time
    future: asyncio.Future[Any] = field(repr=False)

    def settle(self, reply: Any) -> None:
        if self.future.done():
            return
        if isinstance(reply, BaseException):
            self.future.set_exception(translated(reply))
        else:
            self.future.set_result(reply)


def translated(error: BaseException) -> BaseException:
    """The driver's error as one of the contract's tree."""
    if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):  # the latter from scripts
        return BusFull()
    if isinstance(error, _AGAIN):
        return BusUnavailable(f"Redis: {error}")
    if isinstance(error, RedisError):
        return VoicebusError("internal", f"Redis: {error}")
    return error


def _demoted(reply: Any) -> bool:
    """Whether a script ran on a server that has just become a replica; older servers say so in the script's error."""
    return isinstance(reply, RedisError) and "-READONLY " in str(reply)


class Calls:
    """Collects calls and sends them. `run` must be running."""

    def __init__(self, link: Link, *, deadline_s: float) -> None:
        self._link = link
        self._deadline_s = deadline_s
        self._waiting: list[_Call] = []
        self._some = asyncio.Event()
        self._room = asyncio.Semaphore(20_000)
        self._closed = False

    async def script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> Any:
        """Runs a script. Its reply's strings are bytes."""
        return await self.command("EVALSHA", sha(name), len(keys), *keys, *args)

    async def command(self, *command: Arg) -> Any:
        """Runs a command that is safe to repeat.

        Raises:
            BusUnavailable: no answer within the deadline; it may or may not have been applied.
            BusFull: Redis is at its memory limit; it was not applied.
        """
        async with self._room:
            if self._closed:
                raise BusUnavailable("The bus is closed.")
            loop = asyncio.get_running_loop()
            call = _Call(command, loop.time() + self._deadline_s, loop.create_future())
            self._waiting.append(call)
            self._some.set()
            return await call.future

    async def run(self) -> None:
        """Sends what was collected, until cancelled; then what still waits fails."""
        batch: list[_Call] = []
        try:
            while True:
                await self._some.wait()
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                if not self._waiting:
                    self._some.clear()
                await self._send(batch)
        finally:
            self._closed = True
            for call in batch + self._waiting:
                call.settle(BusUnavailable("The bus was closed."))

    async def _send(self, batch: list[_Call]) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while batch:
            await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1
            try:
                batch = await self._try(batch)
            except _AGAIN as error:
                late = [call for call in batch if call.until <= loop.time()]
                for call in late:
                    call.settle(error)
                batch = [call for call in batch if call.until > loop.time()]

    async def _try(self, batch: list[_Call]) -> list[_Call]:
        """Sends the calls and settles those that were answered; returns those to send again, in order."""
        replies = await self._link.exchange([call.command for call in batch])
        again = []
        missing = False
        for call, reply in zip(batch, replies, strict=True):
            if isinstance(reply, NoScriptError):
                missing = True
                again.append(call)
            elif isinstance(reply, _AGAIN) or _demoted(reply):
                again.append(call)
            else:
                call.settle(reply)
        if missing:
            await self._load()
        elif again:
            raise BusyLoadingError("some calls were put off")
        return again

    async def _load(self) -> None:
        await self._link.exchange([("SCRIPT", "LOAD", source(name)) for name in SCRIPTS])
