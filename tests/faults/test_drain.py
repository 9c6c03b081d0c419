"""SIGTERM to one of two gateways, with all clients at it: they leave when they are told to, and miss nothing."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from faults.crowd import crowd
from faults.gateways import Gateways, running_gateways
from faults.proxy import proxy
from faults.scenario import FULL, Outcome, Record
from faults.tally import Tally
from support.processes import RunningGateway
from support.wire import wire
from websockets.exceptions import ConnectionClosed

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client.connection import Connection
from voicebus_client.events import Event
from voicebus_client.protocol import Retry, Stop
from voicebus_client.session import SessionState

CLIENTS, SESSIONS, RATE = (500, 25, 5) if FULL else (40, 4, 20)
DRAIN_S: Final = 10 if FULL else 3
END_S: Final = 3  # for a busy machine to end a process; who had not gone would hold this one for longer


class Returns:
    """When clients were told to come back, and when they came."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.due_s: dict[SessionState, float] = {}  # of those that are not back
        self.late_s: list[float] = []  # of those that are; before their time: less than 0
        self.told_s: list[float] = []  # how long each was to stay away
        control, attempt = SessionState.control, Connection._attempt

        def noted(state: SessionState, event: Event, now_s: float) -> bool:
            if event.type == "drain":
                self.told_s.append(event.number("reconnect_after_ms") / 1_000)
                self.due_s[state] = now_s + self.told_s[-1]
            return control(state, event, now_s)

        async def timed(connection: Connection) -> Retry | Stop:
            due_s = self.due_s.pop(connection._state, None)
            if due_s is not None:
                self.late_s.append(asyncio.get_running_loop().time() - due_s)
            return await attempt(connection)

        patch.setattr(SessionState, "control", noted)
        patch.setattr(Connection, "_attempt", timed)

    @property
    def tally(self) -> Tally:
        """Who came back before its time, or was to stay beyond the window, was not where it belonged."""
        early, beyond = (late_s < 0 for late_s in self.late_s), (told_s > DRAIN_S for told_s in self.told_s)
        return Tally(misplaced=sum(early) + sum(beyond))


@pytest.mark.timeout(180)
async def test_clients_of_a_draining_gateway_go_to_the_other_when_they_are_told_to(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns = Returns(monkeypatch)
    loop = asyncio.get_running_loop()
    redis = (bus_settings.redis_url, bus_settings.prefix)
    async with (
        running_gateways(*redis, 2, tmp_path, DRAIN_S=str(DRAIN_S)) as gateways,
        proxy(gateways.ports[:1]) as way,
        crowd(bus, way.url, sessions=SESSIONS, clients=CLIENTS, rate=RATE, bare=True) as clients,
    ):
        way.targets = gateways.ports[1:]  # as a load balancer that looks at /readyz
        began_s = loop.time()
        gateways[0].terminate()
        ended = asyncio.create_task(asyncio.to_thread(gateways[0].wait, 60))
        await _is_sent_away(gateways, clients.sources[0].session_id)
        status, took_s = await ended, loop.time() - began_s
        await clients.settle()
    tally = clients.tally + returns.tally
    record(
        Outcome(
            "a gateway drains",
            f"{CLIENTS} clients at it, {SESSIONS * RATE} events/s",
            f"SIGTERM, window of {DRAIN_S} s",
            tally,
            clients.recovery_s,
            f"{clients.accepted} events, ended after {took_s:.1f} s, back {_spread(returns.late_s)} after their time",
        )
    )
    assert not clients.failures
    assert not clients.gaps
    assert (len(returns.late_s), returns.due_s) == (CLIENTS - SESSIONS, {})  # bare ones ask nobody when to go
    assert status == 0
    assert took_s < DRAIN_S + END_S


async def _is_sent_away(gateways: Gateways, session_id: str) -> None:
    """Who comes to the draining gateway is told so, and nothing else. Whoever it still lets in leaves again."""
    draining = RunningGateway(gateways.ports[0], gateways[0])
    while True:
        async with wire(draining, session_id) as late:
            with suppress(ConnectionClosed):
                await late.receive()
                continue
            assert (late.socket.close_code, late.socket.close_reason) == (1012, "draining")
            return


def _spread(late_s: list[float]) -> str:
    return f"{min(late_s) * 1000:.0f} to {max(late_s) * 1000:.0f} ms" if late_s else "never"
