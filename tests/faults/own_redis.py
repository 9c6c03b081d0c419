"""Redis that belongs to one scenario: it can be stalled, killed and started again with its data."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from support.redis_cluster import Node, running_cluster, serve

from voicebus.bus.wire import Arg, pack
from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import redis_command, wait_for_port

_HELD_UP_S: Final = 0.1
_ANSWER_S: Final = 30
_ENDLESS: Final = resource.RLIM_INFINITY


@dataclass(frozen=True)
class OwnRedis:
    """One server, or a cluster's three primaries."""

    url: str
    nodes: Sequence[Node]

    def freeze(self) -> None:
        """No server does anything until a stall is over; what is written to one now is not read before."""
        self._signal(signal.SIGSTOP)

    async def stall(self, seconds: float) -> None:
        """No server does anything for so long; none is told of it."""
        self.freeze()
        try:
            await asyncio.sleep(seconds)
        finally:
            self._signal(signal.SIGCONT)

    async def cut_off(self, kind: str, *before: Arg) -> None:
        """Closes the connections of clients of this kind when they have been served and not been answered.

        Redis reads what came meanwhile, and behind it what cuts its senders off, before it answers anybody. `before` is
        a command that every server gets just before.
        """
        commands = [*([before] if before else []), ("CLIENT", "KILL", "TYPE", kind)]
        async with AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(_line(node)) for node in self.nodes]
            self._signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(_HELD_UP_S)  # clients send meanwhile: Redis serves first what came first
                for line in lines:
                    line.send(*commands)
            finally:
                self._signal(signal.SIGCONT)
            for line in lines:
                await line.answers(len(commands))

    async def restart(self, away_s: float, *, unwritten_s: float = 0.0) -> None:
        """`kill -9` of every server; after this time they are there again with what was on disk.

        Without the last `unwritten_s`, as when the machine fails.
        """
        sizes = [_files(node) for node in self.nodes]
        await asyncio.sleep(unwritten_s)
        for node in self.nodes:
            node.kill()
        if unwritten_s:
            for files in sizes:
                for path, size in files.items():
                    os.truncate(path, size)
        await asyncio.sleep(away_s)
        await asyncio.to_thread(start_again, *self.nodes)

    def write_at_once(self) -> None:
        """Until its end no server answers before what it has done is on disk."""
        self.everywhere("CONFIG", "SET", "appendfsync", "always")

    def fill_memory(self) -> None:
        """No server has memory for more than it holds."""
        self.everywhere("CONFIG", "SET", "maxmemory", "1")

    def free_memory(self) -> None:
        """They have enough again."""
        self.everywhere("CONFIG", "SET", "maxmemory", "0")

    def fill_disk(self) -> None:
        """No server can write to its file any more."""
        for node in self.nodes:
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (max(_files(node).values()), _ENDLESS))

    def free_disk(self) -> None:
        """They can again."""
        for node in self.nodes:
            resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (_ENDLESS, _ENDLESS))

    def everywhere(self, *command: Arg) -> None:
        """A command for each server; the replies are not looked at."""
        for node in self.nodes:
            node.ask(*command)

    def _signal(self, number: signal.Signals) -> None:
        for node in self.nodes:
            os.kill(node.process.pid, number)


class _Line:
    """A connection that is open before its server stops."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *commands: Sequence[Arg]) -> None:
        """All in one go."""
        self._writer.write(b"".join(pack(*command) for command in commands))

    async def answers(self, count: int) -> None:
        """Returns when so many have come, each in one line.

        Raises:
            TimeoutError: they did not come.
            ValueError: one is an error.
        """
        async with asyncio.timeout(_ANSWER_S):
            for _ in range(count):
                answer = await self._reader.readline()
                if answer[:1] not in {b"+", b":"}:
                    raise ValueError(answer)


@asynccontextmanager
async def _line(node: Node) -> AsyncIterator[_Line]:
    """It is open, and the server has served it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    try:
        line = _Line(reader, writer)
        line.send(("PING",))
        await line.answers(1)
        yield line
    finally:
        writer.close()


def _files(node: Node) -> dict[Path, int]:
    """The node's append-only files and their sizes."""
    home = Path(f"/proc/{node.process.pid}/cwd").resolve()
    return {path: path.stat().st_size for path in home.rglob("*.aof")}


def start_again(*nodes: Node) -> None:
    """As they were started, with what they have on disk; they listen."""
    for node in nodes:
        node.process = serve(cast("list[str]", node.process.args))
    for node in nodes:
        wait_for_port(node.port)


@contextmanager
def own_redis(folder: Path, kind: str) -> Iterator[OwnRedis]:
    """It runs; ended at the end."""
    with ExitStack() as stack:
        if kind == "cluster":
            cluster = stack.enter_context(running_cluster(folder))
            yield OwnRedis(cluster.url, cluster.primaries)
        else:
            port = free_port()
            node = Node(port, serve(redis_command(port, folder)))
            stack.callback(node.kill)
            wait_for_port(port)
            yield OwnRedis(f"redis://{node.name}/0", [node])
