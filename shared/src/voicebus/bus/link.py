"""One connection that answers: commands go out together, their replies come back in order."""

import asyncio
from collections.abc import Sequence

import redis.asyncio as redis

from voicebus.bus.wire import Reply, Wire, WireLost, open_wire

_ANSWER_S = 5.0  # a server that takes longer for a pipeline is taken for dead


class Link:
    """One connection, used by one task: sends commands together and collects their replies."""

    def __init__(self, pool: redis.ConnectionPool) -> None:
        self._pool = pool
        self._wire: Wire | None = None
        self._replies: list[Reply] = []
        self._missing = 0
        self._answered: asyncio.Future[None] | None = None
        self._patience: asyncio.Timeout | None = None  # of the exchange that is under way

    async def exchange(self, commands: Sequence[bytes]) -> list[Reply]:
        """The replies to packed commands, in order; a command's own failure is its reply.

        Raises:
            WireLost: which commands took effect is not known.
        """
        try:
            async with asyncio.timeout(_ANSWER_S) as self._patience:
                if self._wire is None or not self._wire.is_open:
                    self._wire = await open_wire(self._pool, self._take, self._lose)
                self._replies, self._missing = [], len(commands)
                self._answered = asyncio.get_running_loop().create_future()
                self._wire.send(commands)
                await self._answered
                return self._replies
        except TimeoutError as error:
            self.close()
            raise WireLost(f"no answer within {_ANSWER_S:.0f} s, or nobody waits for it any more") from error
        except BaseException:
            self.close()  # replies that were not read must not answer other commands
            raise
        finally:
            self._patience = None

    def close(self) -> None:
        """Closes the connection; the next exchange opens it again."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def give_up(self) -> None:
        """Takes the server for dead: an exchange that connects, or waits for its answer, ends at once."""
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(0)

    def _take(self, replies: list[Reply]) -> None:
        self._replies += replies
        if len(self._replies) == self._missing and self._answered and not self._answered.done():
            self._answered.set_result(None)

    def _lose(self) -> None:
        if self._answered and not self._answered.done():
            self._answered.set_exception(WireLost("the connection was closed"))
