"""A real Redis Cluster on loopback: primaries, replicas, slots that move."""

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from voicebus.bus.bus import Bus
from voicebus.bus.link import Link
from voicebus.bus.slots import SLOTS
from voicebus.bus.wire import Arg, Reply, pack
from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import redis_command, wait_for_port

_BUS_PORT = 10_000  # above a server's port: where the cluster talks among itself


@dataclass(eq=False)
class Node:
    """A server of the cluster."""

    port: int
    process: subprocess.Popen[bytes] = field(repr=False)
    id: str = ""

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *command: Arg) -> Any:
        """The reply to a command, without a redirection."""
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            return client.execute_command(*command)

    def hold_back(self, primary: "Node") -> None:
        """This replica gets nothing more of what is written at its primary, and is no worse for it to look at.

        What was written before it has: a primary keeps that back for up to a second behind a replica's first copy.
        """
        written = primary.ask("INFO", "replication")["master_repl_offset"]
        wait_until(lambda: primary.ask("INFO", "replication")["slave0"]["offset"] >= written)
        self.ask("CONFIG", "SET", "masterauth", "a password that nobody asks for")
        primary.ask("CLIENT", "KILL", "TYPE", "replica")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@dataclass
class Cluster:
    """Three primaries, the slots shared out evenly, and replicas of the first ones."""

    primaries: list[Node]
    replicas: list[Node]

    @property
    def url(self) -> str:
        return "redis://" + ",".join(node.name for node in self.primaries[:2])

    def owner(self, slot: int) -> Node:
        """Who serves the slot, as its servers see it."""
        for node in self.primaries:
            for first, last, primary, *_ in node.ask("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(other for other in self.primaries if other.port == primary[1])
        raise LookupError(slot)

    @contextmanager
    def moving(self, slot: int, target: Node) -> Iterator[None]:
        """Inside, the slot's keys are on their way; at the end all of them, and the slot, are the target's."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        try:
            yield
        finally:
            while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
                source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
            # Once each: a server that is told again drops its subscribers again.
            for node in (target, source, *(other for other in self.primaries if other not in (target, source))):
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            wait_until(lambda: all(self._sees(node, slot, target) for node in self.primaries))

    def move(self, slot: int, target: Node) -> None:
        """Gives the slot and its keys to another primary."""
        with self.moving(slot, target):
            pass

    @staticmethod
    def _sees(node: Node, slot: int, owner: Node) -> bool:
        return any(
            first <= slot <= last and primary[1] == owner.port
            for first, last, primary, *_ in node.ask("CLUSTER", "SLOTS")
        )


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not become true in time"
        time.sleep(0.02)


@contextmanager
def running_cluster(folder: Path, *, replicas: int = 0, timeout_ms: int = 15_000) -> Iterator[Cluster]:
    """Three primaries, and a replica each for the first so many; all stop at the end.

    A server that the others have not heard of for `timeout_ms` is taken for dead.
    """
    with ExitStack() as stack:
        nodes = [_start(stack, folder, timeout_ms) for _ in range(3 + replicas)]
        cluster = Cluster(nodes[:3], nodes[3:])
        for number, node in enumerate(nodes):
            wait_for_port(node.port)
            node.id = node.ask("CLUSTER", "MYID").decode()
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for number, node in enumerate(cluster.primaries):
            node.ask("CLUSTER", "ADDSLOTS", *range(number * SLOTS // 3, (number + 1) * SLOTS // 3))
        for node in nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        wait_until(lambda: all(_knows(node, nodes) for node in nodes))
        for primary, replica in zip(cluster.primaries, cluster.replicas, strict=False):
            replica.ask("CLUSTER", "REPLICATE", primary.id)
        wait_until(lambda: all(node.ask("INFO", "replication").get("master_link_status") == "up" for node in nodes[3:]))
        wait_until(lambda: all(_is_ready(node) for node in nodes))
        yield cluster


def _start(stack: ExitStack, folder: Path, timeout_ms: int) -> Node:
    port = _free_port()
    home = folder / str(port)
    home.mkdir()
    extra = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout")
    command = [*redis_command(port, home), *extra, str(timeout_ms)]
    node = Node(port, serve(command))
    stack.callback(node.kill)
    return node


def serve(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Starts a server. One whose file may not grow is told so by an error, as when its disk is full, not by SIGXFSZ."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, restore_signals=False)


def _free_port() -> int:
    """A free port of 127.0.0.1, so that its cluster port is one that nobody else gets."""
    while True:
        port = free_port() - _BUS_PORT
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _knows(node: Node, nodes: list[Node]) -> bool:
    known = node.ask("CLUSTER", "NODES")
    return len(known.splitlines()) == len(nodes) and b"handshake" not in known


def _is_ready(node: Node) -> bool:
    served = sum(last + 1 - first for first, last, *_ in node.ask("CLUSTER", "SLOTS"))
    return served == SLOTS and b"cluster_state:ok" in node.ask("CLUSTER", "INFO")


async def everywhere(bus: Bus, *command: Arg) -> list[Reply]:
    """What each server replies."""
    replies = []
    for server in bus.servers.all:
        link = Link(server.pool)
        replies += await link.exchange([pack(*command)])
        link.close()
    return replies
