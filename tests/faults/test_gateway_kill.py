"""`kill -9` of one of two gateways, again and again: its clients go on at the other one."""

import asyncio
import random
from pathlib import Path

from faults.crowd import crowd
from faults.gateways import running_gateways
from faults.proxy import proxy
from faults.scenario import FULL, SEED, Outcome, Record

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings

CLIENTS, SESSIONS, RATE = (100, 10, 20) if FULL else (30, 3, 20)
KILLS = 10 if FULL else 2


async def test_clients_of_a_killed_gateway_go_on_at_the_other(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    resumed = 0
    async with (
        running_gateways(bus_settings.redis_url, bus_settings.prefix, 2, tmp_path) as gateways,
        proxy(gateways.ports) as way,
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE) as clients,
    ):
        for number in range(KILLS):
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            victim = number % 2
            resumed += sum(pair.target == gateways.ports[victim] for pair in way.pairs)
            gateways.kill(victim)
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            await gateways.start(victim)
        await clients.settle()
    record(
        Outcome(
            "one of two gateways is killed",
            f"{CLIENTS} clients, {SESSIONS * RATE} events/s",
            f"{KILLS} kills, {resumed} connections",
            clients.tally,
            clients.recovery_s,
            f"{clients.accepted} events",
        )
    )
    assert not clients.failures
    assert not clients.gaps
    assert resumed > KILLS
