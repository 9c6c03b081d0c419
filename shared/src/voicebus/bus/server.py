"""One Redis server: how to reach it, and how to ask it something at once."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakValueDictionary

import redis.asyncio as redis

from voicebus.bus.link import Link
from voicebus.bus.wire import ReplyError, WireLost, make_pool

_ASKED_S = 1.0  # a server that doesn't tell by then is passed over


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Server:
    """A Redis and how to connect to it; there is one object for each, made by `server_at`."""

    name: str  # host:port, or the path of its socket
    url: str = field(repr=False)  # may hold a password
    pool: redis.ConnectionPool = field(repr=False)  # opens connections; they belong to who opened them


_known = WeakValueDictionary[tuple[str, str], Server]()


def server_at(name: str, url: str) -> Server:
    """The server with this name and address."""
    server = _known.get((name, url))
    if server is None:
        server = _known[name, url] = Server(name, url, make_pool(url))
    return server


def sibling(like: str, host: str, port: int) -> Server:
    """The server at this host and port, reached in the same way as this address: its login, database and options."""
    name = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    parts = urlsplit(like)
    login, at, _ = parts.netloc.rpartition("@")
    return server_at(name, urlunsplit(parts._replace(netloc=login + at + name)))


async def told(server: Server, *commands: bytes) -> list[Any]:
    """The replies to packed commands.

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
