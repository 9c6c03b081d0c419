"""What happens to a session between the look at it and the first read of its log. The gateway runs in this process."""

import pytest
from integration.gateway.here import gateway_here
from support.sessions import open_session
from support.wire import wire

from voicebus.bus.bus import Bus
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
