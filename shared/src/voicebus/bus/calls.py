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


def make_client(url: str, *, socket_timeout_s: float | None) -> redis.Redis:
    """A client that never retries by itself. Without a time-out it is for reading published messages only."""
    return redis.Redis.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=socket_timeout_s,
        socket_connect_timeout=2.0,
        health_check_interval=0,
    )


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

    def __init__(self, client: redis.Redis, *, deadline_s: float) -> None:
        self._client = client
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
        pipeline = self._client.pipeline(transaction=False)
        for call in batch:
            pipeline.execute_command(*call.command)
        replies = await pipeline.execute(raise_on_error=False)
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
        pipeline = self._client.pipeline(transaction=False)
        for name in SCRIPTS:
            pipeline.execute_command("SCRIPT LOAD", source(name))
        await pipeline.execute()
