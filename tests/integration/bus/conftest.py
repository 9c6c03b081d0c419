"""Every test of the bus runs on one Redis and on a cluster."""

from uuid import uuid4

import pytest

from voicebus.bus.settings import BusSettings


@pytest.fixture(params=["one", "cluster"])
def bus_settings(request: pytest.FixtureRequest) -> BusSettings:
    """Keys of its own: tests share the servers, never the data."""
    clustered = request.param == "cluster"
    url = request.getfixturevalue("redis_cluster").url if clustered else request.getfixturevalue("redis_url")
    return BusSettings(redis_url=url, prefix=f"t{uuid4().hex[:8]}", partitions=4)
