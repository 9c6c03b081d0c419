"""Which server serves what: the one Redis, or the primaries of a cluster, each with its slots.

Any server of a cluster tells of all (CLUSTER SLOTS). What it told is believed until a server's answer or silence
contradicts it; then somebody is asked again.
"""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakValueDictionary

import redis.asyncio as redis
import structlog

from voicebus.bus.link import Link
from voicebus.bus.slots import SLOTS, slot_of_command, slot_of_key
from voicebus.bus.wire import Arg, ReplyError, WireLost, make_pool, pack
from voicebus.contract.errors import BusUnavailable

_log = structlog.get_logger(__name__)
_ASKED_S = 1.0  # a server that doesn't tell by then is passed over
_BETWEEN_S = 0.05  # two questions
_ASK_ALL = (pack("INFO", "server"), pack("INFO", "cluster"))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Server:
    """A Redis and how to connect to it; there is one object for each, made by `_server`."""

    name: str  # host:port, or the path of its socket
    url: str = field(repr=False)  # may hold a password
    pool: redis.ConnectionPool = field(repr=False)  # opens connections; they belong to who opened them


_known = WeakValueDictionary[tuple[str, str], Server]()


class Servers:
    """The servers that take commands, and the slots of each. `run` must be running."""

    def __init__(self, seeds: Sequence[Server], owners: Sequence[Server], *, clustered: bool, sharded: bool) -> None:
        self._seeds = seeds
        self._owners = tuple(owners)  # by slot; of one Redis its only one
        self._all = tuple(dict.fromkeys(owners))
        self._clustered = clustered
        self.sharded = sharded  # whether channels belong to slots, as keys do
        self._followers: list[Callable[[], None]] = []
        self._doubtful = asyncio.Event()
        self._suspects: dict[Server, bool] = {}  # and whether they answer

    @property
    def publish(self) -> str:
        """The command that publishes: `SPUBLISH` where channels belong to slots, else `PUBLISH`."""
        return "SPUBLISH" if self.sharded else "PUBLISH"

    @property
    def all(self) -> tuple[Server, ...]:
        """Every server that has slots."""
        return self._all

    def slot(self, command: tuple[Arg, ...]) -> int:
        """The slot that the command is for; one Redis has one."""
        return slot_of_command(command) if self._clustered else 0

    def at(self, slot: int) -> Server:
        """Who serves the slot."""
        return self._owners[slot]

    def of_channel(self, channel: bytes) -> Server:
        """Where what is published on the channel by the scripts of its slot is heard first."""
        return self._owners[slot_of_key(channel) if self._clustered else 0]

    def channel_at(self, server: Server, stem: str) -> bytes:
        """A channel that begins with the stem and belongs to this server, which has slots."""
        names = (f"{stem}:{{{number}}}".encode() for number in itertools.count())
        return next(name for name in names if self.of_channel(name) == server)

    def named(self, name: str) -> Server:
        """The server of the cluster with this host and port."""
        host, _, port = name.rpartition(":")
        return _sibling(self._seeds[0], host, int(port))

    def follow(self, follower: Callable[[], None]) -> None:
        """Has it called whenever slots have moved; it must return at once."""
        self._followers.append(follower)

    def doubt(self, server: Server, *, answers: bool) -> None:
        """This server was believed to serve something and says that it doesn't, or says nothing at all."""
        if self._clustered:
            self._suspects[server] = answers
            self._doubtful.set()

    async def run(self) -> None:
        """Asks again when there is doubt, until cancelled."""
        while True:
            await self._doubtful.wait()
            self._doubtful.clear()
            suspects, self._suspects = self._suspects, {}
            for server in self._to_ask(suspects):
                try:
                    owners = await _owners(server, self._seeds[0], before=self._owners)
                except WireLost:
                    continue
                self._believe(owners)
                break
            await asyncio.sleep(_BETWEEN_S)

    def _believe(self, owners: tuple[Server, ...]) -> None:
        if owners == self._owners:
            return
        moved = sum(old is not new for old, new in zip(self._owners, owners, strict=True))
        self._owners, self._all = owners, tuple(dict.fromkeys(owners))
        _log.info("slots_moved", slots=moved, servers=[server.name for server in self.all])
        for follower in self._followers:
            follower()

    def _to_ask(self, suspects: dict[Server, bool]) -> Iterator[Server]:
        """Who sends others elsewhere knows where to; who is silent comes last. None is always first."""
        others = [server for server in {*self._all, *self._seeds} if server not in suspects]
        random.shuffle(others)
        yield from (server for server, answers in suspects.items() if answers)
        yield from others
        yield from (server for server, answers in suspects.items() if not answers)


async def find_servers(url: str, *, deadline_s: float) -> Servers:
    """Asks the servers that the URL names, in turn, until one answers.

    `redis://host:port`, of a cluster any server, or several with commas between; also `rediss://` and `unix://`.

    Raises:
        BusUnavailable: none did within the deadline.
    """
    seeds = _seeds(url)
    reason = ""
    try:
        async with asyncio.timeout(deadline_s):
            for seed in itertools.cycle(seeds):
                try:
                    return await _ask(seed, seeds)
                except WireLost as error:
                    reason = str(error)
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    raise BusUnavailable(f"Redis: {reason or 'no answer'}")


async def _ask(seed: Server, seeds: Sequence[Server]) -> Servers:
    told = b"".join(await _told(seed, _ASK_ALL))
    if b"cluster_enabled:1" not in told:
        return Servers([seed], [seed], clustered=False, sharded=False)
    owners = await _owners(seed, seed, before=())
    version = int(told.partition(b"redis_version:")[2].partition(b".")[0])
    return Servers(seeds, owners, clustered=True, sharded=version >= 7)


async def _owners(asked: Server, like: Server, *, before: tuple[Server, ...]) -> tuple[Server, ...]:
    """Who serves which slot, as this server sees it; where it sees nobody, the one before."""
    owners: list[Server | None] = list(before) or [None] * SLOTS
    for first, last, (host, port, *_), *_ in (await _told(asked, [pack("CLUSTER", "SLOTS")]))[0]:
        # A server that doesn't know its own address means the one at which it was asked.
        name = host.decode() if host else asked.name.rpartition(":")[0]
        owners[first : last + 1] = [_sibling(like, name, port)] * (last + 1 - first)
    found = tuple(owner for owner in owners if owner)
    if len(found) < SLOTS:
        raise WireLost(f"the cluster serves only {len(found)} of {SLOTS} slots")
    return found


async def _told(server: Server, commands: Sequence[bytes]) -> list[Any]:
    """The replies.

    Raises:
        WireLost: also if one of them is an error.
    """
    link = Link(server.pool)
    try:
        async with asyncio.timeout(_ASKED_S):
            replies = await link.exchange(commands)
    except TimeoutError as error:
        raise WireLost("no answer") from error
    finally:
        link.close()
    for reply in replies:
        if isinstance(reply, ReplyError):
            raise WireLost(str(reply))
    return replies


def _seeds(url: str) -> list[Server]:
    """One server for each host of the URL."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return [_server(parts.path, url)]
    login, at, hosts = parts.netloc.rpartition("@")
    return [_server(host, urlunsplit(parts._replace(netloc=login + at + host))) for host in hosts.split(",")]


def _sibling(like: Server, host: str, port: int) -> Server:
    """Another server of the cluster, reached in the same way."""
    name = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    parts = urlsplit(like.url)
    login, at, _ = parts.netloc.rpartition("@")
    return _server(name, urlunsplit(parts._replace(netloc=login + at + name)))


def _server(name: str, url: str) -> Server:
    server = _known.get((name, url))
    if server is None:
        server = _known[name, url] = Server(name, url, make_pool(url))
    return server
