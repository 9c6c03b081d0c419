"""Many sessions at once, while connections and a gateway break: nobody sees what is another's, and no log tells."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx2
import pytest
from faults.crowd import QUICK
from faults.gateways import Gateways, running_gateways
from faults.private import Private, leaks, list_sessions
from faults.proxy import Proxy, proxy
from faults.scenario import FULL, SEED, Outcome, Record
from faults.tally import Tally, total
from support.process_tree import until
from support.processes import SECRET, RunningGateway, WorkerPool, bearer_of
from support.wire import wire
from websockets.exceptions import ConnectionClosed

from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

SESSIONS, USERS, TURNS, PAUSE_S = (300, 30, 4, 5.0) if FULL else (60, 12, 2, 0.8)
TRIES: Final = 200 if FULL else 20  # of users at a session of another's
CUT_EVERY_S: Final = (0.02, 0.1)
FATAL: Final = (10, 30) if FULL else (3, 10)  # cuts, before a gateway is killed
TALKATIVE: Final = ("agent_worker-1", "gateway-1", "tts_worker-1")  # processes that have something to log
PATIENCE_S: Final = 200 if FULL else 40


@pytest.mark.timeout(300)
async def test_nobody_sees_what_is_anothers_and_no_log_tells(
    bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    redis = (bus_settings.redis_url, bus_settings.prefix)
    async with (
        running_gateways(*redis, 2, tmp_path, LOG_LEVEL="debug") as gateways,
        workers(bus_settings, tmp_path),
        proxy(gateways.ports) as way,
        httpx2.AsyncClient(base_url=way.url, timeout=10, limits=httpx2.Limits(max_connections=None)) as http,
        users(way.url) as entries,
    ):
        names = [f"user-{number % USERS}" for number in range(SESSIONS)]
        privates = [await Private.open(entries[name], name) for name in names]
        breaker = Breaker()
        breaking = asyncio.create_task(breaker.run(way, gateways, chance))
        try:
            await _all_talk(privates, entries, http, chance)
        finally:
            breaking.cancel()
        foreign = 0
        for name in set(names):
            foreign += await list_sessions(http, [private for private in privates if private.owner == name])
        for private in privates:
            await private.look_up(http)
        let_in = await _strangers(RunningGateway(gateways.ports[1], gateways[1]), privates, chance)
        await _end(gateways)
    logs = {log.name: log.read_text() for log in sorted(tmp_path.glob("*.log"))}  # noqa: ASYNC240 - nothing else runs
    found = [leak for log in logs.values() for leak in leaks(log, privates)]
    record(
        Outcome(
            "many users at once",
            f"{SESSIONS} sessions of {USERS} users, {SESSIONS * TURNS} turns, all doors",
            f"{breaker.cuts} cuts, a gateway is killed, {TRIES} strangers",
            total(private.tally for private in privates) + Tally(misplaced=foreign + len(let_in) + len(found)),
            remarks=f"{len(let_in)} strangers let in, {len(found)} secrets in logs",
        )
    )
    assert breaker.killed
    assert [name for name, log in logs.items() if log] == [f"{each}.log" for each in TALKATIVE]
    assert not let_in
    assert not found


async def _all_talk(
    privates: list[Private], entries: dict[str, Voicebus], http: httpx2.AsyncClient, chance: random.Random
) -> None:
    """Returns when each has said all and everything has come at each door, or the time is over."""
    with suppress(TimeoutError):  # what did not come counts as lost
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(private.follow(http)) for private in privates]
            async with asyncio.TaskGroup() as talking:
                for private in privates:
                    entry = entries[private.owner]
                    talking.create_task(private.talk(entry, chance, turns=TURNS, pause_s=PAUSE_S))
            await until(lambda: all(private.streamed == TURNS for private in privates), timeout_s=PATIENCE_S)
            for task in following:
                task.cancel()


async def _end(gateways: Gateways) -> None:
    """In good order, which the one that is left says in its log."""
    gateways[1].terminate()
    await asyncio.to_thread(gateways[1].wait, 20)


@asynccontextmanager
async def workers(bus: BusSettings, folder: Path) -> AsyncIterator[None]:
    """One that answers with what was said, and one that speaks."""
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {}}))
    environment = {
        "REDIS_URL": bus.redis_url,
        "REDIS_PREFIX": bus.prefix,
        "PARTITIONS": str(bus.partitions),
        "LOG_LEVEL": "debug",
        "MCP_CONFIG": str(folder / "mcp.json"),
        "AGENT_MODEL": "instant",
        "TTS_ENGINE": "instant",
    }
    pools = [WorkerPool(f"{stage}_worker", 1, folder, **environment) for stage in ("agent", "tts")]
    try:
        for pool in pools:
            pool.start()
        for pool in pools:
            await asyncio.to_thread(pool.wait_ready)
        yield
    finally:
        for pool in pools:
            pool.stop()


@asynccontextmanager
async def users(url: str) -> AsyncIterator[dict[str, Voicebus]]:
    """What each of them reaches the installation by."""
    async with AsyncExitStack() as stack:
        entries = {}
        for number in range(USERS):
            name = f"user-{number}"
            entry = Voicebus(url, make_token(SECRET, name), options=QUICK)
            entries[name] = await stack.enter_async_context(entry)
        yield entries


class Breaker:
    """Resets one connection after the other, and kills a gateway on the way."""

    def __init__(self) -> None:
        self.cuts = 0
        self.killed = False

    async def run(self, way: Proxy, gateways: Gateways, chance: random.Random) -> None:
        """Until it is cancelled."""
        fatal = chance.randrange(*FATAL)
        while True:
            await asyncio.sleep(chance.uniform(*CUT_EVERY_S))
            if way.pairs:
                chance.choice(tuple(way.pairs)).reset()
                self.cuts += 1
            if self.cuts >= fatal and not self.killed:
                gateways.kill(0)
                self.killed = True


async def _strangers(gateway: RunningGateway, privates: list[Private], chance: random.Random) -> list[str]:
    """The doors at which somebody was not sent away from another's session as the protocol says."""
    found: list[str] = []
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        for _ in range(TRIES):
            private, stranger = chance.sample(privates, 2)
            if stranger.owner != private.owner:
                found += [door async for door in _open_doors(gateway, http, private, stranger.owner)]
    return found


async def _open_doors(
    gateway: RunningGateway, http: httpx2.AsyncClient, private: Private, stranger: str
) -> AsyncIterator[str]:
    path = f"/ai/sessions/{private.session_id}"
    says = {"content": "let me in"}
    for method, place, body, accept in (
        ("GET", path, None, "application/json"),
        ("GET", f"{path}/events", None, "application/json"),
        ("GET", f"{path}/events", None, "text/event-stream"),
        ("POST", f"{path}/message", says, "application/json"),
        ("POST", f"{path}/say", says, "application/json"),
        ("DELETE", path, None, "application/json"),
    ):
        headers = bearer_of(stranger) | {"Accept": accept}
        async with http.stream(method, place, json=body, headers=headers) as answer:
            if answer.status_code != 404:
                yield f"{method} {place} as {accept}: {answer.status_code}"
    async with wire(gateway, private.session_id, "?after=0", sub=stranger) as door:
        with suppress(ConnectionClosed):
            yield f"WebSocket: {await door.receive()}"
        if door.socket.close_code != 4403:
            yield f"WebSocket: {door.socket.close_code}"
