"""Who tells which server serves what: nobody where there is one Redis, any server of a cluster, or the sentinels."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from voicebus.bus.server import Server, server_at, sibling, told
from voicebus.bus.slots import SLOTS
from voicebus.bus.wire import WireLost, pack

_ASK_ALL = (pack("INFO", "server"), pack("INFO", "cluster"))
_SENTINEL = "+sentinel"  # how the schemes end
_SENTINEL_PORT = 26_379
_PRIMARY_ONLY = {"db", "username", "password"}  # options that sentinels have none of, or others
_SERVICE = "mymaster"  # what Redis's own examples call it


class Directory(Protocol):
    """Tells of the servers that take commands."""

    clustered: bool  # whether each has slots of its own; otherwise one server has all keys, and counts as one slot
    sharded: bool  # whether channels belong to slots, as keys do
    asked_every_s: float | None  # also without a doubt; None: then not

    async def owners(self, before: tuple[Server, ...], suspects: Mapping[Server, bool]) -> tuple[Server, ...]:
        """Who serves which slot, now that suspects among those `before` deny it, or say nothing.

        The value of a suspect says whether it answers.

        Raises:
            WireLost: nobody knows at the moment.
        """


class OneRedis:
    """It has everything, whatever happens to it."""

    clustered = sharded = False
    asked_every_s: float | None = None

    def __init__(self, server: Server) -> None:
        self._server = server

    async def owners(self, before: tuple[Server, ...], suspects: Mapping[Server, bool]) -> tuple[Server, ...]:  # noqa: ARG002 - there is no other
        """It alone."""
        return (self._server,)


class Cluster:
    """Redis Cluster: each of its servers tells of all."""

    clustered = True
    asked_every_s: float | None = None  # a server without a slot says so

    def __init__(self, seeds: Sequence[Server], *, sharded: bool) -> None:
        self.sharded = sharded
        self._seeds = seeds
        self._like = seeds[0].url

    async def owners(self, before: tuple[Server, ...], suspects: Mapping[Server, bool]) -> tuple[Server, ...]:
        """As the first sees it that answers; where it sees nobody, the one before."""
        reason = ""
        for server in self._to_ask(before, suspects):
            try:
                return await self._owners(server, before)
            except WireLost as error:
                reason = str(error)
        raise WireLost(reason)

    def _to_ask(self, before: tuple[Server, ...], suspects: Mapping[Server, bool]) -> Iterator[Server]:
        """Who sends others elsewhere knows where to; who is silent comes last."""
        others = [server for server in {*before, *self._seeds} if server not in suspects]
        random.shuffle(others)
        yield from (server for server, answers in suspects.items() if answers)
        yield from others
        yield from (server for server, answers in suspects.items() if not answers)

    async def _owners(self, asked: Server, before: tuple[Server, ...]) -> tuple[Server, ...]:
        owners: list[Server | None] = list(before) or [None] * SLOTS
        for first, last, (host, port, *_), *_ in (await told(asked, pack("CLUSTER", "SLOTS")))[0]:
            # A server that doesn't know its own address means the one at which it was asked.
            name = host.decode() if host else asked.name.rpartition(":")[0]
            owners[first : last + 1] = [sibling(self._like, name, port)] * (last + 1 - first)
        found = tuple(owner for owner in owners if owner)
        if len(found) < SLOTS:
            raise WireLost(f"the cluster serves only {len(found)} of {SLOTS} slots")
        return found


class Sentinels:
    """Redis Sentinel: each of them tells who the primary is, and that one must agree.

    `redis+sentinel://[user:password@]host[:port],…/[service[/database]][?options]`. The login, the database and the
    options are the primary's, but for `sentinel_username` and `sentinel_password`.
    """

    clustered = sharded = False
    asked_every_s: float | None = 1.0  # a primary that was cut off takes writes in vain until it is told

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        scheme = parts.scheme.removesuffix(_SENTINEL)
        login, at, hosts = parts.netloc.rpartition("@")
        service, _, database = parts.path.strip("/").partition("/")
        options = dict(parse_qsl(parts.query))
        user, password = options.pop("sentinel_username", ""), options.pop("sentinel_password", "")
        query = urlencode(options)
        shared = urlencode({name: value for name, value in options.items() if name not in _PRIMARY_ONLY})
        own = f"{quote(user, safe='')}:{quote(password, safe='')}@" if password else ""
        asked_like = urlunsplit((scheme, own, "", shared, ""))
        self._sentinels = [sibling(asked_like, *_host_and_port(host)) for host in hosts.split(",")]
        self._service = service or _SERVICE
        self._like = urlunsplit((scheme, login + at, f"/{database or 0}", query, ""))

    async def owners(self, before: tuple[Server, ...], suspects: Mapping[Server, bool]) -> tuple[Server, ...]:
        """The primary alone. The sentinel that knew it is asked first the next time."""
        reason = ""
        objections = {server: "" for server in before if server not in suspects}
        for sentinel in tuple(self._sentinels):
            try:
                server = await self._primary(sentinel)
            except WireLost as error:
                reason = f"the sentinel {sentinel.name}: {error}"
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)
                continue
            if server not in objections:
                objections[server] = await _objection(server)
            reason = objections[server]
            if not reason:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return (server,)
        raise WireLost(reason)

    async def _primary(self, sentinel: Server) -> Server:
        [found] = await told(sentinel, pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service))
        if found is None:
            raise WireLost(f"it knows no service {self._service!r}")
        host, port = found
        return sibling(self._like, host.decode(), int(port))


async def _objection(server: Server) -> str:
    """Why this is not a primary, '' if it is one."""
    try:
        [role] = await told(server, pack("ROLE"))
    except WireLost as error:
        return f"{server.name}: {error}"
    return "" if role[0] == b"master" else f"{server.name} is no primary"


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or _SENTINEL_PORT


async def find_directory(url: str) -> Directory:
    """What the URL leads to; whether that is a cluster its servers tell.

    Raises:
        WireLost: nobody tells.
    """
    parts = urlsplit(url)
    if parts.scheme.endswith(_SENTINEL):
        return Sentinels(url)
    if parts.scheme == "unix":
        seeds = [server_at(parts.path, url)]
    else:
        login, at, hosts = parts.netloc.rpartition("@")
        seeds = [server_at(host, urlunsplit(parts._replace(netloc=login + at + host))) for host in hosts.split(",")]
    reason = ""
    for seed in seeds:
        try:
            said = b"".join(await told(seed, *_ASK_ALL))
        except WireLost as error:
            reason = str(error)
            continue
        if b"cluster_enabled:1" not in said:
            return OneRedis(seed)
        version = int(said.partition(b"redis_version:")[2].partition(b".")[0])
        return Cluster(seeds, sharded=version >= 7)
    raise WireLost(reason)
