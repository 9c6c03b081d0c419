"""One client reads 1 KB/s among fast ones: they don't notice, and it misses nothing."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import pytest
from faults.audience import Audience, Writer, audience
from faults.crowd import OWNER, QUICK, open_session
from faults.figures import metric, resident_bytes
from faults.gateways import Gateways, running_gateways
from faults.scenario import FULL, Outcome, Record, takes_long
from faults.slow_reader import SlowClient
from faults.tally import Tally, total
from support.processes import SECRET

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

BYTES_A_SECOND: Final = 1_000
FAST, RATE = (99, 20) if FULL else (10, 20)
SIZE: Final = 8_000  # bytes of an event: the slow one needs eight seconds for it
TOGETHER: Final = 50  # events that are written at once
UNREAD: Final = 4_000 if FULL else 2_000  # events: more than sockets hold, and than a process grows by anyway
KEPT_MOST: Final = 0.25  # of these in the gateway's memory
BEFORE: Final = 500  # events, so that it is behind from the beginning
QUEUE_MAX: Final = 64  # items that wait for a client in the gateway
PING_S: Final = 1
READS_ON_S: Final = 6.5  # several pings
SETTLES_S: Final = 0.5  # until it has been given as much as its socket takes
PHASE_S: Final = 3.0 if FULL else 0.5
PHASES: Final = (False, True, True, False)  # with the slow one or not: none is always the first of a pair
PAIRS: Final = 10 if FULL else 2  # of phases, with the slow one and without it
PAIRS_MOST: Final = 30  # if the first ones differ too much: on a machine that others use, too, equal ones do
SLOWER_MOST: Final = 1.2
TOO_SLOW: Final = 4508
FELL_BEHIND: Final = "voicebus_slow_clients_total"


@takes_long
@pytest.mark.timeout(500)
async def test_nobody_waits_for_a_client_that_reads_slowly(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    environment = {"QUEUE_MAX": str(QUEUE_MAX), "PING_INTERVAL_S": str(PING_S)}
    async with (
        running_gateways(bus_settings.redis_url, bus_settings.prefix, 1, tmp_path, **environment) as gateways,
        Voicebus(f"http://127.0.0.1:{gateways.ports[0]}", make_token(SECRET, OWNER), options=QUICK) as voicebus,
    ):
        await _warm_up(await _writer(bus), voicebus)
        left_behind = await _leave_behind(await _writer(bus), voicebus, gateways)
        fell_behind = await metric(gateways.ports[0], FELL_BEHIND)
        compared = await _compare(await _writer(bus), voicebus, gateways)
    alone_s, beside_s = median(compared.alone_s), median(compared.beside_s)
    record(
        Outcome(
            "a client reads 1 KB/s",
            f"{FAST} fast clients, {RATE} events/s of {SIZE / 1000:.0f} KB",
            f"it is {compared.behind} events behind",
            left_behind.tally + compared.tally,
            remarks=f"in {len(compared.beside_s)} phases of each p99 of the fast ones "
            f"{alone_s * 1000:.1f} ms without it, {beside_s * 1000:.1f} ms with it; "
            f"the gateway grew by {left_behind.grown / 2**20:.1f} MB "
            f"while {left_behind.unread / 2**20:.1f} MB were unread",
        )
    )
    assert fell_behind
    assert left_behind.grown < KEPT_MOST * left_behind.unread
    assert not left_behind.closed
    assert compared.behind > QUEUE_MAX
    assert set(compared.closed) <= {TOO_SLOW}
    assert not FULL or not compared.slower, (compared.alone_s, compared.beside_s)


@dataclass(frozen=True)
class LeftBehind:
    """What a slow reader costs for which much is written at once."""

    grown: int  # bytes of the gateway's memory
    unread: int  # bytes
    closed: list[int]
    tally: Tally


async def _warm_up(writer: Writer, voicebus: Voicebus) -> None:
    """What the gateway needs to pass events on it has from now on."""
    async with audience(voicebus, writer, clients=2) as fast:
        await _write_much(writer, fast, BEFORE)


async def _leave_behind(writer: Writer, voicebus: Voicebus, gateways: Gateways) -> LeftBehind:
    """It reads on, past some pings, and then all the rest, on the same connection."""
    async with audience(voicebus, writer, clients=1) as fast:
        slow = SlowClient(gateways.ports[0], writer.session_id, OWNER, rate=BYTES_A_SECOND)
        before = grown = resident_bytes(gateways[0].pid)
        async with slow.reading():
            for _ in range(0, UNREAD, TOGETHER):
                await _write_much(writer, fast, TOGETHER)
                grown = max(grown, resident_bytes(gateways[0].pid))
            await slow.goes_on_for(READS_ON_S)
            grown = max(grown, resident_bytes(gateways[0].pid))
            unread = (len(writer.written_s) - len(slow.seen)) * SIZE
            await slow.catch_up(len(writer.written_s))
    return LeftBehind(grown - before, unread, slow.closed, _tally(writer, fast, slow))


@dataclass
class Compared:
    """The p99 of the fast clients in each phase without the slow one and with it."""

    alone_s: list[float] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    behind: int = 0  # events that the slow one had not read in the end
    closed: list[int] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    @property
    def slower(self) -> bool:
        """Whether the slow one costs the others more than it may, as far as these phases tell."""
        return median(self.beside_s) > SLOWER_MOST * median(self.alone_s)


async def _compare(writer: Writer, voicebus: Voicebus, gateways: Gateways) -> Compared:
    found = Compared()
    async with audience(voicebus, writer, clients=FAST) as fast:
        slow = SlowClient(gateways.ports[0], writer.session_id, OWNER, rate=BYTES_A_SECOND)
        await _write_much(writer, fast, BEFORE)
        while len(found.beside_s) < PAIRS or (FULL and found.slower and len(found.beside_s) < PAIRS_MOST):
            for with_it in PHASES:
                if with_it:
                    async with slow.reading():
                        await slow.goes_on_for(SETTLES_S)
                        found.beside_s.append(await fast.p99_s(PHASE_S, rate=RATE))
                else:
                    await asyncio.sleep(SETTLES_S)
                    found.alone_s.append(await fast.p99_s(PHASE_S, rate=RATE))
        found.behind = len(writer.written_s) - len(slow.seen)
        async with slow.reading():
            await slow.catch_up(len(writer.written_s))
    found.closed, found.tally = slow.closed, _tally(writer, fast, slow)
    return found


async def _writer(bus: Bus) -> Writer:
    """In a session of its own."""
    session_id = await open_session(bus)
    lease = await bus.stages("agent", "writer").lease(session_id)
    assert lease is not None
    return Writer(session_id, lease, SIZE)


def _tally(writer: Writer, fast: Audience, slow: SlowClient) -> Tally:
    written = range(len(writer.written_s))
    return total(Tally.of(written, seen) for seen in (slow.seen, *(client.seen for client in fast.clients)))


async def _write_much(writer: Writer, fast: Audience, count: int) -> None:
    """Some at once, and the next ones when the fast clients have them."""
    for _ in range(0, count, TOGETHER):
        await writer.write(TOGETHER)
        await fast.caught_up()
