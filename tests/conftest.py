"""A real Redis for all tests, and a bus of its own for each."""

from collections.abc import AsyncIterator, Callable, Iterator
from uuid import uuid4

import pytest
from hypothesis import settings
from support.redis_cluster import Cluster, running_cluster

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus_stack.redis_server import running_redis

settings.register_profile("voicebus", deadline=None)  # how long an example takes says nothing about the code
settings.load_profile("voicebus")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three primaries. Who moves slots moves them for all tests: they must cope."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def bus_settings(redis_url: str) -> BusSettings:
    """Keys of its own: tests share the server, never the data."""
    return BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}", partitions=4)


@pytest.fixture
async def bus(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    async with open_bus(bus_settings) as opened:
        yield opened


@pytest.fixture
def open_another(bus_settings: BusSettings) -> Callable[[], object]:
    """Opens a further bus on the same data, as another process would."""
    return lambda: open_bus(bus_settings)
