"""What happens to a session between the look at it and the first read of its log. The gateway runs in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
import websockets
from pydantic import SecretStr
from support.processes import SECRET, bearer_of
from support.sessions import open_session
from support.wire import Wire

from gateway.app import create_app
from gateway.frames import FramesProtocol
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus
from voicebus.bus.sessions import Sessions
from voicebus.chassis.health import QuietServer, listen
from voicebus.contract.sessions import Session


@asynccontextmanager
async def gateway_here(redis_url: str) -> AsyncIterator[str]:
    """A gateway in this process; yields its WebSocket URL."""
    settings = GatewaySettings(redis_url=redis_url, redis_prefix="gw", partitions=4, jwt_secret=SecretStr(SECRET))
    listener = listen("127.0.0.1", 0)
    server = QuietServer(uvicorn.Config(create_app(settings), log_config=None, ws=FramesProtocol))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True


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
    async with (
        gateway_here(redis_url) as url,
        websockets.connect(f"{url}/ai/ws/{session_id}", additional_headers=bearer_of("alice")) as socket,
    ):
        client = Wire(socket)
        assert await client.close_code() == 4510
    assert [message["type"] for message in client.seen] == ["welcome", "session_end"]
    assert (client.seen[0]["data"]["resumed"], client.seen[0]["data"]["replayed"]) == (False, 1)
