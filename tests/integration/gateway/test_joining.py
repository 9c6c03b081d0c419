"""What happens to a session between the look at it and the first read of its log. The gateway runs in this process."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from integration.gateway.here import gateway_here
from support.process_tree import until
from support.sessions import open_session
from support.wire import wire

from gateway.connections import Connections
from gateway.drain import Drain
from gateway.hub import Hub
from voicebus.bus.bus import Bus
from voicebus.bus.items import Item
from voicebus.bus.sessions import Sessions
from voicebus.contract.sessions import Session


async def test_a_session_that_ends_while_a_client_comes_in_ends_for_it_too(
    redis_url: str, gateway_bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = await open_session(gateway_bus, "before")
    look = Sessions.get

    async def look_then_end(sessions: Sessions, name: str) -> Session:
        session = await look(sessions, name)
        await gateway_bus.sessions.end(name, "deleted")
        return session

    monkeypatch.setattr(Sessions, "get", look_then_end)
    async with gateway_here(redis_url) as gateway, wire(gateway, session_id) as client:
        assert await client.close_code() == 4510
    assert [message["type"] for message in client.seen] == ["welcome", "session_end"]
    assert (client.seen[0]["data"]["resumed"], client.seen[0]["data"]["replayed"]) == (False, 1)


class Followed:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def push(self, items: Sequence[Item]) -> None:
        self.items += items

    def lost(self) -> None:
        pass


async def test_who_leaves_while_it_waits_to_come_in_takes_nobody_along(bus: Bus) -> None:
    hub, stays, session_id = Hub(bus, Connections(Drain(0))), Followed(), await open_session(bus)
    channel = bus.keys.of(session_id).live.encode()

    async def join() -> None:
        async with hub.following(session_id, Followed()):
            pass

    async with hub.following(session_id, stays):
        bus.subscriptions.lost([channel])  # as when its connection breaks: who comes now waits
        joining = asyncio.create_task(join())
        await asyncio.sleep(0)
        joining.cancel()
        await asyncio.wait([joining])
        assert joining.cancelled()
        bus.subscriptions.confirmed(channel)
        await bus.inbox.submit(session_id, "hello", agent_type="personal")
        await until(lambda: bool(stays.items))


async def test_an_idle_client_has_no_task(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    async with gateway_here(redis_url) as gateway, wire(gateway, session_id) as first:
        await first.until("welcome")
        before = len(asyncio.all_tasks())
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(wire(gateway, session_id)) for _ in range(10)]
            for client in clients:
                await client.until("welcome")
            await until(lambda: len(asyncio.all_tasks()) <= before + 10)  # of the test's own clients, one each
