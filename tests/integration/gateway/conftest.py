"""Two gateways on one bus, and a bus of the tests' own beside them."""

from collections.abc import AsyncIterator, Iterator

import pytest
from integration.gateway.neighbours import Neighbours, neighbours_at
from support.processes import RunningGateway, gateway_process
from support.sessions import open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings

PREFIX = "gw"


@pytest.fixture(scope="session")
def gateway(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX) as running:
        yield running


@pytest.fixture(scope="session")
def other_gateway(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX) as running:
        yield running


@pytest.fixture
async def gateway_bus(redis_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=PREFIX, partitions=4)) as bus:
        yield bus


@pytest.fixture
async def session_id(gateway_bus: Bus) -> str:
    return await open_session(gateway_bus)


@pytest.fixture
async def neighbours(gateway: RunningGateway, gateway_bus: Bus, session_id: str) -> AsyncIterator[Neighbours]:
    async with neighbours_at(gateway, gateway_bus, session_id) as those:
        yield those
