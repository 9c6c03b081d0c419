"""Redis behind Sentinel on loopback: a primary, its replica, and three sentinels that agree by two."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.redis_cluster import Node, serve, wait_until
from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import redis_command, redis_executable, wait_for_port

SERVICE = "voice"
_DOWN_AFTER_MS = 1_500


@dataclass
class Watched:
    """Two servers, one of which is the primary, and who watches them."""

    servers: list[Node]  # the first one was the primary at the start
    sentinels: list[Node]
    folder: Path

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(node.name for node in self.sentinels)}/{SERVICE}/0"

    def primary(self) -> Node:
        """Whom the first sentinel that runs takes for it."""
        sentinel = next(node for node in self.sentinels if node.process.poll() is None)
        _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(node for node in self.servers if node.port == int(port))

    def replica(self) -> Node:
        """The other one."""
        primary = self.primary()
        return next(node for node in self.servers if node is not primary)

    def start(self, node: Node) -> None:
        """Starts a server again that was killed; `wait_replicating` makes it a replica."""
        node.process = _serve(node.port, self.folder)
        wait_for_port(node.port)
        wait_until(lambda: not node.ask("INFO", "persistence")["loading"])

    def wait_replicating(self) -> None:
        """Returns when all sentinels know of a replica that has all that its primary has."""
        primary, replica = self.primary(), self.replica()
        primary.ask("CONFIG", "SET", "masterauth", "")
        replica.ask("CONFIG", "SET", "masterauth", "")
        replica.ask("REPLICAOF", "127.0.0.1", primary.port)  # a sentinel would say so in 10 s
        wait_until(lambda: all(_knows_all(node) for node in self.sentinels) and _in_step(self.replica()))

    def wait_promoted(self, node: Node) -> None:
        """Returns when the server is the primary, and all sentinels say so."""
        wait_until(lambda: _is_primary(node) and all(_named(sentinel) == node.port for sentinel in self.sentinels))


@contextmanager
def running_sentinels(folder: Path, *, down_after_ms: int = _DOWN_AFTER_MS) -> Iterator[Watched]:
    """All of them, in step; they stop at the end."""
    with ExitStack() as stack:
        watched = Watched([], [], folder)
        for _ in range(2):
            port = free_port()
            (folder / str(port)).mkdir()
            watched.servers.append(Node(port, _serve(port, folder)))
            stack.callback(lambda node: node.kill(), watched.servers[-1])
        for node in watched.servers:
            wait_for_port(node.port)
        primary, replica = watched.servers
        replica.ask("REPLICAOF", "127.0.0.1", primary.port)
        ports = [free_port() for _ in range(3)]
        for port in ports:
            others = [other for other in ports if other != port]
            watched.sentinels.append(_watch(port, others, watched.servers, folder, down_after_ms))
            stack.callback(watched.sentinels[-1].kill)
        for node in watched.sentinels:
            wait_for_port(node.port)
        watched.wait_replicating()
        yield watched


def _serve(port: int, folder: Path) -> subprocess.Popen[bytes]:
    # A replica may be promoted as soon as it was in step once, and need not wait to be told.
    extra = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    return serve([*redis_command(port, folder / str(port)), *extra])


def _watch(port: int, others: list[int], servers: list[Node], folder: Path, down_after_ms: int) -> Node:
    """A sentinel that knows all from the start, instead of hearing of them within two seconds."""
    primary, replica = servers
    config = folder / f"sentinel-{port}.conf"  # the sentinel rewrites it
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile sentinel-{port}.log\n"
        f"sentinel myid {_id(port)}\n"
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} 2\n"
        f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}\n"
        f"sentinel failover-timeout {SERVICE} 4000\n"
        f"sentinel known-replica {SERVICE} 127.0.0.1 {replica.port}\n"
        + "".join(f"sentinel known-sentinel {SERVICE} 127.0.0.1 {other} {_id(other)}\n" for other in others)
    )
    return Node(port, serve([redis_executable(), str(config), "--sentinel"]))


def _id(port: int) -> str:
    return f"{port:040x}"


def _knows_all(sentinel: Node) -> bool:
    state = sentinel.ask("INFO", "sentinel").get("master0", {})
    return bool(state.get("sentinels") == 3 and state.get("slaves") == 1 and state.get("status") == "ok")


def _in_step(replica: Node) -> bool:
    return bool(replica.ask("INFO", "replication").get("master_link_status") == "up")


def _is_primary(node: Node) -> bool:
    return bool(node.ask("ROLE")[0] == b"master")


def _named(sentinel: Node) -> int:
    return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1])
