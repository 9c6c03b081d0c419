"""Socket.IO 4 has the clients that our gateways have: one that reads 1 KB/s, and some that say it again after each cut.

Nothing is asserted of what it loses or repeats. It promises that what a client says comes at least once, if it is
asked to (`retries`); to do it once is left to who hears it.
"""

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
from faults.socketio import SYSTEM, Script, missing, running_nodes, versions
from faults.tally import Tally, total
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

pytestmark = pytest.mark.skipif(not FULL, reason="takes minutes: make faults")
why_not = cache(missing)
BYTES_A_SECOND: Final = 1_000
SOCKET_BYTES, SIPS, GULP_BYTES = 2_048, 10, 262_144  # as faults.slow_reader
PAIRS: Final = 8 if FULL else 2  # of phases, with the slow one and without it
PING_S: Final = 25.0  # Socket.IO's own default
SENDERS: Final = 10 if FULL else 4  # two in each session


@pytest.fixture(autouse=True)
def _it_is_there() -> None:
    if why := why_not():
        pytest.fail(f"Socket.IO: {why}")


class SlowReader:
    """Reads a session's tokens as `faults.slow_reader` does; each connection goes on where the one before ended."""

    def __init__(self, port: int, session: str) -> None:
        self.seen: list[int] = []
        self.closed: list[int] = []  # the codes with which the node ended a connection
        self.connections = 0
        self.anew = 0  # of these, after which Socket.IO said that it does not give what the client missed
        self._port = port
        self._joins = {"session": session}  # who it is, and what it has
        self._hurried = False
        self._joining = False
        self._welcomed = False
        self._ended = False  # by the node
        self._taken = 0  # bytes, over this connection
        self._news = asyncio.Event()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """It is connected while inside, and reads slowly unless it is told to catch up."""
        self._hurried = self._joining = self._welcomed = self._ended = False
        self._taken = 0
        self.connections += 1
        with socket.socket() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
            raw.setblocking(False)
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._read(raw))
                try:
                    async with asyncio.timeout(20):
                        await self._until(lambda: self._welcomed)
                    yield
                finally:
                    reading.cancel()

    async def goes_on_for(self, seconds: float) -> None:
        """Returns when it has read slowly for so long, or the node ends the connection."""
        enough = self._taken + seconds * BYTES_A_SECOND
        await self._until(lambda: self._taken >= enough)

    async def catch_up(self, count: int) -> None:
        """Returns when it has so many, reading as fast as it can, or the connection or the time is over."""
        self._hurried = True
        with suppress(TimeoutError):  # what did not come counts as lost
            async with asyncio.timeout(slow.SETTLED_S):
                await self._until(lambda: len(self.seen) >= count)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached() and not self._ended:
            self._news.clear()
            await self._news.wait()

    async def _read(self, raw: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self._port))
        protocol = ClientProtocol(parse_uri(f"ws://127.0.0.1:{self._port}/socket.io/?EIO=4&transport=websocket"))
        protocol.send_request(protocol.connect())
        while True:
            for data in protocol.data_to_send():
                await loop.sock_sendall(raw, data)
            if self._hurried:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, GULP_BYTES)
            came = await loop.sock_recv(raw, GULP_BYTES if self._hurried else BYTES_A_SECOND // SIPS)
            self._taken += len(came)
            self._welcomed = self._joining  # all that it missed comes before the node says so
            protocol.receive_data(came)
            for frame in protocol.events_received():
                if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT:
                    self._take(protocol, bytes(frame.data).decode())
            self._news.set()
            if not came:
                break
            await asyncio.sleep(0 if self._hurried else 1 / SIPS)
        self.closed.append(protocol.close_rcvd.code if protocol.close_rcvd else 1006)
        self._ended = True
        self._news.set()

    def _take(self, protocol: ClientProtocol, packet: str) -> None:
        """One of Engine.IO: 0 opens, 2 is a ping; 40 and 42 are Socket.IO's, for a connection and an event."""
        if packet.startswith("0"):
            protocol.send_text(f"40{json.dumps(self._joins)}".encode())
            self._joining = True
        elif packet == "2":
            protocol.send_text(b"3")
        elif packet.startswith("40"):
            pid = json.loads(packet[2:])["pid"]
            self.anew += self._joins.get("pid", pid) != pid
            self._joins["pid"] = pid
        elif packet.startswith("42"):
            _, number, _, self._joins["offset"] = json.loads(packet[2:])
            self.seen.append(number)


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

    async def tally(self, reader: SlowReader) -> Tally:
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
            left = SlowReader(port, "unread")
            await _begin(fast, left)
            grown, unread, held = await _leave_behind(port, fast, left)
            tally = await fast.tally(left)
        async with audience(redis_url, port, "compared", clients=slow.FAST) as fast:
            reader = SlowReader(port, "compared")
            await _begin(fast, reader)
            for number in range(2 * PAIRS):
                if number % 4 in (0, 3):  # no phase is always the first of a pair
                    alone_s.append(await fast.p99_s())
                else:
                    async with reader.reading():
                        beside_s.append(await fast.p99_s())
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


async def _begin(fast: Audience, reader: SlowReader) -> None:
    """The slow one has something, for without an event there is nothing to go on from, and is behind."""
    async with reader.reading():
        await fast.write(slow.TOGETHER)
        await reader.catch_up(fast.written)
    await fast.write(slow.BEFORE)


async def _leave_behind(port: int, fast: Audience, reader: SlowReader) -> tuple[int, int, int]:
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
