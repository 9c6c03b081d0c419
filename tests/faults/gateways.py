"""Several gateways of one installation, each of which can be killed, stopped and started again at its port."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from support.processes import Service, gateway_service
from support.programs import Program

from voicebus_stack.ready import wait_until_ready

_READY_S = 60


class Gateways:
    """Numbered from 0. Their logs go to `gateway-N.log` in the folder."""

    def __init__(self, redis_url: str, prefix: str, count: int, folder: Path, **environment: str) -> None:
        self._services: list[Service] = [
            gateway_service(redis_url, prefix, LOG_FORMAT="json", CONNECTIONS_PER_SESSION="1000", **environment)
            for _ in range(count)
        ]
        self._folder = folder
        self._running: dict[int, Program] = {}

    @property
    def ports(self) -> list[int]:
        """Where each one listens."""
        return [service.port for service in self._services]

    def __getitem__(self, number: int) -> Program:
        return self._running[number]

    async def start(self, *numbers: int) -> None:
        """Starts these, and returns when they are ready.

        Raises:
            TimeoutError: some were not within a minute.
        """
        for number in numbers:
            service = self._services[number]
            log = self._folder / f"gateway-{number}.log"
            self._running[number] = Program(service.module, os.environ | service.environment, log)
        ports = [self._services[number].port for number in numbers]
        await asyncio.to_thread(wait_until_ready, ports, timeout_s=_READY_S)

    def kill(self, number: int) -> None:
        """`kill -9`."""
        program = self._running.pop(number)
        program.kill()
        program.wait(10)

    def stop(self) -> None:
        """Kills all."""
        for number in tuple(self._running):
            self.kill(number)


@asynccontextmanager
async def running_gateways(
    redis_url: str, prefix: str, count: int, folder: Path, **environment: str
) -> AsyncIterator[Gateways]:
    """They are ready; killed at the end."""
    gateways = Gateways(redis_url, prefix, count, folder, **environment)
    try:
        await gateways.start(*range(count))
        yield gateways
    finally:
        gateways.stop()
