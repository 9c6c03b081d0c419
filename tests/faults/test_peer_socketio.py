"""Socket.IO 4 goes through what our gateways go through: at the same loads, with the same faults, measured alike.

Nothing is asserted of what it loses or repeats: it promises neither. The rows stand beside ours in docs/reliability.md.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from faults import scene
from faults import test_cuts_in_the_way as cuts
from faults import test_drain as drain
from faults import test_gateway_kill as kill
from faults import test_redis_outages as outages
from faults.own_redis import OwnRedis, own_redis
from faults.proxy import Proxy, proxy
from faults.scenario import FULL, SEED, Record
from faults.socketio import Heard, Nodes, missing, running_nodes, socketio_crowd
from support.process_tree import soon

Disturb = Callable[[Nodes, Proxy], Awaitable[str]]  # does its worst while events are emitted, and says what it did
pytestmark = pytest.mark.skipif(not FULL, reason="takes minutes: make faults")
why_not = cache(missing)
PING_S: Final = 25.0  # Socket.IO's own default
BACK_S: Final = 30  # to come back after Redis did: ours are asked whether they are ready
SOME_BYTES: Final = 100  # of events: no pings


@pytest.fixture(autouse=True)
def _it_is_there() -> None:
    if why := why_not():
        pytest.fail(f"Socket.IO: {why}")


async def while_disturbed(
    redis_url: str,
    disturb: Disturb,
    *,
    sessions: int,
    clients: int,
    rate: float,
    ping_s: float = PING_S,
    reached: int = 2,
) -> tuple[str, Heard]:
    """What was done to two nodes and the way to them, and what their clients heard meanwhile.

    `reached`: how many of the nodes clients get to at first.
    """
    async with (
        running_nodes(redis_url, 2, ping_s=ping_s) as nodes,
        proxy(nodes.ports[:reached]) as way,
        socketio_crowd(redis_url, way.url, sessions=sessions, clients=clients, rate=rate) as heard,
    ):
        faults = await disturb(nodes, way)
    return faults, heard


@pytest.mark.timeout(300)
async def test_one_of_two_nodes_is_killed(redis_url: str, record_peer: Record) -> None:
    chance = random.Random(SEED)

    async def disturb(nodes: Nodes, way: Proxy) -> str:
        cut = 0
        for number in range(kill.KILLS):
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            victim, other = number % 2, nodes.ports[1 - number % 2]
            cut += kill.lines_to(way, nodes.ports[victim])
            await nodes.kill(victim)
            await soon(lambda: kill.lines_to(way, other) == kill.CLIENTS, timeout_s=kill.BACK_S)  # noqa: B023 - awaited
            await asyncio.sleep(chance.uniform(0.2, 1.0))
            await nodes.start(victim)
        return f"{kill.KILLS} kills, {cut} connections"

    faults, heard = await while_disturbed(
        redis_url, disturb, sessions=kill.SESSIONS, clients=kill.CLIENTS, rate=kill.RATE
    )
    load = f"{kill.CLIENTS} clients, {kill.SESSIONS * kill.RATE} events/s"
    record_peer(heard.outcome("one of two gateways is killed", load, faults))


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("rate", "sessions", "clients"), cuts.LOADS)
async def test_connections_of_listening_clients_are_cut(
    redis_url: str, record_peer: Record, rate: int, sessions: int, clients: int
) -> None:
    chance = random.Random(f"{SEED} {rate}")

    async def disturb(nodes: Nodes, way: Proxy) -> str:
        resets, dead = await cuts.cut_for(cuts.SECONDS, way, chance)
        return f"{resets} resets, {dead} dead lines"

    faults, heard = await while_disturbed(
        redis_url, disturb, sessions=sessions, clients=clients, rate=rate, ping_s=cuts.PING_S
    )
    load = cuts.load_of(rate, sessions, clients)
    record_peer(heard.outcome("connections of listening clients are cut", load, faults))


@pytest.mark.timeout(300)
async def test_lines_go_dead_without_a_word(redis_url: str, record_peer: Record) -> None:
    chance = random.Random(SEED)
    count, sessions, rate = cuts.DEAD_CLIENTS, cuts.DEAD_SESSIONS, cuts.DEAD_RATE

    async def disturb(nodes: Nodes, way: Proxy) -> str:
        dead = 0
        for _ in range(cuts.DEAD_ROUNDS):
            await soon(lambda: cuts.whole_lines(way) == count, timeout_s=cuts.NOTICED_S)
            await asyncio.sleep(chance.uniform(0, cuts.PING_S))
            dead += len(cuts.break_half(way, chance))
            await soon(lambda: cuts.whole_lines(way) == count, timeout_s=cuts.NOTICED_S)
        return f"{dead} dead lines"

    faults, heard = await while_disturbed(
        redis_url, disturb, sessions=sessions, clients=count, rate=rate, ping_s=cuts.PING_S, reached=1
    )
    load = f"{count} clients, {sessions * rate} events/s, pings every {cuts.PING_S} s"
    record_peer(heard.outcome("lines go dead without a word", load, faults))


@pytest.mark.timeout(300)
async def test_a_node_is_told_to_stop(redis_url: str, record_peer: Record) -> None:
    async def disturb(nodes: Nodes, way: Proxy) -> str:
        over_s = asyncio.get_running_loop().time() + drain.DRAIN_S
        way.targets = nodes.ports[1:]
        await nodes.drain(0)
        await soon(lambda: kill.lines_to(way, nodes.ports[1]) == drain.CLIENTS, timeout_s=kill.BACK_S)
        await asyncio.sleep(over_s - asyncio.get_running_loop().time())  # as long as ours have, who leave one by one
        return "SIGTERM, io.close()"

    faults, heard = await while_disturbed(
        redis_url, disturb, sessions=drain.SESSIONS, clients=drain.CLIENTS, rate=drain.RATE, reached=1
    )
    load = f"{drain.CLIENTS} clients at it, {drain.SESSIONS * drain.RATE} events/s"
    record_peer(heard.outcome("a gateway drains", load, faults))
    assert heard.reconnections


async def stalls(server: OwnRedis) -> str:
    await server.stall(outages.STALL_S)
    return f"{scene.ROUNDS} times {outages.STALL_S:.0f} s"


async def is_killed(server: OwnRedis) -> str:
    server.write_at_once()
    await server.restart(outages.AWAY_S)
    return f"{scene.ROUNDS} times kill -9, back after {outages.AWAY_S:.0f} s, appendfsync always"


async def cuts_off(server: OwnRedis) -> str:
    chance = random.Random(SEED)
    for _ in range(outages.CUTS // scene.ROUNDS):
        await asyncio.sleep(chance.uniform(0.0, 0.1))
        await server.cut_off("normal", "SCRIPT", "FLUSH")
    return f"{outages.CUTS} times SCRIPT FLUSH and CLIENT KILL TYPE normal"


def all_hear_again(way: Proxy) -> Callable[[], bool]:
    """Whether events have come to every client since this was called."""
    before = {pair: pair.to_client for pair in way.pairs}
    return lambda: all(pair.to_client > before.get(pair, 0) + SOME_BYTES for pair in way.pairs)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("scenario", "fail"),
    [("Redis stalls", stalls), ("Redis is killed", is_killed), ("Redis cuts off who writes", cuts_off)],
)
async def test_redis_fails(
    redis_kind: str,
    tmp_path: Path,
    record_peer: Record,
    scenario: str,
    fail: Callable[[OwnRedis], Awaitable[str]],
) -> None:
    chance = random.Random(SEED)
    with own_redis(tmp_path, redis_kind) as server:

        async def disturb(nodes: Nodes, way: Proxy) -> str:
            faults = ""
            for _ in range(scene.ROUNDS):
                await asyncio.sleep(chance.uniform(0.3, 1.0))
                faults = await fail(server)
                await soon(all_hear_again(way), timeout_s=BACK_S)
            return faults

        faults, heard = await while_disturbed(
            server.url, disturb, sessions=scene.SESSIONS, clients=scene.CLIENTS, rate=scene.RATE
        )
    load = f"{scene.CLIENTS} clients, {scene.SESSIONS * scene.RATE} events/s"
    record_peer(heard.outcome(scenario, load, faults))
