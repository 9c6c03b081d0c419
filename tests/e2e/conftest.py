"""Two gateways and a worker of each stage, as processes of their own on one Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
from support.processes import SECRET, RunningGateway, Service, gateway_service, services

from voicebus_client.client import Voicebus
from voicebus_stack.ports import free_port
from voicebus_stack.tokens import make_token

PREFIX = "e2e"


@pytest.fixture(scope="session")
def gateways(redis_url: str) -> Iterator[list[RunningGateway]]:
    wanted = [gateway_service(redis_url, PREFIX) for _ in range(2)]
    shared = {
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": PREFIX,
        "PARTITIONS": "4",
        "DRAIN_S": "1",
        "AGENT_TOOLS_READY_S": "60",  # on a busy machine too
    }
    for stage in ("stt", "agent", "tts"):
        port = free_port()
        wanted.append(Service(f"{stage}_worker", port, shared | {"HEALTH_PORT": str(port)}))
    with services(*wanted) as processes:
        yield [RunningGateway(wanted[n].port, processes[n]) for n in range(2)]


@pytest.fixture
def token() -> str:
    """Alice's."""
    return make_token(SECRET, "alice")


@pytest.fixture
async def voicebus(gateways: list[RunningGateway], token: str) -> AsyncIterator[Voicebus]:
    async with Voicebus(gateways[0].url, token) as client:
        yield client
