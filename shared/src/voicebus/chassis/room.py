"""How much a process does at the same time, and how long what it does not yet do has waited."""

import asyncio
import time
from types import TracebackType


class Room:
    """So many places, given in the order in which they are asked for. An async context manager takes one."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._waiting: dict[object, float] = {}  # since when, the longest first

    @property
    def waited_s(self) -> float:
        """How long the first that waits for a place has waited, in seconds; 0 if nobody does."""
        return time.monotonic() - next(iter(self._waiting.values())) if self._waiting else 0.0

    async def enter(self) -> None:
        """Takes a place, once there is one."""
        ticket = object()
        self._waiting[ticket] = time.monotonic()
        try:
            await self._free.acquire()
        finally:
            del self._waiting[ticket]

    def leave(self) -> None:
        """Gives it back."""
        self._free.release()

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()
