"""Who writes while something breaks, and who listens: each keeps what it was promised, or what it got."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import support.sessions
from faults.listeners import Bare, Listener, Reader, Written
from faults.tally import Tally, total
from support.processes import SECRET

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.errors import BusFull, BusUnavailable, LeaseLost
from voicebus.contract.events import Token
from voicebus.contract.payloads import TokenData
from voicebus_client.client import Voicebus
from voicebus_client.events import Event
from voicebus_client.options import Options
from voicebus_stack.tokens import make_token

OWNER: Final = "alice"
TICK_S: Final = 0.02  # between two emissions of a source, which hold what is due
QUICK: Final = Options(backoff_s=0.05, backoff_max_s=0.5, open_timeout_s=5, first_timeout_s=60, ping_interval_s=1)


class Source(Written):
    """A worker that owns a session's agent stage and writes numbered tokens at a steady rate.

    Where a write's outcome is not known it asks Redis, as every worker does: the next lease says how far it came.
    """

    def __init__(self, bus: Bus, session_id: str, rate: float) -> None:
        super().__init__(session_id)
        self.refused = 0  # writes that found no Redis, or no room in it
        self._bus = bus
        self._rate = rate  # tokens a second
        self._stages = bus.stages("agent", f"source-{session_id}")
        self._following = 0  # the next number
        self._epochs: dict[int, str] = {}  # in which numbers were accepted
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
        self._accept(range(self._following, known), lease)
        self.forgotten |= {number: self._epochs[number] for number in self.accepted if number >= known}
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
        self._accept(numbers, lease)
        self._following = numbers.stop

    def _accept(self, numbers: range, lease: Lease) -> None:
        self.accepted += numbers
        self._epochs |= dict.fromkeys(numbers, lease.token.partition(".")[2])


class Crowd:
    """Sources and the clients that listen to them: ours, and bare ones."""

    def __init__(self, sources: Sequence[Source], listeners: Sequence[Listener], bare: Sequence[Bare] = ()) -> None:
        self.sources = sources
        self.listeners = listeners
        self.clients: list[Reader] = [*bare, *listeners]

    async def settle(self, *, within_s: float = 30) -> None:
        """Nothing more is written; returns when each client has all of it, or the time is over."""
        for source in self.sources:
            source.stop()
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as waiting:
                for source in self.sources:
                    await source.silent.wait()
                for client in self.clients:
                    waiting.create_task(client.caught_up())
        except TimeoutError:
            pass  # what did not come counts as lost

    @property
    def tally(self) -> Tally:
        """Of all clients, and of what Redis forgot."""
        forgotten = Tally(lost=sum(len(source.forgotten) for source in self.sources))
        return total([forgotten, *(client.tally for client in self.clients)])

    @property
    def tally_but_for_told(self) -> Tally:
        """Of our clients; what Redis forgot is lost only if they were not told of it. Bare ones take nothing back."""
        untold = Tally(lost=sum(listener.untold for listener in self.listeners))
        return total([untold, *(listener.tally for listener in self.listeners)])

    @property
    def forgotten(self) -> int:
        """How many events Redis forgot that it had accepted."""
        return sum(len(source.forgotten) for source in self.sources)

    @property
    def recovery_s(self) -> float:
        """The longest that any of our clients waited for a token while they were written all the time."""
        return max(listener.longest_wait_s for listener in self.listeners)

    @property
    def accepted(self) -> int:
        """How many tokens were written."""
        return sum(len(source.accepted) for source in self.sources)

    @property
    def failures(self) -> list[str]:
        """Why clients gave up."""
        return [str(client.failure) for client in self.clients if client.failure]

    @property
    def gaps(self) -> list[Event]:
        """What clients were told can't be replayed."""
        return [gap for client in self.clients for gap in client.gaps]

    @property
    def delivered(self) -> int:
        """How many tokens came to clients."""
        return sum(len(client.seen) for client in self.clients)

    @property
    def connected(self) -> int:
        """How many clients are, as they know."""
        return sum(client.connected for client in self.clients)


@asynccontextmanager
async def crowd(
    bus: Bus,
    url: str | Callable[[int], str],
    *,
    sessions: int,
    clients: int,
    rate: float,
    bare: bool = False,
    options: Options = QUICK,
) -> AsyncIterator[Crowd]:
    """`clients` in all, dealt out to the sessions, each of which has a source of `rate` tokens a second.

    `url` is the gateway's address, or tells that of a client's number. With `bare` ones the first client of each
    session is such. All were welcomed.
    """
    sources = [Source(bus, await open_session(bus), rate) for _ in range(sessions)]
    keeping = [Bare(source) for source in sources] if bare else []
    listeners = [Listener(sources[number % sessions]) for number in range(len(keeping), clients)]
    made = Crowd(sources, listeners, keeping)
    addresses = [url if isinstance(url, str) else url(number) for number in range(clients)]
    token = make_token(SECRET, OWNER)
    entries = {address: Voicebus(address, token, options=options) for address in set(addresses)}
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(client.run(address, OWNER))
            for client, address in zip(keeping, addresses[: len(keeping)], strict=True)
        ]
        running += [
            tasks.create_task(listener.run(entries[address], options))
            for listener, address in zip(listeners, addresses[len(keeping) :], strict=True)
        ]
        running += [tasks.create_task(source.run()) for source in sources]
        try:
            async with asyncio.timeout(60):
                for client in made.clients:
                    await client.ready.wait()
            yield made
        finally:
            for source in sources:
                source.stop()
            for task in running:
                task.cancel()
            for entry in entries.values():
                await entry.close()


async def open_session(bus: Bus) -> str:
    """A session whose agent stage waits for a worker."""
    return await support.sessions.open_session(bus, "go on")
