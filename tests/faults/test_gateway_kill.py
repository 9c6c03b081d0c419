"""`kill -9` of one of two gateways, again and again: its clients go on at the other one."""

import asyncio
import random
from pathlib import Path
from typing import Final

from faults.crowd import crowd
from faults.gateways import running_gateways
from faults.proxy import Proxy, proxy
from faults.scenario import FULL, SEED, Outcome, Record
from support.process_tree import soon

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings

CLIENTS, SESSIONS, RATE = (100, 10, 20) if FULL else (30, 3, 20)
KILLS = 10 if FULL else 2
BACK_S: Final = 30  # for all clients to get to the other one


async def test_clients_of_a_killed_gateway_go_on_at_the_other(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    cut = resumed = 0
    async with (
        running_gateways(bus_settings.redis_url, bus_settings.prefix, 2, tmp_path) as gateways,
        proxy(gateways.ports) as way,
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE, bare=True) as clients,
    ):
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            victim, other = gateways.ports[number % 2], gateways.ports[1 - number % 2]
            at_victim = lines_to(way, victim)
            gateways.kill(number % 2)
            await soon(lambda: lines_to(way, other) == clients.connected == CLIENTS, timeout_s=BACK_S)  # noqa: B023 - awaited
            cut += at_victim
            resumed += at_victim - (CLIENTS - min(lines_to(way, other), clients.connected))
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            await gateways.start(number % 2)
        await clients.settle()
    record(
        Outcome(
            "one of two gateways is killed",
            f"{CLIENTS} clients, {SESSIONS * RATE} events/s",
            f"{KILLS} kills, {cut} connections",
            clients.tally,
            clients.recovery_s,
            f"{clients.accepted} events; {resumed} of {cut} connections resumed at the other before it was back",
        )
    )
    assert not clients.failures
    assert not clients.gaps
    assert cut > KILLS
    assert resumed == cut


def lines_to(way: Proxy, port: int) -> int:
    """How many connections go to this server."""
    return sum(pair.target == port for pair in way.pairs)
