"""The one way to Redis: calls of the same tick go out as one pipeline, and only one is in flight.

Every write of the bus is idempotent, so a pipeline that got no answer is sent again as a whole, in order, until its
deadline. The driver itself must not retry: it repeats and reorders.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as redis

from voicebus.bus.scripts import SCRIPTS, ScriptName, sha, source
from voicebus.bus.wire import Arg, Reply, ReplyError, Wire, WireLost, open_wire
from voicebus.contract.errors import BusFull, BusUnavailable, VoicebusError

LOAD_SCRIPTS: list[tuple[Arg, ...]] = [("SCRIPT", "LOAD", source(name)) for name in SCRIPTS]
_MOST = 512  # calls in one pipeline
_MOST_WAITING = 20_000
_PAUSES_S = (0.02, 0.1, 0.25, 0.5)
_ANSWER_S = 5.0  # a server that takes longer for a pipeline is taken for dead
_PASSING = {"NOSCRIPT", "LOADING", "READONLY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "BUSY"}


class Link:
    """One connection, used by one task: sends commands together and collects their replies."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._wire: Wire | None = None
        self._replies: list[Reply] = []
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None

    async def exchange(self, commands: Sequence[tuple[Arg, ...]]) -> list[Reply]:
        """The replies in order; a command's own failure is its reply.

        Raises:
            WireLost: which commands took effect is not known.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                if self._wire is None or not self._wire.is_open:
                    self._wire = await open_wire(self._pool, self._take, self._lose)
                self._replies, self._missing = [], len(commands)
                self._answered = asyncio.get_running_loop().create_future()
                self._wire.send(commands)
                await self._answered
                return self._replies
        except TimeoutError as error:
            self.close()
            raise WireLost(f"no answer within {_ANSWER_S:.0f} s") from error
        except BaseException:
            self.close()  # replies that were not read must not answer other commands
            raise

    def close(self) -> None:
        """Closes the connection; the next exchange opens it again."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _take(self, reply: Reply) -> None:
        self._replies.append(reply)
        if len(self._replies) == self._missing and self._answered and not self._answered.done():
            self._answered.set_result(None)

    def _lose(self) -> None:
        if self._answered and not self._answered.done():
            self._answered.set_exception(WireLost("the connection was closed"))


@dataclass(slots=True)
class _Call:
    command: tuple[Arg, ...]
    until: float  # loop time
    future: asyncio.Future[Any] = field(repr=False)

    def settle(self, reply: Reply) -> None:
        if self.future.done():
            return
        if isinstance(reply, ReplyError):
            self.future.set_exception(_translated(reply))
        else:
            self.future.set_result(reply)

    def fail(self, reason: str) -> None:
        if not self.future.done():
            self.future.set_exception(BusUnavailable(reason))


def _translated(error: ReplyError) -> VoicebusError:
    """Redis's error as one of the contract's tree. Servers before 7 wrap what a script's command said."""
    if error.kind == "OOM" or "OOM command not allowed" in str(error):
        return BusFull()
    return VoicebusError("internal", f"Redis: {error}")


def _passes(reply: Reply) -> bool:
    """Whether the same call may succeed in a moment."""
    return isinstance(reply, ReplyError) and (reply.kind in _PASSING or "-READONLY " in str(reply))


class Calls:
    """Collects calls and sends them. `run` must be running."""

    def __init__(self, link: Link, *, deadline_s: float) -> None:
        self._link = link
        self._deadline_s = deadline_s
        self._waiting: list[_Call] = []
        self._some = asyncio.Event()
        self._closed = False

    async def script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> Any:
        """Runs a script. Its reply's strings are bytes. Raises as `command` does."""
        return await self.start_script(name, keys, *args)

    async def command(self, *command: Arg) -> Any:
        """Runs a command that is safe to repeat.

        Raises:
            BusUnavailable: no answer within the deadline; it may or may not have been applied.
            BusFull: Redis is at its memory limit; it was not applied.
        """
        return await self.start(*command)

    def start_script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> asyncio.Future[Any]:
        """As `script`, without waiting: scripts started one after the other run in this order."""
        return self.start("EVALSHA", sha(name), len(keys), *keys, *args)

    def start(self, *command: Arg) -> asyncio.Future[Any]:
        """As `command`, without waiting: whoever does not wait for the reply any more leaves it alone."""
        loop = asyncio.get_running_loop()
        call = _Call(command, loop.time() + self._deadline_s, loop.create_future())
        if self._closed or len(self._waiting) >= _MOST_WAITING:
            call.fail("The bus is closed." if self._closed else "Too many calls wait for Redis.")
        else:
            self._waiting.append(call)
            self._some.set()
        return call.future

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
                call.fail("The bus was closed.")

    async def _send(self, batch: list[_Call]) -> None:
        loop = asyncio.get_running_loop()
        tries = 0
        while True:
            try:
                batch, reason = await self._try(batch), "Redis puts calls off."
            except WireLost as error:
                reason = f"Redis: {error}"
            if not batch:
                return
            for call in batch:
                if call.until <= loop.time():
                    call.fail(reason)
            batch = [call for call in batch if not call.future.done()]
            await asyncio.sleep(_PAUSES_S[min(tries, len(_PAUSES_S) - 1)])
            tries += 1

    async def _try(self, batch: list[_Call]) -> list[_Call]:
        """Sends the calls and settles those that were answered; returns those to send again, in order."""
        replies = await self._link.exchange([call.command for call in batch])
        if any(isinstance(reply, ReplyError) and reply.kind == "NOSCRIPT" for reply in replies):
            await self._link.exchange(LOAD_SCRIPTS)
        again = []
        for call, reply in zip(batch, replies, strict=True):
            if _passes(reply):
                again.append(call)
            else:
                call.settle(reply)
        return again
