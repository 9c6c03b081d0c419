"""A gateway that is told to stop: its clients leave over the window, served to the end, and nobody new comes in."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from support.processes import RunningGateway, gateway_process
from support.sessions import open_session
from support.wire import Wire, wire

from voicebus.bus.bus import Bus

WINDOW_S = 2.0


@asynccontextmanager
async def draining(
    redis_url: str, bus: Bus, *, clients: int, window_s: float
) -> AsyncIterator[tuple[RunningGateway, str, list[Wire]]]:
    """A gateway that was told to stop, a session, and who had joined it there; the gateway has gone at the end."""
    with gateway_process(redis_url, "gw", DRAIN_S=str(window_s)) as gateway:
        session_id = await open_session(bus)
        async with AsyncExitStack() as stack:
            joined = [await stack.enter_async_context(wire(gateway, session_id)) for _ in range(clients)]
            for client in joined:
                await client.until("welcome")
            gateway.process.terminate()
            yield gateway, session_id, joined
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0


async def test_a_draining_gateway_sends_its_clients_away_and_lets_nobody_in(redis_url: str, gateway_bus: Bus) -> None:
    async with draining(redis_url, gateway_bus, clients=12, window_s=WINDOW_S) as (gateway, session_id, clients):
        begun = time.monotonic()

        async def leave(client: Wire) -> tuple[float, float]:
            """When it was to go and when it went, in seconds from the beginning."""
            announced = (await client.until("drain"))["data"]["reconnect_after_ms"] / 1_000
            assert await client.close_code() == 1012
            return announced, time.monotonic() - begun

        leaving = asyncio.gather(*(leave(client) for client in clients[1:]))
        await clients[0].until("drain")
        async with wire(gateway, session_id) as late:
            assert await late.close_code() == 1012
            assert (late.seen, late.socket.close_reason) == ([], "draining")
        async with httpx2.AsyncClient(base_url=gateway.url) as http:
            ready = await http.get("/readyz")
            assert (ready.status_code, ready.json()["parts"]["redis"]) == (503, "ok")
            assert "going away" in ready.json()["parts"]["gateway"]
        times = await leaving
    assert all(0 <= announced <= WINDOW_S for announced, _ in times)
    assert max(announced for announced, _ in times) - min(announced for announced, _ in times) > WINDOW_S / 10
    for announced, went in times:
        assert announced <= went + 0.01 < WINDOW_S + 1


async def test_until_it_leaves_a_client_is_served_on(redis_url: str, gateway_bus: Bus) -> None:
    async with draining(redis_url, gateway_bus, clients=4, window_s=30) as (_, session_id, clients):
        delays = [(await client.until("drain"))["data"]["reconnect_after_ms"] for client in clients]
        patient = clients[delays.index(max(delays))]
        await patient.send(type="text", id="m1", content="still there?")
        assert (await patient.until("ack"))["data"]["id"] == "m1"
        await gateway_bus.sessions.end(session_id, "deleted")  # nobody is left to wait for
        for client in clients:
            assert await client.close_code() in {1012, 4510}
