"""A connection to Redis without streams in between: what arrives is parsed and handed on in the same breath.

redis-py opens it (address, TLS, authentication, database); then its transport is ours. A reply costs about a third of
what it costs through its streams.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo

Arg = str | bytes | int | float
Reply = Any  # bytes, int, None, lists of these, or a ReplyError
_NOTHING = object()
_CONNECT_S = 2.0
_IN_SCRIPT = re.compile(r"@user_script: \d+: -(\w+) ")  # before Redis 7
_DRIVER = DriverInfo()  # else each connection reads the driver's version from the disk, which takes 1.5 ms


class ReplyError(Exception):
    """Redis answered with an error."""

    @property
    def kind(self) -> str:
        """Its first word: `NOSCRIPT`, `OOM`, `READONLY`, `ERR` …; in a script that of the command which failed."""
        text = str(self)
        wrapped = _IN_SCRIPT.search(text)
        return wrapped[1] if wrapped else text.partition(" ")[0]


class WireLost(Exception):
    """The connection could not be made, or is gone."""


def make_pool(url: str) -> redis.ConnectionPool:
    """Opens connections that neither retry nor time out by themselves."""
    return redis.ConnectionPool.from_url(
        url,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=_CONNECT_S,
        health_check_interval=0,
        driver_info=_DRIVER,
    )


def pack(*command: Arg) -> bytes:
    """The command as it goes over the wire.

    Raises:
        UnicodeEncodeError: text in it has lone surrogates.
    """
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its types know one-tuples only
    return packed


def pack_some(*arguments: Arg) -> bytes:
    """Some arguments of a command, without the count of all. Raises as `pack` does."""
    packed = pack(*arguments)
    return packed[packed.index(b"\n") + 1 :]


class Wire(asyncio.Protocol):
    """One open connection. Both callbacks are called from the event loop and return at once."""

    def __init__(
        self, stream: asyncio.StreamWriter, on_replies: Callable[[list[Reply]], None], on_lost: Callable[[], None]
    ) -> None:
        self._stream = stream  # closes its transport when it goes
        self._transport = stream.transport
        self._reader = hiredis.Reader(replyError=ReplyError, notEnoughData=_NOTHING)
        self._on_replies = on_replies
        self._on_lost = on_lost
        self._transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether commands can be sent."""
        return not self._transport.is_closing()

    def send(self, commands: Sequence[bytes]) -> None:
        """Writes the packed commands in one go."""
        self._transport.write(b"".join(commands))

    def close(self) -> None:
        """Cuts the connection; `on_lost` is not called."""
        self._on_lost = _ignore
        self._on_replies = _ignore
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes of replies."""
        self._reader.feed(data)
        replies: list[Reply] = []
        while (reply := self._reader.gets()) is not _NOTHING:
            replies.append(reply)
        if replies:
            self._on_replies(replies)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The other side is gone."""
        self._on_lost()


async def open_wire(
    pool: redis.ConnectionPool, on_replies: Callable[[list[Reply]], None], on_lost: Callable[[], None]
) -> Wire:
    """Connects. What arrives together is handed on together.

    Raises:
        WireLost: it did not work.
    """
    connection = pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    try:
        async with asyncio.timeout(_CONNECT_S + 1):
            await connection.connect()
    except (redis.RedisError, OSError) as error:
        raise WireLost(str(error) or "no connection in time") from error
    stream = connection._writer  # noqa: SLF001 - there is no public way to what it has opened
    connection._reader = connection._writer = None  # noqa: SLF001 - it is no longer the connection's to close
    if stream is None:
        raise WireLost("the connection was closed at once")
    return Wire(stream, on_replies, on_lost)


def _ignore(*_: object) -> None:
    """Nobody waits for this any more."""
