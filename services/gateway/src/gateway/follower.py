"""Follows one session from a position on: first the log, then live, and the log again wherever something is missing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
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

    `told` is called whenever there may be something: to `take`, or to `read` where `reading` says so. Without `speech`
    it gets events alone, and its positions are at the head of speech.
    """

    __slots__ = ("_bus", "_epoch", "_feed", "_joined", "_n", "_queue", "_seq", "_session_id", "_speech", "_told")

    def __init__(
        self,
        bus: Bus,
        session_id: str,
        position: Position,
        told: Callable[[], None],
        *,
        queue_max: int = 1_024,
        speech: bool = True,
    ) -> None:
        self._bus = bus
        self._session_id = session_id
        self._told = told
        self._speech = speech
        self._feed = Feed(position, most_kept=queue_max)
        self._queue = Backlog(queue_max)
        self._joined = False
        self._epoch, self._seq, self._n = position.epoch, position.seq, position.speech

    @property
    def sent(self) -> Position:
        """What was given out and taken."""
        return Position(epoch=self._epoch, seq=self._seq, speech=self._n)

    @property
    def reading(self) -> bool:
        """Whether what comes next has to be read from the log; what waits to be taken comes before."""
        return self._feed.reading

    def push(self, items: Sequence[Item]) -> None:
        """Published, in this order; from the hub."""
        if not self._speech:
            items = [item for item in items if not isinstance(item, SpeechItem)]
        fresh = [item for item in items if self._feed.live(item)]
        if fresh and self._queue.add(fresh):
            metrics.fell_behind.inc()
            self._queue.take()
            self._feed.read_again(self.sent)
        if fresh or self._feed.reading:
            self._told()

    def lost(self) -> None:
        """Something may be missing; from the hub."""
        self._feed.read_again()
        self._told()

    def rewind(self, position: Position) -> None:
        """Goes on from an earlier position."""
        self._queue.take()
        self._feed.read_again(position)
        self._told()

    def take(self, most: int | None = None) -> list[Item]:
        """The first items that wait, which the caller sends: those that it took before are sent."""
        items = self._queue.take(most)
        for item in items:
            if isinstance(item, EventItem):
                self._seq = item.seq
            elif isinstance(item, SpeechItem):
                self._n = item.n
        if items:
            self._epoch = items[-1].epoch
        return items

    async def read(self) -> Batch | None:
        """The next page of the log; None if it holds nothing that the caller does not know.

        Raises:
            Refused: `too_slow`: what comes next is not kept any more; `session_not_found`.
        """
        known = self._epoch if self._joined else None
        position = self._feed.position
        if self._speech:
            page = await self._bus.log.read(self._session_id, position)
        else:
            page = await read_events(self._bus, self._session_id, position)
        if self._joined and any(gap.reason == "trimmed" for gap in page.gaps):
            raise Refused("too_slow")
        items = self._feed.page(page)
        sent = self._feed.position
        self._epoch, self._seq, self._n = sent.epoch, sent.seq, sent.speech
        if not items and not page.gaps and page.head.epoch == known:
            return None
        self._joined = True
        return Batch(items, page.gaps, page.head)


class PatientFollower(Follower):
    """One that waits until there is something."""

    __slots__ = ("_some",)

    def __init__(self, bus: Bus, session_id: str, position: Position, *, queue_max: int, speech: bool) -> None:
        self._some = asyncio.Event()
        super().__init__(bus, session_id, position, self._some.set, queue_max=queue_max, speech=speech)

    async def next(self) -> Batch:
        """What comes next, as soon as there is something. The caller has sent the batch before. Raises as `read`."""
        while True:
            if items := self.take():
                return Batch(items)
            if not self.reading:
                self._some.clear()
                await self._some.wait()
            elif batch := await self.read():
                return batch


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
) -> AsyncIterator[PatientFollower]:
    """A follower that hears what is published while inside."""
    follower = PatientFollower(bus, session_id, position, queue_max=queue_max, speech=speech)
    async with hub.following(session_id, follower):
        yield follower
