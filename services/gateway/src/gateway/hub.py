"""Which followers of this process listen to which session. A message is parsed once, however many listen.

What comes for a session at once is handed out together. Of a session with hundreds of events a second
it is what comes within some milliseconds: to parse, follow and write them one by one costs twice as much.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final, Protocol

import structlog

from gateway.connections import PACE_S, Connections
from voicebus.bus.bus import Bus
from voicebus.bus.items import Item, parse_live

_log = structlog.get_logger(__name__)
_AT_ONCE_S: Final = 0.01  # so seldom something is handed out at once
_BURST_S: Final = 0.16  # of such, at any pace


class Follows(Protocol):
    """Gets what is published for a session. Both methods return at once, and neither adds nor removes followers."""

    def push(self, items: Sequence[Item]) -> None:
        """Items in the order of publication."""

    def lost(self) -> None:
        """Items may have been lost."""


class _Channel:
    def __init__(self, connections: Connections) -> None:
        self.followers: set[Follows] = set()
        self._connections = connections
        self._came: list[bytes] = []
        self._paid_until = 0.0  # by the monotonic clock: each time that something is handed out takes some of it
        self._hot = False  # what came is paced

    def messages(self, payloads: Sequence[bytes]) -> None:
        waits = bool(self._came)
        self._came += payloads
        if not waits:
            self._hot = self._paid_until - monotonic() > _BURST_S
            (self._connections.paced if self._hot else self._connections.now)(self, self._hand_out)

    def lost(self) -> None:
        try:
            self._hand_out()
        except Exception:  # noqa: BLE001 - it is in the log, too, which all read now
            _log.exception("messages_not_handed_out")
        for follower in self.followers:
            follower.lost()

    def fail(self) -> None:
        """What came can't be handed out; it is in the log, too."""
        _log.exception("messages_not_handed_out")
        self.lost()

    def _hand_out(self) -> None:
        came, self._came = self._came, []
        if came:
            self._paid_until = max(self._paid_until, monotonic()) + (PACE_S if self._hot else _AT_ONCE_S)
            items = [parse_live(payload) for payload in came]
            for follower in self.followers:
                follower.push(items)


class Hub:
    """The sessions that clients of this process follow."""

    def __init__(self, bus: Bus, connections: Connections) -> None:
        self._bus = bus
        self._connections = connections
        self._channels: dict[str, _Channel] = {}

    @asynccontextmanager
    async def following(self, session_id: str, follower: Follows) -> AsyncIterator[None]:
        """As between `add` and `remove`, while inside."""
        try:
            await self.add(session_id, follower)
            yield
        finally:
            self.remove(session_id, follower)

    async def add(self, session_id: str, follower: Follows) -> None:
        """From now on everything published reaches the follower, or it is told of the loss; also after an error.

        Raises:
            BusUnavailable: it was not confirmed in time.
        """
        channel = self._channels.setdefault(session_id, _Channel(self._connections))
        channel.followers.add(follower)
        await self._bus.subscriptions.add({self._bus.keys.of(session_id).live: channel})

    def remove(self, session_id: str, follower: Follows) -> None:
        """Nothing reaches it any more. Nothing happens if it was not added."""
        if (channel := self._channels.get(session_id)) is None:
            return
        channel.followers.discard(follower)
        if not channel.followers:
            del self._channels[session_id]
            self._bus.subscriptions.remove(self._bus.keys.of(session_id).live, channel)
