"""Two gateways and a worker of each stage, as processes of their own on one Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from support.processes import RunningGateway, bearer_of, gateway_process, service

from voicebus_client.client import Voicebus
from voicebus_stack.redis_server import free_port

PREFIX = "e2e"


@pytest.fixture(scope="session")
def gateways(redis_url: str) -> Iterator[list[RunningGateway]]:
    shared = {"REDIS_URL": redis_url, "REDIS_PREFIX": PREFIX, "PARTITIONS": "4", "DRAIN_S": "1"}
    with ExitStack() as stack:
        running = [stack.enter_context(gateway_process(redis_url, PREFIX)) for _ in range(2)]
        for stage in ("stt", "agent", "tts"):
            port = free_port()
            stack.enter_context(service(f"{stage}_worker", port, **shared, HEALTH_PORT=str(port)))
        yield running


@pytest.fixture
async def voicebus(gateways: list[RunningGateway]) -> AsyncIterator[Voicebus]:
    token = bearer_of("alice")["Authorization"].removeprefix("Bearer ")
    async with Voicebus(gateways[0].url, token) as client:
        yield client
