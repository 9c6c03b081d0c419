"""Many sessions at once, while connections and a gateway break: nobody sees what is another's, and no log tells."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import httpx2
import pytest
from faults.crowd import QUICK
from faults.gateways import Gateways, running_gateways
from faults.private import Private, leaks, list_sessions, new_secret
from faults.proxy import Proxy, proxy
from faults.scenario import FULL, SEED, Outcome, Record
from faults.strangers import doors_open_to_nonsense, doors_open_to_others
from faults.tally import Tally, total
from support.process_tree import until
from support.processes import SECRET, RunningGateway, WorkerPool

from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

SESSIONS, USERS, TURNS, PAUSE_S = (300, 30, 4, 3.0) if FULL else (60, 12, 2, 0.8)
TRIES: Final = 200 if FULL else 20  # of users at a session of another's
NONSENSE: Final = 10 if FULL else 2  # sessions whose users try what is refused, at each gateway
VISITORS: Final = 3  # who ask REST all the time
VISIT_EVERY_S: Final = (0.02, 0.1)  # each of them
CUT_EVERY_S: Final = (0.02, 0.1)
KILLS: Final = 4 if FULL else 2  # of gateways, in turn
LIVES_S: Final = (1.0, 3.0) if FULL else (0.3, 1.0)  # how long, before the next gateway is killed
TALKATIVE: Final = ("agent_worker-1", "gateway-0", "gateway-1", "stt_worker-1", "tts_worker-1")
PATIENCE_S: Final = 200 if FULL else 40
SEEN_S: Final = 60


@pytest.mark.timeout(300)
async def test_nobody_sees_what_is_anothers_and_no_log_tells(
    bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    redis, spoken = (bus_settings.redis_url, bus_settings.prefix), new_secret()
    async with (
        running_gateways(*redis, 2, tmp_path, LOG_LEVEL="debug") as gateways,
        workers(bus_settings, tmp_path, understood=spoken),
        proxy(gateways.ports) as way,
        httpx2.AsyncClient(base_url=way.url, timeout=10, limits=httpx2.Limits(max_connections=None)) as http,
        users(way.url) as entries,
    ):
        names = [f"user-{number % USERS}" for number in range(SESSIONS)]
        privates = [await Private.open(entries[names[0]], names[0], turns=TURNS, secret=spoken, aloud=True)]
        privates += [await Private.open(entries[name], name, turns=TURNS) for name in names[1:]]
        breaker, visitors = Breaker(way, gateways, tmp_path, chance), Visitors(privates, http, chance)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(breaker.run())
            visiting = [tasks.create_task(visitors.visit()) for _ in range(VISITORS)]
            await _all_talk(privates, entries, http, chance, breaker.each_killed)
            for visit in visiting:
                visit.cancel()
            breaker.stop()
        open_doors = await _open_doors(gateways, privates, chance)
        await visitors.see_all()
        await _end(gateways)
    for log in sorted(tmp_path.glob("*.log")):  # noqa: ASYNC240 - nothing else runs
        breaker.logs[log.stem] += log.read_text()
    found = [leak for log in breaker.logs.values() for leak in leaks(log, privates)]
    tallies = total([visitors.tally, *(private.tally for private in privates)])
    record(
        Outcome(
            "many users at once",
            f"{SESSIONS} sessions of {USERS} users, {SESSIONS * TURNS} turns, all doors",
            f"{breaker.cuts} cuts, {breaker.kills} gateways killed, {TRIES} strangers, {2 * NONSENSE} with nonsense",
            tallies + Tally(misplaced=len(open_doors) + len(found)),
            remarks=f"{visitors.visits} looks by REST meanwhile, doors open: {', '.join(open_doors) or 'none'}, "
            f"{len(found)} secrets in {sum(map(len, breaker.logs.values())) // 1000} KB of logs",
        )
    )
    assert breaker.each_killed.is_set()
    assert visitors.visits
    assert [name for name in TALKATIVE if not breaker.logs[name]] == []
    assert not open_doors
    assert not found


async def _all_talk(
    privates: list[Private],
    entries: dict[str, Voicebus],
    http: httpx2.AsyncClient,
    chance: random.Random,
    last: asyncio.Event,
) -> None:
    """Returns when each has said all and everything has come at each door, or the time is over."""
    with suppress(TimeoutError):  # what did not come counts as lost
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(private.follow(http)) for private in privates]
            async with asyncio.TaskGroup() as talking:
                for private in privates:
                    talking.create_task(private.talk(entries[private.owner], chance, pause_s=PAUSE_S, last=last))
            await until(lambda: all(private.streamed for private in privates), timeout_s=PATIENCE_S)
            for task in following:
                task.cancel()


async def _end(gateways: Gateways) -> None:
    """In good order, which they say in their logs."""
    for number in range(2):
        gateways[number].terminate()
    for number in range(2):
        await asyncio.to_thread(gateways[number].wait, 20)


def _by_owner(privates: list[Private]) -> dict[str, list[Private]]:
    """The sessions of each user."""
    found: dict[str, list[Private]] = {}
    for private in privates:
        found.setdefault(private.owner, []).append(private)
    return found


@asynccontextmanager
async def workers(bus: BusSettings, folder: Path, *, understood: str) -> AsyncIterator[None]:
    """One that understands this in any speech, one that answers with what was said, and one that speaks."""
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {}}))
    environment = {
        "REDIS_URL": bus.redis_url,
        "REDIS_PREFIX": bus.prefix,
        "PARTITIONS": str(bus.partitions),
        "LOG_LEVEL": "debug",
        "MCP_CONFIG": str(folder / "mcp.json"),
        "AGENT_MODEL": "instant",
        "STT_ENGINE": "instant",
        "STT_INSTANT_TEXT": understood,
        "TTS_ENGINE": "instant",
    }
    pools = [WorkerPool(f"{stage}_worker", 1, folder, **environment) for stage in STAGES]
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
    """Resets one connection after the other, and kills the gateways in turn: each is started again."""

    def __init__(self, way: Proxy, gateways: Gateways, folder: Path, chance: random.Random) -> None:
        self.cuts = 0
        self.kills = 0
        self.each_killed = asyncio.Event()  # and started again
        self.logs: defaultdict[str, str] = defaultdict(str)  # by name, of those that were killed
        self._way = way
        self._gateways = gateways
        self._folder = folder
        self._chance = chance
        self._over = asyncio.Event()

    def stop(self) -> None:
        """Nothing more breaks; `run` returns when both gateways are ready."""
        self._over.set()

    async def run(self) -> None:
        """Until it is stopped."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cut())
            tasks.create_task(self._kill())

    async def _cut(self) -> None:
        while await self._goes_on_for(CUT_EVERY_S):
            if self._way.pairs:
                self._chance.choice(tuple(self._way.pairs)).reset()
                self.cuts += 1

    async def _kill(self) -> None:
        for number in islice(cycle(range(len(self._gateways.ports))), KILLS):
            if not await self._goes_on_for(LIVES_S):
                return
            self._gateways.kill(number)
            self.kills += 1
            name = f"gateway-{number}"
            self.logs[name] += (self._folder / f"{name}.log").read_text()  # the next one begins it anew
            await self._gateways.start(number)
            if self.kills == len(self._gateways.ports):
                self.each_killed.set()

    async def _goes_on_for(self, seconds: tuple[float, float]) -> bool:
        """Lets some time pass; whether it is to go on then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(*seconds)):
                await self._over.wait()
        return not self._over.is_set()


class Visitors:
    """They ask REST for one session after the other, and for the list of its owner's, while all goes on."""

    def __init__(self, privates: list[Private], http: httpx2.AsyncClient, chance: random.Random) -> None:
        self.visits = 0
        self.tally = Tally()  # of the lists
        self._privates = privates
        self._by_owner = _by_owner(privates)
        self._http = http
        self._chance = chance

    async def see_all(self) -> None:
        """Each session and each list once; or the time is over."""
        with suppress(TimeoutError):  # what was not seen counts as lost
            async with asyncio.timeout(SEEN_S):
                for private in self._privates:
                    await private.look_up(self._http)
                for own in self._by_owner.values():
                    found = await list_sessions(self._http, own)
                    self.tally += found

    async def visit(self) -> None:
        """What one of them does until it is cancelled."""
        while True:
            private = self._chance.choice(self._privates)
            await private.look_up(self._http)
            found = await list_sessions(self._http, self._by_owner[private.owner])
            self.tally += found  # now: others may have added theirs meanwhile
            self.visits += 1
            await asyncio.sleep(self._chance.uniform(*VISIT_EVERY_S))


async def _open_doors(gateways: Gateways, privates: list[Private], chance: random.Random) -> list[str]:
    """The doors at which somebody was not sent away; strangers come last, for they may end sessions."""
    found: list[str] = []
    async with AsyncExitStack() as stack:
        ways = []
        for number, port in enumerate(gateways.ports):
            gateway = RunningGateway(port, gateways[number])
            ways.append(
                (gateway, await stack.enter_async_context(httpx2.AsyncClient(base_url=gateway.url, timeout=20)))
            )
        for gateway, http in ways:
            for private in chance.sample(privates, NONSENSE):
                found += [door async for door in doors_open_to_nonsense(gateway, http, private)]
        for gateway, http in ways:
            for _ in range(TRIES // len(ways)):
                private, stranger = chance.sample(privates, 2)
                if stranger.owner != private.owner:
                    found += [door async for door in doors_open_to_others(gateway, http, private, stranger.owner)]
    return found
