"""Follows one session from a position on: first the log, then live, and the log again wherever something is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from gateway import metrics
from gateway.feed import Backlog, Feed
from gateway.hub import Hub
from voicebus.bus.bus import Bus
from voicebus.bus.items import EventItem, Item, Page, SpeechItem
from voicebus.contract.errors import Refused
from voicebus.contract.positions import GapRange, Position

_BEHIND_ALL_SPEECH: Final = 2**53


@dataclass(frozen=True, slots=True)
class Batch:
    """What to send next, in order: gaps first."""

    items: list[Item]
    gaps: list[GapRange] = field(default_factory=list)
    head: Position | None = None  # of the session, where the batch was read from its log


class Follower:
    """One reader of a session. A slow one is served from the log at its own pace, without ephemeral events.

    Without `speech` it gets events alone, and its positions are at the head of speech.
    """

    def __init__(
        self, bus: Bus, session_id: str, position: Position, *, queue_max: int = 1_024, speech: bool = True
    ) -> None:
        self._bus = bus
        self._session_id = session_id
        self._speech = speech
        self._feed = Feed(position, most_kept=queue_max)
        self._queue = Backlog(queue_max)
        self._some = asyncio.Event()
        self._joined = False
        self.sent = position  # what was given out and taken

    def push(self, item: Item) -> None:
        """Published; from the hub."""
        if isinstance(item, SpeechItem) and not self._speech:
            return
        for ready in self._feed.live(item):
            self._queue.add(ready)
        if self._queue.full:
            metrics.fell_behind.inc()
            self._queue.take()
            self._feed.read_again(self.sent)
        if self._queue or self._feed.reading:
            self._some.set()

    def lost(self) -> None:
        """Something may be missing; from the hub."""
        self._feed.read_again()
        self._some.set()

    def rewind(self, position: Position) -> None:
        """Goes on from an earlier position."""
        self._queue.take()
        self._feed.read_again(position)
        self._some.set()

    async def next(self) -> Batch:
        """What comes next, as soon as there is something. The caller has sent the batch before.

        Raises:
            Refused: `too_slow`: what comes next is not kept any more; `session_not_found`.
        """
        while True:
            if self._queue:
                batch = Batch(self._queue.take())
                self._note_sent(batch.items)
                return batch
            if self._feed.reading:
                known = self.sent.epoch if self._joined else None
                batch = await self._read()
                if batch.items or batch.gaps or batch.head is None or batch.head.epoch != known:
                    self._joined = True
                    return batch
                continue
            self._some.clear()
            await self._some.wait()

    async def _read(self) -> Batch:
        read = self._bus.log.read if self._speech else partial(read_events, self._bus)
        page = await read(self._session_id, self._feed.position)
        if self._joined and any(gap.reason == "trimmed" for gap in page.gaps):
            raise Refused("too_slow")
        items = self._feed.page(page)
        self.sent = self._feed.position
        return Batch(items, page.gaps, page.head)

    def _note_sent(self, items: list[Item]) -> None:
        seq, n = self.sent.seq, self.sent.speech
        for item in items:
            if isinstance(item, EventItem):
                seq = item.seq
            elif isinstance(item, SpeechItem):
                n = item.n
        self.sent = Position(epoch=items[-1].epoch, seq=seq, speech=n)


async def read_events(bus: Bus, session_id: str, position: Position, *, most: int = 256) -> Page:
    """What follows the position in the log, without speech: at most so many, and about 1 MiB.

    Raises:
        Refused: `session_not_found`.
    """
    asked = position.model_copy(update={"speech": _BEHIND_ALL_SPEECH})
    page = await bus.log.read(session_id, asked, most_events=most, most_chunks=0)
    return replace(page, gaps=[gap for gap in page.gaps if gap.stream == "events"])


@asynccontextmanager
async def following(
    bus: Bus, hub: Hub, session_id: str, position: Position, *, queue_max: int = 1_024, speech: bool = True
) -> AsyncIterator[Follower]:
    """A follower that hears what is published while inside."""
    follower = Follower(bus, session_id, position, queue_max=queue_max, speech=speech)
    async with hub.following(session_id, follower):
        yield follower
