"""Nothing goes wrong: what the scenarios compare with, and what their mutants leave as it is."""

from pathlib import Path

from faults.crowd import crowd
from faults.gateways import running_gateways
from faults.proxy import proxy
from faults.scenario import Outcome, Record, takes_long
from support.process_tree import until

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings

CLIENTS, SESSIONS, RATE = 20, 2, 20
EVENTS = 60  # of each session


@takes_long
async def test_clients_get_everything_once_and_in_order(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    async with (
        running_gateways(bus_settings.redis_url, bus_settings.prefix, 2, tmp_path) as gateways,
        proxy(gateways.ports) as way,
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE, bare=True) as clients,
    ):
        await until(lambda: all(len(source.accepted) >= EVENTS for source in clients.sources))
        await clients.settle()
    record(
        Outcome(
            "nothing goes wrong",
            f"{CLIENTS} clients, {SESSIONS * RATE} events/s",
            "none",
            clients.tally,
            clients.recovery_s,
            f"{clients.accepted} events",
        )
    )
    assert not clients.failures
    assert not clients.gaps
