"""One process's way to Redis, on which each write and each answer is seen, and may be held up or swallowed."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from faults.proxy import Pair, Proxy, serving

from voicebus.bus.bus import Bus
from voicebus.bus.scripts import ScriptName, sha

REFUSED = b"$5\r\nstale\r\n"  # what a script answers to a worker whose fencing token is void


class Watch(Protocol):
    """Looks at what passes. What it gives back goes on in place of that."""

    def up(self, way: "RedisWay", pair: Pair, data: bytes) -> bytes:
        """Commands for Redis."""

    def down(self, way: "RedisWay", pair: Pair, data: bytes) -> bytes:
        """Redis's answers, and what is published."""


class RedisWay:
    """A proxy for each server of one Redis or of a cluster."""

    def __init__(self, name: str, ports: Sequence[int], watch: Watch | None = None) -> None:
        self.name = name  # of who goes it
        self.proxies = [_Watched(port, self) for port in ports]
        self.watch = watch
        self.refused = 0  # calls that Redis refused, since another worker has the session

    @property
    def url(self) -> str:
        """For the process; a cluster's servers are named by their proxies in what they tell of each other, too."""
        return "redis://" + ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def renamed(self, data: bytes) -> bytes:
        """Ports in CLUSTER SLOTS and in redirections are those of the proxies."""
        if len(self.proxies) > 1:
            for proxy in self.proxies:
                data = data.replace(b":%d\r\n" % proxy.targets[0], b":%d\r\n" % proxy.port)
        return data


class _Watched(Proxy):
    def __init__(self, target: int, way: RedisWay) -> None:
        super().__init__([target])
        self._way = way

    def passing(self, pair: Pair, data: bytes, *, up: bool) -> bytes:
        way = self._way
        if not up:
            way.refused += data.count(REFUSED)
            data = way.renamed(data)
        if way.watch is None:
            return data
        return way.watch.up(way, pair, data) if up else way.watch.down(way, pair, data)


def ports_of(bus: Bus) -> list[int]:
    """Where the servers of the bus listen, on loopback."""
    return [int(server.name.rpartition(":")[2]) for server in bus.servers.all]


@asynccontextmanager
async def redis_way(name: str, ports: Sequence[int], watch: Watch | None = None) -> AsyncIterator[RedisWay]:
    """It is open."""
    way = RedisWay(name, ports, watch)
    async with AsyncExitStack() as stack:
        for each in way.proxies:
            await stack.enter_async_context(serving(each))
        yield way


def names(session_id: str, *scripts: ScriptName) -> Callable[[bytes], bool]:
    """Tells whether commands run one of these scripts for this session."""
    session, shas = session_id.encode(), [sha(script).encode() for script in scripts]
    return lambda data: session in data and any(each in data for each in shas)
