"""Whatever happens to clients, gateways, workers and their calls: the bus keeps its promises."""

import os
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from model.faults import Servers
from model.machine import BusMachine
from model.rolling import RollingBackMachine
from model.run import run
from support.redis_cluster import Cluster
from support.report import Show

from voicebus_stack.redis_server import running_redis

SECONDS = float(os.environ.get("MODEL_MINUTES") or 2) * 60 / 2  # for each backend
SHRINKING_S = 300


@contextmanager
def one_redis(folder: Path) -> Iterator[Servers]:
    with running_redis(folder, "--appendonly", "no") as url, closing(Servers([url])) as servers:
        yield servers


@pytest.mark.timeout(SECONDS + SHRINKING_S + 120)
def test_the_bus_keeps_its_promises_on_one_redis(tmp_path: Path, show: Show) -> None:
    with one_redis(tmp_path) as servers:
        machines = (BusMachine, BusMachine, RollingBackMachine)
        show(_run(servers, machines, "one Redis"))


@pytest.mark.timeout(SECONDS + SHRINKING_S + 120)
def test_the_bus_keeps_its_promises_on_a_cluster(redis_cluster: Cluster, show: Show) -> None:
    with closing(Servers([f"redis://{node.name}" for node in redis_cluster.primaries])) as servers:
        show(_run(servers, (BusMachine,), "a cluster of three primaries"))


def _run(servers: Servers, machines: tuple[type[BusMachine], ...], where: str) -> str:
    first_seed = int(os.environ.get("SEED") or random.randrange(10**9))
    print(f"SEED={first_seed}")
    took_s = run(servers, machines, first_seed=first_seed, seconds=SECONDS, shrink=True)
    line = f"model: {servers.steps:,} steps in {took_s:.0f} s on {where} (SEED={first_seed})"
    assert servers.steps > 1_000, line
    return line
