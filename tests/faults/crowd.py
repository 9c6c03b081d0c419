"""Who speaks and who listens while something breaks: each keeps what it was promised, or what it got."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from faults.tally import Tally, total
from support.processes import SECRET

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.errors import BusFull, BusUnavailable, LeaseLost
from voicebus.contract.events import Token
from voicebus.contract.payloads import TokenData
from voicebus.contract.sessions import NewSession
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.options import Options
from voicebus_client.position import Position
from voicebus_stack.tokens import make_token

OWNER: Final = "alice"
TICK_S: Final = 0.02  # between two emissions of a source, which hold what is due
QUICK: Final = Options(backoff_s=0.05, backoff_max_s=0.5, open_timeout_s=5, first_timeout_s=60, ping_interval_s=1)


class Source:
    """A worker that owns a session's agent stage and writes numbered tokens at a steady rate.

    Where a write's outcome is not known it asks Redis, as every worker does: the next lease says how far it came.
    """

    def __init__(self, bus: Bus, session_id: str, rate: float) -> None:
        self.session_id = session_id
        self.accepted: list[int] = []
        self.forgotten: list[int] = []  # accepted, and then Redis did not know of them
        self.refused = 0  # writes that found no Redis, or no room in it
        self._bus = bus
        self._rate = rate  # tokens a second
        self._stages = bus.stages("agent", f"source-{session_id}")
        self._following = 0  # the next number
        self._renewed_s = 0.0
        self._over = asyncio.Event()
        self.silent = asyncio.Event()  # nothing is on its way any more

    def stop(self) -> None:
        """Nothing more is written, but for what is on its way."""
        self._over.set()

    async def run(self) -> None:
        """Writes until it is told to stop."""
        loop = asyncio.get_running_loop()
        began, written = loop.time(), 0
        lease: Lease | None = None
        while not self._over.is_set():
            try:
                lease = lease or await self._lease()
                due = int((loop.time() - began) * self._rate) - written
                if due > 0:
                    await self._write(lease, due)
                    written += due
                if loop.time() - self._renewed_s > lease.renewed_every_s:
                    await self._renew(lease)
            except (BusFull, BusUnavailable, LeaseLost) as error:
                self.refused += 1
                if not isinstance(error, BusFull):  # then nothing was applied
                    await self._give_back(lease)
                    lease = None
                began, written = loop.time(), 0  # what was not written in time never was due
            await asyncio.sleep(TICK_S)
        await self._make_sure(lease)
        self.silent.set()

    async def _make_sure(self, lease: Lease | None) -> None:
        """Learns what Redis holds in the end."""
        while True:
            try:
                lease = lease or await self._lease()
                await self._renew(lease)
            except (BusFull, BusUnavailable, LeaseLost):
                lease = None
                await asyncio.sleep(TICK_S)
            else:
                return

    async def _lease(self) -> Lease:
        async with asyncio.timeout(60):
            while (lease := await self._stages.lease(self.session_id)) is None:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.1)  # the last one has to expire
        self._renewed_s = asyncio.get_running_loop().time()
        known = int(lease.note or 0)
        self.accepted += range(self._following, known)
        self.forgotten += (number for number in self.accepted if number >= known)
        self.accepted = [number for number in self.accepted if number < known]
        self._following = max(self._following, known)
        return lease

    async def _give_back(self, lease: Lease | None) -> None:
        """As workers do whose write has an unknown outcome: so the next lease need not wait for this one's expiry."""
        if lease is not None:
            with suppress(BusFull, BusUnavailable, LeaseLost):
                await lease.hand_over()

    async def _renew(self, lease: Lease) -> None:
        await lease.renew()
        self._renewed_s = asyncio.get_running_loop().time()

    async def _write(self, lease: Lease, count: int) -> None:
        numbers = range(self._following, self._following + count)
        emission = Emission(turn=1)
        for number in numbers:
            data = TokenData(token=f"{number} ", response_id="r")
            emission.event(Token(session_id=self.session_id, turn=1, data=data))
        await lease.emit(emission.note(str(numbers.stop)))
        self.accepted += numbers
        self._following = numbers.stop


class Listener:
    """A client of the session that connects again whenever it must, through our own Python client."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.seen: list[int] = []
        self.voided: list[int] = []  # seen, and then a gap told that they are not the session's any more
        self.gaps: list[Event] = []
        self.epochs: set[str] = set()  # which it knows of
        self.longest_wait_s = 0.0
        self.connection: Connection | None = None
        self.failure: VoicebusError | None = None
        self.ready = asyncio.Event()
        self._seqs: list[int] = []  # of what it has seen
        self._last_s = 0.0
        self._news = asyncio.Event()

    async def run(self, voicebus: Voicebus, options: Options = QUICK) -> None:
        """Listens until it is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with voicebus.connect(
                self.source.session_id, position=Position.BEGINNING, options=options
            ) as self.connection:
                self.ready.set()
                async for event in self.connection:
                    if self.connection.position:
                        self.epochs.add(self.connection.position.epoch)
                    if event.type == "gap":
                        self._note_gap(event)
                    if event.type != "token":
                        continue
                    self.seen.append(int(event.data["token"]))
                    self._seqs.append(event.seq or 0)
                    if self._last_s:
                        self.longest_wait_s = max(self.longest_wait_s, loop.time() - self._last_s)
                    self._last_s = loop.time()
                    self._news.set()
        except VoicebusError as error:
            self.failure = error
            self.ready.set()
            self._news.set()

    def _note_gap(self, gap: Event) -> None:
        self.gaps.append(gap)
        if gap.data["stream"] == "events" and gap.data["reason"] in {"epoch_changed", "ahead"}:
            kept = sum(seq < gap.number("from") for seq in self._seqs)
            self.voided += self.seen[kept:]
            del self.seen[kept:], self._seqs[kept:]

    async def caught_up(self) -> None:
        """Returns when it has the last token that its source was promised to have written, or can't have it."""
        while (
            self.failure is None
            and self.source.accepted
            and (not self.seen or self.seen[-1] < self.source.accepted[-1])
        ):
            self._news.clear()
            await self._news.wait()

    @property
    def tally(self) -> Tally:
        """What it got of what was accepted."""
        return Tally.of(self.source.accepted, self.seen)

    @property
    def untold(self) -> int:
        """How many events that Redis has forgotten it was not told of: by a gap if it had them, else by a new epoch."""
        if len(self.epochs) > 1:
            return 0
        return len(set(self.source.forgotten).difference(self.voided))


class Crowd:
    """Sources and the clients that listen to them."""

    def __init__(self, sources: Sequence[Source], listeners: Sequence[Listener]) -> None:
        self.sources = sources
        self.listeners = listeners

    async def settle(self, *, within_s: float = 30) -> None:
        """Nothing more is written; returns when each client has all of it, or the time is over."""
        for source in self.sources:
            source.stop()
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as waiting:
                for source in self.sources:
                    await source.silent.wait()
                for listener in self.listeners:
                    waiting.create_task(listener.caught_up())
        except TimeoutError:
            pass  # what did not come counts as lost

    @property
    def tally(self) -> Tally:
        """Of all clients, and of what Redis forgot."""
        forgotten = Tally(lost=sum(len(source.forgotten) for source in self.sources))
        return total([forgotten, *(listener.tally for listener in self.listeners)])

    @property
    def tally_but_for_told(self) -> Tally:
        """Of all clients; what Redis forgot is lost only if they were not told of it."""
        untold = Tally(lost=sum(listener.untold for listener in self.listeners))
        return total([untold, *(listener.tally for listener in self.listeners)])

    @property
    def forgotten(self) -> int:
        """How many events Redis forgot that it had accepted."""
        return sum(len(source.forgotten) for source in self.sources)

    @property
    def recovery_s(self) -> float:
        """The longest that any of them waited for a token while they were written all the time."""
        return max(listener.longest_wait_s for listener in self.listeners)

    @property
    def accepted(self) -> int:
        """How many tokens were written."""
        return sum(len(source.accepted) for source in self.sources)

    @property
    def failures(self) -> list[str]:
        """Why clients gave up."""
        return [str(listener.failure) for listener in self.listeners if listener.failure]

    @property
    def gaps(self) -> list[Event]:
        """What clients were told can't be replayed."""
        return [gap for listener in self.listeners for gap in listener.gaps]


@asynccontextmanager
async def crowd(
    bus: Bus,
    url: str | Callable[[int], str],
    *,
    sessions: int,
    clients: int,
    rate: float,
    options: Options = QUICK,
) -> AsyncIterator[Crowd]:
    """`clients` in all, dealt out to the sessions, each of which has a source of `rate` tokens a second.

    `url` is the gateway's address, or tells that of a client's number. All are connected, and have heard something.
    """
    sources = [Source(bus, await open_session(bus), rate) for _ in range(sessions)]
    listeners = [Listener(sources[number % sessions]) for number in range(clients)]
    made = Crowd(sources, listeners)
    addresses = [url if isinstance(url, str) else url(number) for number in range(clients)]
    token = make_token(SECRET, OWNER)
    entries = {address: Voicebus(address, token, options=options) for address in set(addresses)}
    async with asyncio.TaskGroup() as tasks:
        listening = [
            tasks.create_task(listener.run(entries[address], options))
            for listener, address in zip(listeners, addresses, strict=True)
        ]
        writing = [tasks.create_task(source.run()) for source in sources]
        try:
            async with asyncio.timeout(60):
                for listener in listeners:
                    await listener.ready.wait()
            yield made
        finally:
            for source in sources:
                source.stop()
            for task in (*listening, *writing):
                task.cancel()
            for entry in entries.values():
                await entry.close()


async def open_session(bus: Bus) -> str:
    """A session whose agent stage waits for a worker."""
    session, _ = await bus.sessions.open(NewSession(), OWNER)
    await bus.inbox.submit(session.session_id, "go on", agent_type="personal")
    return session.session_id
