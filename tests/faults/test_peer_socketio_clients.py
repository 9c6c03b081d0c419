"""Socket.IO 4 has the clients that our gateways have: one that reads 1 KB/s, and some that say it again after each cut.

Nothing is asserted of what it loses or repeats. It promises that what a client says comes at least once, if it is
asked to (`retries`); to do it once is left to who hears it.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from statistics import median, quantiles
from typing import Any, Final

import httpx2
import pytest
from faults import senders
from faults import test_cuts_in_the_way as cuts
from faults import test_slow_reader as slow
from faults.proxy import proxy
from faults.scenario import FULL, SEED, Outcome, Record
from faults.slow_reader import SlowSocketioClient
from faults.socketio import SYSTEM, Script, missing, running_nodes, versions
from faults.tally import Tally, total

pytestmark = pytest.mark.skipif(not FULL, reason="takes minutes: make faults")
why_not = cache(missing)
PING_S: Final = 25.0  # Socket.IO's own default
SENDERS: Final = 10  # two in each session


@pytest.fixture(autouse=True)
def _it_is_there() -> None:
    if why := why_not():
        pytest.fail(f"Socket.IO: {why}")


class Audience:
    """Some fast clients of a session, and who emits to them: audience.js."""

    def __init__(self, script: Script) -> None:
        self.written = 0
        self._script = script

    async def write(self, count: int) -> None:
        """Some at once, and the next ones when the fast clients have them."""
        for _ in range(0, count, slow.TOGETHER):
            self.written = await self._ask("written", write=slow.TOGETHER)

    async def p99_s(self) -> float:
        """What 99 % of a phase's events took at most."""
        took_ms = await self._ask("took_ms", for_ms=slow.PHASE_S * 1000, rate=slow.RATE)
        self.written += int(slow.PHASE_S * slow.RATE)
        return float(quantiles(took_ms, n=100)[-1]) / 1000

    async def tally(self, reader: SlowSocketioClient) -> Tally:
        """Of the fast ones and of the slow one."""
        seen = [reader.seen, *await self._ask("seen")]
        return total(Tally.of(range(self.written), numbers) for numbers in seen)

    async def _ask(self, name: str, **asked: float) -> Any:
        self._script.write(json.dumps(asked))
        return await self._script.heard(name)


@asynccontextmanager
async def audience(redis_url: str, port: int, session: str, *, clients: int) -> AsyncIterator[Audience]:
    """They have joined."""
    async with running("audience.js", redis_url, port, clients, slow.SIZE, session) as script:
        yield Audience(script)


@pytest.mark.timeout(300)
async def test_a_client_reads_slowly(redis_url: str, record_peer: Record) -> None:
    """As `test_slow_reader`: its memory beside one other client, and what it does to the p99 of many."""
    alone_s: list[float] = []
    beside_s: list[float] = []
    async with running_nodes(redis_url, 1, ping_s=PING_S) as nodes:
        port = nodes.ports[0]
        async with audience(redis_url, port, "unread", clients=1) as fast:
            left = SlowSocketioClient(port, "unread", rate=slow.BYTES_A_SECOND)
            await _begin(fast, left)
            grown, unread, held = await _leave_behind(port, fast, left)
            tally = await fast.tally(left)
        async with audience(redis_url, port, "compared", clients=slow.FAST) as fast:
            reader = SlowSocketioClient(port, "compared", rate=slow.BYTES_A_SECOND)
            await _begin(fast, reader)
            for with_it in slow.PHASES * (slow.PAIRS // 2):
                if with_it:
                    async with reader.reading():
                        beside_s.append(await fast.p99_s())
                else:
                    alone_s.append(await fast.p99_s())
            behind = fast.written - len(reader.seen)
            async with reader.reading():
                await reader.catch_up(fast.written)
            tally += await fast.tally(reader)
    again = reader.connections + left.connections - 2
    closed = f", closed by the node {len(codes)} times" if (codes := left.closed + reader.closed) else ""
    record_peer(
        Outcome(
            "a client reads 1 KB/s",
            f"{slow.FAST} fast clients, {slow.RATE} events/s of {slow.SIZE / 1000:.0f} KB",
            f"it is {behind} events behind",
            tally,
            remarks=f"p99 of the fast ones {median(alone_s) * 1000:.1f} ms without it, "
            f"{median(beside_s) * 1000:.1f} ms with it; the node grew by {grown / 2**20:.1f} MB "
            f"while {unread / 2**20:.1f} MB were unread, and held {held / 2**20:.1f} MB of them; "
            f"{again - reader.anew - left.anew} of {again} reconnections recovered{closed}",
            system=SYSTEM,
            software=versions(),
        )
    )
    assert behind > slow.QUEUE_MAX


async def _begin(fast: Audience, reader: SlowSocketioClient) -> None:
    """The slow one has something, for without an event there is nothing to go on from, and is behind."""
    async with reader.reading():
        await fast.write(slow.TOGETHER)
        await reader.catch_up(fast.written)
    await fast.write(slow.BEFORE)


async def _leave_behind(port: int, fast: Audience, reader: SlowSocketioClient) -> tuple[int, int, int]:
    """By how many bytes the node grew, how many the slow one had not read then, and how many waited in the node."""
    before, _ = await memory(port)
    most = before
    async with reader.reading():
        for _ in range(0, slow.UNREAD, slow.TOGETHER):
            await fast.write(slow.TOGETHER)
            most = max(most, (await memory(port))[0])
        await reader.goes_on_for(slow.READS_ON_S)
        resident, held = await memory(port)
        unread = (fast.written - len(reader.seen)) * slow.SIZE
        await reader.catch_up(fast.written)
    return max(most, resident) - before, unread, held


async def memory(port: int) -> tuple[int, int]:
    """How many bytes a node has in RAM, and how many wait in it for clients."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        told = (await http.get("/memory")).json()
    return told["resident"], told["held"]


@pytest.mark.timeout(cuts.SECONDS + 90)
async def test_messages_are_sent_again_after_each_cut(redis_url: str, record_peer: Record) -> None:
    chance = random.Random(SEED)
    sessions = [f"session-{number}" for number in range(SENDERS // 2)]
    count = on_their_way = 0
    async with (
        running_nodes(redis_url, 2, ping_s=PING_S) as nodes,
        proxy(nodes.ports) as way,
        running(
            "senders.js", redis_url, way.port, SENDERS, cuts.TOGETHER, int(senders.PAUSE_S * 1000), *sessions
        ) as speaking,
    ):
        loop = asyncio.get_running_loop()
        over_s = loop.time() + cuts.SECONDS
        while loop.time() < over_s:
            await asyncio.sleep(chance.uniform(*cuts.PAUSE_S))
            moment_ms = chance.uniform(*cuts.MOMENT_S) * 1000
            speaking.write(json.dumps({"client": chance.randrange(SENDERS), "after_ms": moment_ms}))
            on_their_way += await speaking.heard("waiting")
            for pair in tuple(way.pairs):
                pair.reset()
            count += 1
        speaking.write(json.dumps({"within_ms": cuts.SETTLED_S * 1000}))
        found = await speaking.heard("senders", within_s=cuts.SETTLED_S + 30)
    said, acknowledged = (sum(each[name] for each in found) for name in ("sent", "acknowledged"))
    record_peer(
        Outcome(
            "connections of clients that say something are cut",
            f"{SENDERS} clients, {len(sessions)} sessions, {cuts.TOGETHER} messages at a time",
            f"{count} cuts of all connections, {on_their_way} messages on their way",
            total(Tally.of(range(each["sent"]), each["effects"]) for each in found),
            remarks=f"{said} messages, {acknowledged} acknowledged; effect: an entry of a list; it promises at least "
            "once, and leaves it to the application to refuse what it has",
            system=SYSTEM,
            software=versions(),
        )
    )
    assert count < on_their_way


@asynccontextmanager
async def running(name: str, redis_url: str, port: int, *words: object) -> AsyncIterator[Script]:
    """A script with clients of this port, which is ready."""
    url = f"http://127.0.0.1:{port}"
    script = await Script.start(name, redis_url.removesuffix("/0"), url, *map(str, words))
    try:
        await script.heard("ready")
        yield script
    finally:
        await script.end()
