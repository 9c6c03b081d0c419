"""Where scenarios take place, and how they tell what they found."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from faults.gateways import Gateways
from faults.own_redis import OwnRedis, own_redis
from faults.results import keep
from faults.scenario import FULL, Outcome, Record
from faults.scene import Scene, scene, two_gateways
from support.redis_cluster import running_cluster
from support.report import Show

from voicebus_stack.redis_server import running_redis


@pytest.fixture(scope="session", params=["one Redis", "cluster"] if FULL else ["one Redis"])
def redis_kind(request: pytest.FixtureRequest) -> str:
    """The whole suite runs on one Redis and on a cluster of three primaries."""
    return str(request.param)


@pytest.fixture(scope="session")
def redis_url(redis_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    if redis_kind == "cluster":
        with running_cluster(folder) as cluster:
            yield cluster.url
    else:
        with running_redis(folder) as url:
            yield url


@pytest.fixture(scope="module")
def server(redis_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A Redis that the module's scenarios break."""
    with own_redis(tmp_path_factory.mktemp("own"), redis_kind) as running:
        yield running


@pytest.fixture(scope="module")
def breakable(server: OwnRedis) -> str:
    """Its URL; of another one where a module says so."""
    return server.url


@pytest.fixture(scope="module")
def both_gateways(breakable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    with two_gateways(breakable, tmp_path_factory.mktemp("gateways")) as running:
        yield running


@pytest.fixture
async def at_work(breakable: str, both_gateways: Gateways) -> AsyncIterator[Scene]:
    """Who listens and who speaks while that Redis fails."""
    async with scene(breakable, both_gateways) as made:
        yield made


@pytest.fixture
def record_peer(show: Show, redis_kind: str, request: pytest.FixtureRequest) -> Record:
    """Shows and keeps an outcome, whatever it is: that of a system which promised nothing."""
    path, line, _ = request.node.location

    def note(outcome: Outcome) -> None:
        outcome = replace(outcome, redis=redis_kind)
        show(str(outcome))
        keep(outcome, (path, line))

    return note


@pytest.fixture
def record(record_peer: Record, redis_kind: str) -> Record:
    """Shows and keeps an outcome, and fails if something was lost, repeated or misplaced."""

    def note(outcome: Outcome) -> None:
        record_peer(outcome)
        assert outcome.clean, str(replace(outcome, redis=redis_kind))

    return note
