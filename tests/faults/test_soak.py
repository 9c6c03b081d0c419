"""`make soak MINUTES=30`: steady load on all services. What they hold may not grow, and ended sessions leave nothing.

`SOAK_MINUTES` is how long; the first half is for warming up. A run of less than two minutes tells only what is left.
"""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from faults.crowd import OWNER, QUICK
from faults.gateways import Gateways
from faults.gauges import Gauges, of_process
from faults.own_redis import OwnRedis, own_redis
from faults.proxy import Proxy, proxy
from faults.scenario import SEED, Outcome, Record
from faults.tally import Tally
from support.processes import SECRET, WorkerPool
from support.redis_cluster import everywhere

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES, Stage
from voicebus_client.client import Voicebus
from voicebus_client.position import Position
from voicebus_stack.question import bundled_question
from voicebus_stack.tokens import make_token
from voicebus_stack.turn import say, speak

MINUTES: Final = float(os.environ.get("SOAK_MINUTES") or 0)
USERS: Final = 8  # at the same time
ENDED_KEPT_S: Final = 20
LIMIT_PERIOD_S: Final = 10  # for twice as long it is known what a session took
SAMPLE_S: Final = 3
CUTS_S: Final = (1.0, 4.0)  # between two cuts of a connection
PACE_LEAST: Final = 0.8  # of the first half's turns per minute, in the second one
FILE_MOST: Final = 128 * 2**20  # bytes: Redis writes its file anew whenever that has doubled and has 64 MB
GONE_S: Final = ENDED_KEPT_S + 60  # of which Redis needs a little, and the gateways that tidy up every ten seconds

pytestmark = [
    pytest.mark.skipif(not MINUTES, reason="takes as long as one wants: make soak MINUTES=…"),
    pytest.mark.timeout(MINUTES * 60 + GONE_S + 180),
]


@pytest.fixture(scope="session")
def redis_kind() -> str:
    """It runs on one Redis."""
    return "one Redis"


@dataclass
class Load:
    """What users have done."""

    counts: Counter[str] = field(default_factory=Counter)
    sessions: set[str] = field(default_factory=set)  # that were ever made
    turns_s: list[float] = field(default_factory=list)  # when each was over
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Whoever is at it ends their session, and begins no other one."""
        self._over.set()

    async def user(self, voicebus: Voicebus, chance: random.Random) -> None:
        """One session after the other: asks in writing and aloud, leaves, comes back, asks again, and ends it."""
        question = bundled_question()
        while not self._over.is_set():
            session_id = (await voicebus.create_session()).session_id
            self.sessions.add(session_id)
            position = Position.BEGINNING
            for _ in range(2):
                async with voicebus.connect(session_id, position=position) as connection:
                    for spoken in chance.sample((True, False, False), 3):
                        await (speak(connection, question) if spoken else say(connection, "tell me more"))
                        self.counts["spoken" if spoken else "written"] += 1
                        self.turns_s.append(asyncio.get_running_loop().time())
                    position = connection.position or position
            await voicebus.end_session(session_id)
            self.counts["ended"] += 1

    def paces(self, began_s: float, over_s: float) -> tuple[float, float]:
        """Turns per minute in the first half of this time, and in the second one."""
        half_s = (over_s - began_s) / 2
        first = sum(turn_s < began_s + half_s for turn_s in self.turns_s)
        second = sum(began_s + half_s <= turn_s < over_s for turn_s in self.turns_s)
        return first * 60 / half_s, second * 60 / half_s

    async def cut(self, way: Proxy, chance: random.Random) -> None:
        """Now and then somebody's connection breaks."""
        while not self._over.is_set():
            await asyncio.sleep(chance.uniform(*CUTS_S))
            if way.pairs:
                chance.choice(list(way.pairs)).reset()
                self.counts["cuts"] += 1


@dataclass
class Everything:
    """All processes."""

    gateways: Gateways
    pools: dict[Stage, WorkerPool]
    server: OwnRedis
    bus: Bus

    async def gauges(self) -> dict[str, float]:
        """What each holds now."""
        found: dict[str, float] = {}
        for number in range(len(self.gateways.ports)):
            found |= of_process(f"gateway {number}", self.gateways[number].pid)
        for stage, pool in self.pools.items():
            (worker,) = pool._running
            found |= of_process(stage, worker)
        (redis,) = self.server.nodes
        found |= of_process("redis", redis.process.pid)
        found["keys"] = float(redis.ask("DBSIZE"))
        found["used_memory"] = float(redis.ask("INFO", "memory")["used_memory"])
        found["file redis"] = float(redis.ask("INFO", "persistence")["aof_current_size"])
        return found

    async def keys_of(self, sessions: set[str]) -> list[str]:
        """Keys that are named after one of these sessions, or hold its name."""
        found = []
        (keys,) = await everywhere(self.bus, "KEYS", f"{self.bus.settings.prefix}:*")
        assert isinstance(keys, list)
        for key in keys:
            words = {key.decode(), *await self._content(key)}
            if any(session_id in word for word in words for session_id in sessions):
                found.append(key.decode())
        return sorted(found)

    async def _content(self, key: bytes) -> list[str]:
        call: Any = self.bus.calls.command
        kind = await call("TYPE", key)
        match bytes(kind):
            case b"string":
                parts = [await call("GET", key)]
            case b"hash":
                parts = await call("HGETALL", key)
            case b"zset":
                parts = await call("ZRANGE", key, 0, -1)
            case b"set":
                parts = await call("SMEMBERS", key)
            case b"list":
                parts = await call("LRANGE", key, 0, -1)
            case _:
                parts = await call("XRANGE", key, "-", "+")
        return [repr(part) for part in parts]


@asynccontextmanager
async def everything(folder: Path, redis_kind: str) -> AsyncIterator[Everything]:
    """Two gateways, a worker of each stage and Redis; ready. Engines that cost little."""
    with own_redis(folder, redis_kind) as server:
        settings = BusSettings(redis_url=server.url, prefix=f"k{uuid4().hex[:6]}", partitions=4)
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": {}}))
        environment = {
            "REDIS_URL": server.url,
            "REDIS_PREFIX": settings.prefix,
            "PARTITIONS": str(settings.partitions),
            "MCP_CONFIG": str(folder / "mcp.json"),
            "AGENT_MODEL": "instant",
            "STT_ENGINE": "instant",
            "STT_INSTANT_TEXT": "what time is it",
            "TTS_ENGINE": "instant",
        }
        kept = {"ENDED_KEPT_S": str(ENDED_KEPT_S), "LIMIT_PERIOD_S": str(LIMIT_PERIOD_S)}
        gateways = Gateways(server.url, settings.prefix, 2, folder, **kept)
        pools: dict[Stage, WorkerPool] = {
            stage: WorkerPool(f"{stage}_worker", 1, folder, **environment) for stage in STAGES
        }
        try:
            for pool in pools.values():
                pool.start()
            await gateways.start(0, 1)
            for pool in pools.values():
                await asyncio.to_thread(pool.wait_ready)
            async with open_bus(settings) as bus:
                yield Everything(gateways, pools, server, bus)
        finally:
            gateways.stop()
            for pool in pools.values():
                pool.stop()


async def test_nothing_grows_under_steady_load_and_ended_sessions_leave_nothing(
    tmp_path: Path, redis_kind: str, record: Record
) -> None:
    loop, load, gauges = asyncio.get_running_loop(), Load(), Gauges()
    async with everything(tmp_path, redis_kind) as running, proxy(running.gateways.ports) as way:
        token = make_token(SECRET, OWNER)
        async with Voicebus(way.url, token, options=QUICK) as voicebus, asyncio.TaskGroup() as tasks:
            for number in range(USERS):
                tasks.create_task(load.user(voicebus, random.Random(f"{SEED} {number}")))
            tasks.create_task(load.cut(way, random.Random(SEED)))
            began_s = loop.time()
            over_s, next_line_s = began_s + MINUTES * 60, began_s + 60
            while loop.time() < over_s:
                await asyncio.sleep(SAMPLE_S)
                gauges.take(await running.gauges())
                if loop.time() >= next_line_s:
                    next_line_s += 60
                    print(_line(load, gauges), flush=True)
            load.stop()
        growing = gauges.growing()
        left = await _left(running, load.sessions)
    first, second = load.paces(began_s, over_s)
    record(
        Outcome(
            "soak",
            f"{USERS} users for {MINUTES:g} min, {first:.0f} and then {second:.0f} turns/min",
            f"{load.counts['cuts']} cuts",
            Tally(lost=len(load.sessions) - load.counts["ended"], misplaced=len(left)),
            remarks=f"{', '.join(left[:3])} left; {_line(load, gauges)}" if left else _line(load, gauges),
        )
    )
    assert max(gauges.samples["file redis"]) < FILE_MOST
    if MINUTES >= 2:
        assert not growing
        assert second >= PACE_LEAST * first


async def _left(running: Everything, sessions: set[str]) -> list[str]:
    """Keys with a trace of these sessions, once their time is over."""
    try:
        async with asyncio.timeout(GONE_S):
            while left := await running.keys_of(sessions):  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(1)
    except TimeoutError:
        pass
    return left


def _line(load: Load, gauges: Gauges) -> str:
    done = ", ".join(f"{count} {name}" for name, count in sorted(load.counts.items()))
    return f"{len(load.sessions)} sessions, {done}: {gauges.line()}"
