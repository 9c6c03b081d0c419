"""Workers in the test's own process."""

import asyncio
from types import TracebackType
from typing import Self

from voicebus.chassis.worker import Worker


class Working:
    """A worker that works while inside, then drains."""

    def __init__(self, worker: Worker, *, drain_s: float = 5.0) -> None:
        self.worker = worker
        self._drain_s = drain_s
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.worker.run(drain_s=self._drain_s))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    async def drain(self) -> None:
        """Ends in good order."""
        self.worker.drain()
        if self._running:
            await asyncio.wait([self._running])

    async def crash(self) -> None:
        """Ends without handing anything over."""
        assert self._running
        self._running.cancel()
        await asyncio.wait([self._running])
