"""Two real gateways for the client's tests, and the bus behind them."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from integration.client.clients import QUICK
from integration.client.real_gateway import Balancer, running_gateway, token
from support.processes import RunningGateway

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus_client import Voicebus


@pytest.fixture(scope="package")
def settings(redis_url: str) -> BusSettings:
    return BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}", partitions=4)


@pytest.fixture(scope="package")
def gateways(settings: BusSettings) -> Iterator[list[RunningGateway]]:
    with running_gateway(settings) as one, running_gateway(settings) as other:
        yield [one, other]


@pytest.fixture
def gateway(gateways: list[RunningGateway]) -> RunningGateway:
    return gateways[0]


@pytest.fixture
def balancer(gateways: list[RunningGateway]) -> Balancer:
    return Balancer([gateway.port for gateway in gateways])


@pytest.fixture
async def bus(settings: BusSettings) -> AsyncIterator[Bus]:
    async with open_bus(settings) as opened:
        yield opened


@pytest.fixture
async def voicebus(gateway: RunningGateway) -> AsyncIterator[Voicebus]:
    async with Voicebus(gateway.url, token(), options=QUICK) as client:
        yield client
