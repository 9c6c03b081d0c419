"""Which followers of this process listen to which session. A message is parsed once, however many listen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from voicebus.bus.bus import Bus
from voicebus.bus.items import Item, parse_live


class Follows(Protocol):
    """Gets what is published for a session. Both methods return at once."""

    def push(self, item: Item) -> None:
        """An item, in the order of publication."""

    def lost(self) -> None:
        """Items may have been lost."""


class _Channel:
    def __init__(self) -> None:
        self.followers: set[Follows] = set()

    def message(self, payload: bytes) -> None:
        item = parse_live(payload)
        for follower in tuple(self.followers):
            follower.push(item)

    def lost(self) -> None:
        for follower in tuple(self.followers):
            follower.lost()


class Hub:
    """The sessions that clients of this process follow."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._channels: dict[str, _Channel] = {}

    @asynccontextmanager
    async def following(self, session_id: str, follower: Follows) -> AsyncIterator[None]:
        """While inside, everything published reaches the follower, or it is told of the loss."""
        channel = self._channels.setdefault(session_id, _Channel())
        channel.followers.add(follower)
        name = self._bus.keys.of(session_id).live
        try:
            await self._bus.subscriptions.add({name: channel})
            yield
        finally:
            channel.followers.discard(follower)
            if not channel.followers and self._channels.get(session_id) is channel:
                del self._channels[session_id]
                await self._bus.subscriptions.remove(name, channel)
