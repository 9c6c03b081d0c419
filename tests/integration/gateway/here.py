"""A gateway in the test's own process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from pydantic import SecretStr
from support.processes import GENEROUS, SECRET, RunningGateway
from support.programs import Program

from gateway.app import create_app
from gateway.process import server_config
from gateway.settings import GatewaySettings
from voicebus.chassis.health import QuietServer, listen


@asynccontextmanager
async def gateway_here(redis_url: str, **fields: Any) -> AsyncIterator[RunningGateway]:
    """Runs with these settings while inside; there is no process to signal."""
    fields = {"redis_prefix": "gw", **GENEROUS, **fields}
    settings = GatewaySettings(redis_url=redis_url, partitions=4, jwt_secret=SecretStr(SECRET), **fields)
    listener = listen("127.0.0.1", 0)
    server = QuietServer(server_config(create_app(settings), settings))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve(sockets=[listener]))
        try:
            yield RunningGateway(int(listener.getsockname()[1]), cast("Program", None))
        finally:
            server.should_exit = True
