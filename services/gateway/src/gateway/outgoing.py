"""Step ⑦: what one client is sent. Live items go out as soon as the hub hands them out, with one write."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from gateway import metrics
from gateway.client import Client, Closed
from gateway.connections import Connections
from gateway.dialects.native import AudioForm, frame
from gateway.follower import Batch, Follower
from gateway.frames import text_frame
from gateway.snapshot import state_of
from gateway.stopwatch import Stopwatch
from voicebus.bus.bus import Bus
from voicebus.bus.items import EventItem, Item
from voicebus.contract import events, payloads
from voicebus.contract.close import Close
from voicebus.contract.positions import GapRange, Position
from voicebus.contract.sessions import Session

_TOGETHER: Final = 64  # items that are written at once; behind them the client's socket is waited for
_OPENING: Final = 64  # bytes of an event, where its type is
_TURNING: Final = re.compile(rb'"type":"(agent_switch|session_end)"')

Welcome = Callable[[Batch, Position, bool], Awaitable[None]]  # what is sent next, the heads, whether it is resumed


class Outgoing:
    """Of one connection. The first batch is welcomed, and each that was read in another epoch than the client knows."""

    __slots__ = (
        *("_audio", "_bus", "_catching_up", "_client", "_connections", "_due", "_ended", "_epoch", "_resumed"),
        *("_welcome", "follower", "stopwatch"),
    )

    def __init__(
        self,
        client: Client,
        bus: Bus,
        connections: Connections,
        session: Session,
        asked: Position | None,
        *,
        audio: AudioForm,
        queue_max: int,
        welcome: Welcome,
    ) -> None:
        start = asked or session.position  # what happened since the session was looked at is not missed
        self.follower = Follower(bus, session.session_id, start, self._told, queue_max=queue_max)
        self.stopwatch: Stopwatch | None = None  # once there is something to time
        self._client = client
        self._bus = bus
        self._connections = connections
        self._audio: AudioForm = audio
        self._resumed = asked is not None
        self._welcome = welcome
        self._ended = session.status == "ended"
        self._epoch: str | None = None  # in which the client was welcomed
        self._due = False  # a write is
        self._catching_up = True  # or will, from `start` on: nothing goes out before it

    def start(self) -> None:
        """The client is there; it is sent what it asked for."""
        self._catch_up_soon()

    def roomy(self) -> None:
        """The client takes more again."""
        self._told()

    def _told(self) -> None:
        if not self._due and not self._catching_up:
            self._due = True
            self._connections.soon(self._client, self._write)

    def _write(self) -> None:
        """Sends what waits, as long as the client takes it."""
        self._due = False
        client = self._client
        if self._catching_up or client.is_over:
            return
        try:
            while not client.link.blocked and (items := self.follower.take(_TOGETHER)):
                self._send(items)
                if len(items) < _TOGETHER:
                    break
        except Closed as closed:
            client.close(closed.code, closed.reason)
            return
        if self.follower.reading:
            self._catch_up_soon()

    def _catch_up_soon(self) -> None:
        self._catching_up = True
        self._client.start(self._catch_up())

    async def _catch_up(self) -> None:
        """Goes on from the log until the client is live."""
        follower = self.follower
        while True:
            await self._client.room()
            if items := follower.take(_TOGETHER):
                self._send(items)
            elif not follower.reading:
                break
            elif batch := await follower.read():
                await self._send_batch(batch)
        self._catching_up = False

    async def _send_batch(self, batch: Batch) -> None:
        if batch.head is not None and batch.head.epoch != self._epoch:
            resumed = self._resumed or self._epoch is not None
            self._epoch = batch.head.epoch
            await self._welcome(batch, batch.head, resumed)
        for gap in batch.gaps:
            metrics.gaps.labels(gap.stream, gap.reason).inc()
            await self._client.tell(events.Gap, _gap_data(gap))
        if batch.gaps:
            state = await state_of(self._bus, self._client.session_id)
            await self._client.tell(events.StateSnapshot, payloads.StateSnapshotData(state=state))
        for at in range(0, len(batch.items), _TOGETHER):
            await self._client.room()
            self._send(batch.items[at : at + _TOGETHER])
        if self._ended and not batch.items:
            raise Closed(Close.ENDED, "session_ended")

    def _send(self, items: Sequence[Item]) -> None:
        frames = b"".join(
            [text_frame(item.body) if type(item) is EventItem else frame(item, self._audio) for item in items]
        )
        self._client.link.write(frames)
        metrics.sent.count += len(items)
        if self.stopwatch is not None and self.stopwatch.running:
            self.stopwatch.sent(items)
        if not _TURNING.search(frames):  # nearly always; in what a tool answers it may stand, too
            return
        for item in items:
            if isinstance(item, EventItem) and (turning := _TURNING.search(item.body, 0, _OPENING)):
                if turning[1] == b"session_end":
                    raise Closed(Close.ENDED, "session_ended")
                self._client.agent = orjson.loads(item.body)["agent_type"]


def _gap_data(gap: GapRange) -> payloads.GapData:
    return payloads.GapData(stream=gap.stream, from_=gap.first, to=gap.last, reason=gap.reason)
