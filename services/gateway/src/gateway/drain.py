"""A gateway that is told to stop asks its clients to move on, spread over a window, and takes no new ones.

Requests that wait for something are answered at once with what is known.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress


class Drain:
    """`started` is set once the process shall go; `window_s` is the time over which its clients leave."""

    def __init__(self, window_s: float) -> None:
        self.started = asyncio.Event()
        self._window_s = window_s
        self._clients = 0
        self._nobody = asyncio.Event()
        self._nobody.set()
        self._waits = set[asyncio.Timeout]()

    def start(self) -> None:
        """Begins; there is no way back."""
        self.started.set()
        while self._waits:
            self._waits.pop().reschedule(0)

    @asynccontextmanager
    async def patience(self, most_s: float) -> AsyncIterator[None]:
        """What is inside may take so long, and no longer once the process shall go.

        Raises:
            TimeoutError: it took longer.
        """
        async with asyncio.timeout(0 if self.started.is_set() else most_s) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

    @contextmanager
    def client(self) -> Iterator[None]:
        """A client is connected while inside."""
        self.enter()
        try:
            yield
        finally:
            self.left()

    def enter(self) -> None:
        """A client is connected."""
        self._clients += 1
        self._nobody.clear()

    def left(self) -> None:
        """It is not any more."""
        self._clients -= 1
        if not self._clients:
            self._nobody.set()

    async def done(self) -> None:
        """Returns once it has started and every client has left, or the window is over."""
        await self.started.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._window_s + 1):
                await self._nobody.wait()

    def pick_delay_s(self) -> float:
        """When one client leaves, from now."""
        return random.uniform(0, self._window_s)  # noqa: S311 - spreads load, hides nothing
