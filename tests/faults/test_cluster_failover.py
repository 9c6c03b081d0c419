"""In a cluster a primary is killed and its replica is promoted, which lacks what was written last."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from faults.scenario import FULL, Record, takes_long
from faults.scene import PARTITIONS, PREFIX, Scene
from support.redis_cluster import Cluster, Node, running_cluster, wait_until

from voicebus.bus.slots import slot_of_key
from voicebus.contract.keys import Keys

TIMEOUT_MS = 1_500

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="session")
def redis_kind() -> str:
    """On nothing else are there replicas that promote themselves."""
    return "cluster"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), replicas=3, timeout_ms=TIMEOUT_MS) as running:
        yield running


@pytest.fixture(scope="module")
def breakable(cluster: Cluster) -> str:
    return cluster.url


def owner(cluster: Cluster, session_id: str) -> Node:
    """The primary that has the session."""
    return cluster.owner(slot_of_key(Keys(PREFIX, PARTITIONS).of(session_id).session))


def is_primary(node: Node) -> bool:
    """Whether the server takes itself for one."""
    return bool(node.ask("ROLE")[0] == b"master")


@takes_long
async def test_what_a_killed_primary_takes_along_is_told_and_said_again(
    at_work: Scene, cluster: Cluster, record: Record
) -> None:
    pairs = list(zip(cluster.primaries, cluster.replicas, strict=True))
    if not FULL:
        busy = owner(cluster, at_work.listening.sources[0].session_id)
        pairs = [pair for pair in pairs if busy in pair]
    for primary, replica in pairs:
        await at_work.go_on()
        await asyncio.to_thread(replica.hold_back, primary)
        await at_work.go_on()
        at_work.ready.fault()
        primary.kill()
        await asyncio.to_thread(wait_until, partial(is_primary, replica))
        await at_work.ready.all_ready()
    faults = f"{len(pairs)} times kill -9, the replica is behind"
    await at_work.recorded(record, "a primary of a cluster is killed", faults, forgetful=True)
    assert at_work.listening.forgotten
    assert at_work.ready.told
