"""Who listens while something breaks: our client, and one that keeps whatever the gateway sends."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from faults.tally import Tally
from support.processes import bearer_of
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.dial import Socket
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event, parse_frame
from voicebus_client.options import Options
from voicebus_client.position import Position

_AGAIN_S: Final = 0.05  # between two connections of a bare client
_PING_S: Final = 0.5  # of a bare client; as long again it waits for the answer


class Written:
    """What a session's log was promised to hold, and what Redis forgot of it."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.accepted: list[int] = []
        self.forgotten: dict[int, str] = {}  # what Redis had accepted, in which epoch, and did not know of later


class Reader(ABC):
    """A client of a session: what it got."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.seen: list[int] = []
        self.gaps: list[Event] = []
        self.failure: VoicebusError | None = None
        self.ready = asyncio.Event()  # was connected once, or has failed
        self._news = asyncio.Event()

    @property
    @abstractmethod
    def connected(self) -> bool:
        """Whether a gateway has welcomed it and it knows of no end."""

    async def caught_up(self) -> None:
        """Returns when it has the last token that its source was promised to have written, or can't have it."""
        while (
            self.failure is None
            and self.written.accepted
            and (not self.seen or self.seen[-1] < self.written.accepted[-1])
        ):
            self._news.clear()
            await self._news.wait()

    @property
    def tally(self) -> Tally:
        """What it got of what was accepted."""
        return Tally.of(self.written.accepted, self.seen)


class Listener(Reader):
    """Our own Python client, which connects again whenever it must."""

    def __init__(self, written: Written) -> None:
        super().__init__(written)
        self.voided: set[int] = set()  # seen, and then a gap told that they are not the session's any more
        self.longest_wait_s = 0.0
        self._connection: Connection | None = None
        self._seqs: list[int] = []  # of what it has seen
        self._epochs: list[str] = []  # in which it saw it
        self._last_s = 0.0

    @property
    def connected(self) -> bool:
        """As it says itself."""
        return self._connection is not None and self._connection.connected

    async def run(self, voicebus: Voicebus, options: Options) -> None:
        """Listens until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with voicebus.connect(
                self.written.session_id, position=Position.BEGINNING, options=options
            ) as self._connection:
                self.ready.set()
                async for event in self._connection:
                    if event.type == "gap":
                        self._note_gap(event)
                    if event.type != "token":
                        continue
                    self.seen.append(int(event.data["token"]))
                    self._seqs.append(event.seq or 0)
                    self._epochs.append(self._connection.position.epoch if self._connection.position else "")
                    if self._last_s:
                        self.longest_wait_s = max(self.longest_wait_s, loop.time() - self._last_s)
                    self._last_s = loop.time()
                    self._news.set()
        except VoicebusError as error:
            self.failure = error
            self.ready.set()
            self._news.set()

    @property
    def _told_epoch(self) -> str:
        """The one that the latest greeting named."""
        welcome = self._connection.welcome if self._connection else None
        return str(welcome.data["epoch"]) if welcome else ""

    def _note_gap(self, gap: Event) -> None:
        self.gaps.append(gap)
        if gap.data["stream"] == "events" and gap.data["reason"] in {"epoch_changed", "ahead"}:
            kept = sum(seq < gap.number("from") for seq in self._seqs)
            self.voided.update(self.seen[kept:])
            del self.seen[kept:], self._seqs[kept:], self._epochs[kept:]

    @property
    def untold(self) -> int:
        """How many events that Redis has forgotten it was not told of: by a gap if it had them, else by a new epoch."""
        seen = list(zip(self.seen, self._epochs, strict=True))
        return sum(
            number not in self.voided
            and epoch == next((came_in for other, came_in in seen if other > number), self._told_epoch)
            for number, epoch in self.written.forgotten.items()
        )


class Bare(Reader):
    """Keeps each token that it gets, so that what a gateway sends twice, passes over or mixes up is seen.

    Our own client would drop it, or come back for what is missing.
    """

    def __init__(self, written: Written) -> None:
        super().__init__(written)
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether it was welcomed on a connection that has not ended."""
        return self._connected

    async def run(self, url: str, sub: str) -> None:
        """Listens as this user until it is cancelled: one connection after the other, each from the last event on."""
        address = f"{url.replace('http', 'ws', 1)}/ai/ws/{self.written.session_id}"
        last = 0
        while True:
            with suppress(OSError, WebSocketException):
                async with connect(
                    f"{address}?after={last}",
                    additional_headers=bearer_of(sub),
                    compression=None,
                    max_size=None,
                    ping_interval=_PING_S,
                    ping_timeout=_PING_S,
                    close_timeout=1,
                    create_connection=Socket,
                ) as socket:
                    async for frame in socket:
                        event = parse_frame(frame, 0.0)
                        last = max(last, event.seq or 0)
                        self._keep(event)
            self._connected = False
            await asyncio.sleep(_AGAIN_S)

    def _keep(self, event: Event) -> None:
        match event.type:
            case "welcome":
                self._connected = True
                self.ready.set()
            case "gap":
                self.gaps.append(event)
            case "token":
                self.seen.append(int(event.data["token"]))
                self._news.set()
