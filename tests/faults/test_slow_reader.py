"""One client reads 1 KB/s among fast ones: they don't notice, and it misses nothing."""

import asyncio
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Final

import pytest
from faults.audience import Audience, Speaker, audience
from faults.crowd import OWNER, QUICK, open_session
from faults.figures import metric, resident_bytes
from faults.gateways import running_gateways
from faults.scenario import FULL, Outcome, Record, takes_long
from faults.slow_reader import SlowReader
from faults.tally import Tally, total
from support.processes import SECRET

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

FAST, RATE = (99, 20) if FULL else (10, 20)
SIZE: Final = 8_000  # bytes of an event: the slow one needs eight seconds for it
TOGETHER: Final = 50  # events that are written at once, so that it falls behind
MOST: Final = 2_000  # more than sockets hold
QUEUE_MAX: Final = 64  # items that wait for a client in the gateway
PHASE_S: Final = 8.0 if FULL else 0.5
PAIRS_LEAST, PAIRS_MOST = (4, 10) if FULL else (2, 2)  # of phases, without the slow one and with it
SLOWER_MOST: Final = 1.2
GROWN_MOST: Final = 32 * 2**20  # bytes
TOO_SLOW: Final = 4508
SETTLED_S: Final = 20
FELL_BEHIND: Final = "voicebus_slow_clients_total"


@takes_long
@pytest.mark.timeout(300)
async def test_nobody_waits_for_a_client_that_reads_slowly(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    session_id = await open_session(bus)
    lease = await bus.stages("agent", "speaker").lease(session_id)
    assert lease is not None
    speaker = Speaker(session_id, lease, SIZE)
    alone_s: list[float] = []
    beside_s: list[float] = []
    grown = 0
    async with (
        running_gateways(
            bus_settings.redis_url, bus_settings.prefix, 1, tmp_path, QUEUE_MAX=str(QUEUE_MAX), PING_INTERVAL_S="1"
        ) as gateways,
        Voicebus(f"http://127.0.0.1:{gateways.ports[0]}", make_token(SECRET, OWNER), options=QUICK) as voicebus,
        audience(voicebus, speaker, clients=FAST) as fast,
    ):
        slow = SlowReader(gateways.ports[0], session_id, OWNER, rate=1_000)
        before = resident_bytes(gateways[0].pid)
        async with slow.reading():
            await _leave_behind(speaker, fast, gateways.ports[0])
            await _catch_up(slow, speaker)  # on the same connection
        await _write_much(speaker, fast, len(slow.seen))
        while len(alone_s) < PAIRS_LEAST or (len(alone_s) < PAIRS_MOST and not _alike(alone_s, beside_s)):
            alone_s.append(await fast.p99_s(PHASE_S, rate=RATE))
            async with slow.reading():
                beside_s.append(await fast.p99_s(PHASE_S, rate=RATE))
                grown = max(grown, resident_bytes(gateways[0].pid) - before)
        written = range(len(speaker.written_s))
        behind = len(written) - len(slow.seen)
        async with slow.reading():
            await _catch_up(slow, speaker)
    record(
        Outcome(
            "a client reads 1 KB/s",
            f"{FAST} fast clients, {RATE} events/s of {SIZE / 1000:.0f} KB",
            f"it is {behind} events behind",
            total(Tally.of(written, seen) for seen in (slow.seen, *(client.seen for client in fast.clients))),
            remarks=f"p99 of the fast ones {median(alone_s) * 1000:.1f} ms without it, "
            f"{median(beside_s) * 1000:.1f} ms with it; the gateway grew by {grown / 2**20:.1f} MB",
        )
    )
    assert behind > QUEUE_MAX
    assert grown < GROWN_MOST
    assert set(slow.closed) <= {TOO_SLOW}
    assert not FULL or _alike(alone_s, beside_s)


def _alike(alone_s: list[float], beside_s: list[float]) -> bool:
    return median(beside_s) < SLOWER_MOST * median(alone_s)


async def _leave_behind(speaker: Speaker, fast: Audience, port: int) -> None:
    """Writes until too much waits for one of the clients."""
    while not await metric(port, FELL_BEHIND) and len(speaker.written_s) < MOST:
        await _write_much(speaker, fast, TOGETHER)


async def _write_much(speaker: Speaker, fast: Audience, count: int) -> None:
    """Some at once, and the next ones when the fast clients have them."""
    for _ in range(0, count, TOGETHER):
        await speaker.write(TOGETHER)
        await fast.caught_up()


async def _catch_up(slow: SlowReader, speaker: Speaker) -> None:
    with suppress(TimeoutError):  # what did not come counts as lost
        async with asyncio.timeout(SETTLED_S):
            await slow.catch_up(len(speaker.written_s))
