"""A session's stage in the hands of this worker."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from voicebus.bus.lease import Lease
from voicebus.contract.errors import TurnCancelled

T = TypeVar("T")


class Held:
    """A lease, and what the worker hears about its session meanwhile."""

    def __init__(self, lease: Lease, draining: asyncio.Event, load: Callable[[], float] = lambda: 0.0) -> None:
        self.lease = lease
        self.load = load  # of the worker: 0 is idle, 1 is full
        self.session_id = lease.session_id
        self.task: asyncio.Task[None] | None = None
        self.lost = False  # another worker may own the stage
        self.rang = False  # somebody rang for the session meanwhile
        self.resting = False  # it has no mail, and is kept for the next only as long as there is room
        self._draining = draining
        self._woken = asyncio.Event()
        self._cancelled: set[int] = set()
        self._running: dict[int, asyncio.Task[Any]] = {}

    @property
    def draining(self) -> bool:
        """The worker goes away: hand over at the next boundary."""
        return self._draining.is_set()

    def wake(self) -> None:
        """There may be mail."""
        self._woken.set()

    def cancel(self, turn: int) -> None:
        """The turn was interrupted."""
        if turn not in self._cancelled:
            self._cancelled.add(turn)
            if task := self._running.get(turn):
                task.cancel()

    def lose(self) -> None:
        """Another worker may own the stage: stop at once."""
        self.lost = True
        if self.task:
            self.task.cancel()

    async def wait(self, timeout_s: float) -> bool:
        """Waits to be woken or drained; False if neither happened in time. What was heard before counts."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True

    async def rest(self, timeout_s: float) -> bool:
        """As `wait`, while there is no mail: who is woken from it may find that others need the room."""
        self.resting = True
        try:
            return await self.wait(timeout_s)
        finally:
            self.resting = False

    async def while_not_cancelled(self, turn: int, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. A turn has one work at a time.

        Raises:
            TurnCancelled: the turn was interrupted; the work has been cancelled and has ended.
        """
        task = asyncio.current_task()
        if task is None or turn in self._cancelled:
            work.close()
            raise TurnCancelled
        cancelling = task.cancelling()
        self._running[turn] = task
        try:
            return await work
        except asyncio.CancelledError:
            if turn in self._cancelled and task.cancelling() == cancelling + 1:
                raise TurnCancelled from None
            raise  # the worker's own task was cancelled
        finally:
            del self._running[turn]
            if turn in self._cancelled:
                task.uncancel()
