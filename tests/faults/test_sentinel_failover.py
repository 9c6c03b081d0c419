"""Behind Sentinel the primary fails and its replica is promoted, which lacks what was written last."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from faults.scenario import Record, takes_long
from faults.scene import ROUNDS, Scene
from support.redis_cluster import Node
from support.redis_sentinel import SERVICE, Watched, running_sentinels

SILENT_MS = 3_500  # a second more than a gateway waits for Redis before it says that it is not ready

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="session")
def redis_kind() -> str:
    """Sentinel watches one Redis; a cluster promotes replicas by itself."""
    return "Redis behind Sentinel"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with running_sentinels(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture(scope="module")
def breakable(watched: Watched) -> str:
    return watched.url


@pytest.fixture
async def at_work(at_work: Scene, watched: Watched) -> Scene:
    await asyncio.to_thread(watched.wait_replicating)
    return at_work


async def fail_over(at_work: Scene, watched: Watched, primary: Node, number: signal.Signals) -> None:
    """The primary gets the signal when its replica lacks what came last; returns when that one serves."""
    replica = next(node for node in watched.servers if node is not primary)
    await at_work.go_on()
    await asyncio.to_thread(replica.hold_back, primary)
    await at_work.go_on()
    at_work.ready.fault()
    os.kill(primary.process.pid, number)
    await asyncio.to_thread(watched.wait_promoted, replica)
    await at_work.ready.all_ready()


async def test_what_a_killed_primary_takes_along_is_told_and_said_again(
    at_work: Scene, watched: Watched, record: Record
) -> None:
    for _ in range(ROUNDS):
        primary = watched.primary()
        await fail_over(at_work, watched, primary, signal.SIGKILL)
        primary.kill()
        await asyncio.to_thread(watched.start, primary)
        await asyncio.to_thread(watched.wait_replicating)
    faults = f"{ROUNDS} times kill -9, the replica is behind"
    await at_work.recorded(record, "the primary is killed", faults, forgetful=True)
    assert at_work.listening.forgotten
    assert at_work.ready.told


@takes_long
async def test_a_primary_that_was_silent_and_comes_back_as_one_misleads_nobody(
    at_work: Scene, watched: Watched, record: Record
) -> None:
    for sentinel in watched.sentinels:
        sentinel.ask("SENTINEL", "SET", SERVICE, "down-after-milliseconds", SILENT_MS)
    for _ in range(ROUNDS):
        primary = watched.primary()
        try:
            await fail_over(at_work, watched, primary, signal.SIGSTOP)
        finally:
            os.kill(primary.process.pid, signal.SIGCONT)
        await at_work.go_on()  # there are two that take themselves for the primary
        await asyncio.to_thread(watched.wait_replicating)
    faults = f"{ROUNDS} times stopped, the replica is behind"
    await at_work.recorded(record, "the primary falls silent", faults, forgetful=True)
    assert at_work.listening.forgotten
    assert at_work.ready.told
