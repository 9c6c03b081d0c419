"""Events between the connection and the application: in order, bounded, each with the position that it leads to."""

import asyncio
from collections import deque

from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.position import Position


class Inbox:
    """One writer, one reader. `limit` is a number of events."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[Event, Position]] = deque()
        self._some = asyncio.Event()
        self._closed = False
        self._error: VoicebusError | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether the writer must wait."""
        return len(self._items) >= self._limit

    @property
    def low(self) -> bool:
        """Whether at least half of the room is free."""
        return len(self._items) * 2 <= self._limit

    def put(self, event: Event, position: Position) -> None:
        """Adds an event. An event may bring a gap along, so this goes beyond the limit by one at most."""
        self._items.append((event, position))
        self._some.set()

    def close(self, error: VoicebusError | None) -> None:
        """Nothing follows: the reader gets what is left, then the error or the end."""
        if not self._closed:
            self._closed = True
            self._error = error
            self._some.set()

    async def get(self) -> tuple[Event, Position] | None:
        """The next event; None when all were read and the inbox is closed without an error.

        Raises:
            VoicebusError: all were read, and the inbox is closed with this error.
        """
        while not self._items:
            if self._closed:
                if self._error is not None:
                    raise self._error
                return None
            self._some.clear()
            await self._some.wait()
        return self._items.popleft()
