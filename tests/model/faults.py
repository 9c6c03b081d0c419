"""The bus's way to Redis with a hand on it: a call goes out when the machine says so, and how the machine says so."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import redis.connection
from redis.crc import key_slot
from redis.exceptions import NoScriptError, ResponseError

from voicebus.bus import scripts
from voicebus.bus.calls import Calls
from voicebus.bus.lane import PartKeys
from voicebus.bus.scripts import SCRIPTS, ScriptName
from voicebus.bus.wire import Arg
from voicebus.contract.errors import BusUnavailable

# How a pipeline (all calls that one task has under way) fares. `later`: its caller is told that nothing came back, and
# it is executed at some other time. `copied`: it is executed, and once more at some other time.
Fault = Literal["none", "twice", "lost", "refused", "later", "copied", "swapped", "flushed"]
FAULTS: tuple[Fault, ...] = get_args(Fault)

PREFIX = "model"  # of all keys and channels
Message = tuple[bytes, bytes]  # channel, payload
Source = Callable[[ScriptName], str]


class Node:
    """One Redis server: a connection to command it and one that hears all that is published there."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        host, port = address.hostname or "127.0.0.1", address.port or 6379
        connect: Any = redis.connection.Connection  # redis-py leaves it untyped
        self._mouth = connect(host=host, port=port, protocol=2)
        self._ear = connect(host=host, port=port, protocol=2)
        self._ear.connect()
        self._ear.send_command("PSUBSCRIBE", f"{PREFIX}:*")
        self._ear.read_response()

    def command(self, *command: Arg) -> Any:
        """The reply as it comes over the wire."""
        self._mouth.send_command(*command)
        return self._mouth.read_response()

    def commands(self, commands: Sequence[tuple[Arg, ...]]) -> list[Any]:
        """The replies of a pipeline."""
        self._mouth.send_packed_command(self._mouth.pack_commands(commands))
        return [self._mouth.read_response() for _ in commands]

    def heard(self) -> list[Message]:
        """What was published up to now."""
        self._ear.send_command("PING")
        messages = []
        while (reply := self._ear.read_response())[0] != b"pong":
            messages.append((reply[2], reply[3]))
        return messages

    def close(self) -> None:
        """Closes both connections."""
        self._mouth.disconnect()
        self._ear.disconnect()


class Servers:
    """The Redis servers under test, with a clock of their own that the scripts go by, and a count of scripts run."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.nodes = [Node(url) for url in urls]
        self.now_ms = 0
        self.steps = 0
        self._slots: list[tuple[int, int, Node]] = []
        self.use(scripts.source)
        if len(self.nodes) > 1:
            by_port = {self._port(node): node for node in self.nodes}
            for first, last, primary, *_ in self.nodes[0].command("CLUSTER", "SLOTS"):
                self._slots.append((first, last, by_port[primary[1]]))

    def use(self, source: Source) -> None:
        """Runs the scripts with these texts."""
        self._source = source
        self._sha = cache(lambda name: hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest())

    @staticmethod
    def _port(node: Node) -> int:
        return int(node.command("CONFIG", "GET", "port")[1])

    def node_of(self, key: str) -> Node:
        """The server that holds this key."""
        if not self._slots:
            return self.nodes[0]
        slot = key_slot(key.encode())
        return next(node for first, last, node in self._slots if first <= slot <= last)

    def script(self, name: ScriptName, keys: Sequence[str], args: Sequence[Arg]) -> Any:
        """Runs a script at the time of this clock."""
        node = self.node_of(keys[0])
        call: tuple[Arg, ...] = ("EVALSHA", self._sha(name), len(keys), *keys, args[0], self.now_ms, *args[2:])
        self.steps += 1
        try:
            return node.command(*call)
        except NoScriptError:
            node.commands([("SCRIPT", "LOAD", self._source(each)) for each in SCRIPTS])
            return node.command(*call)

    def forget_scripts(self) -> None:
        """Flushes the script caches."""
        for node in self.nodes:
            node.command("SCRIPT", "FLUSH")

    def heard(self, key: str) -> list[Message]:
        """What was published since the last look on the server that holds this key.

        A cluster carries messages to its other servers, too, some time later: there they don't count.
        """
        node = self.node_of(key)
        return [message for message in node.heard() if self.node_of(message[0].decode()) is node]

    def wipe(self, now_ms: int) -> None:
        """Starts anew, at this time."""
        for node in self.nodes:
            node.command("FLUSHALL")
            node.heard()
        self.now_ms = now_ms

    def close(self) -> None:
        """Closes the connections."""
        for node in self.nodes:
            node.close()


@dataclass(eq=False, slots=True)
class Call:
    """A script, a command, or (neither) a pause that ends when the machine says so."""

    lane: object  # the task that makes it: its calls go out in order
    future: asyncio.Future[Any]
    script: ScriptName | None = None
    keys: Sequence[str] = ()
    args: tuple[Arg, ...] = ()
    is_part: bool = False  # of a script that replies with a list


class Network:
    """What lies between the processes and Redis: executes calls, and keeps copies that arrive late."""

    def __init__(self, servers: Servers, seen: Callable[[Call, Any], None]) -> None:
        self.servers = servers
        self.late: list[Call] = []
        self._seen = seen  # gets each script that was executed, with its reply

    def execute(self, call: Call) -> Any:
        """The call's reply."""
        if call.script:
            try:
                reply = self.servers.script(call.script, call.keys, call.args)
            except ResponseError as error:
                raise AssertionError(f"the script {call.script} failed: {error}") from error
            if call.is_part:
                (reply,) = reply
            self._seen(call, reply)
            return reply
        if not call.args:
            return None
        if call.args[0] == "TIME":
            now = self.servers.now_ms
            return [now // 1000, now % 1000 * 1000]
        return self.servers.node_of(str(call.args[1])).command(*call.args)

    def execute_late(self, pick: int) -> None:
        """Executes one of the late copies; nobody waits for its reply."""
        self.execute(self.late.pop(pick % len(self.late)))


class FaultyCalls(Calls):
    """Stands where `Calls` does. What is asked for waits until `serve` executes it."""

    def __init__(self, network: Network) -> None:  # no link: it has no connection of its own
        self._network = network
        self._pending: list[Call] = []
        self._dead = False

    def start_script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> asyncio.Future[Any]:
        """As `Calls.start_script`."""
        return self._start(name, keys, args)

    def start_part(
        self, name: ScriptName, head: tuple[Arg, ...], keys: PartKeys, arguments: Sequence[Arg]
    ) -> asyncio.Future[Any]:
        """As `Calls.start_part`; it travels alone."""
        return self._start(name, keys.names, (*head, *arguments), is_part=True)

    def start(self, *command: Arg) -> asyncio.Future[Any]:
        """As `Calls.start`."""
        return self._start(None, (), command)

    def pause(self) -> asyncio.Future[Any]:
        """A moment in which anything may happen."""
        return self._start(None, (), ())

    def _start(
        self, script: ScriptName | None, keys: Sequence[str], args: tuple[Arg, ...], *, is_part: bool = False
    ) -> asyncio.Future[Any]:
        future = asyncio.get_running_loop().create_future()
        call = Call(asyncio.current_task(), future, script, keys, args, is_part)
        if self._dead:
            call.future.cancel()
        else:
            self._pending.append(call)
        return call.future

    def lanes(self) -> list[object]:
        """The tasks that wait for a reply."""
        return list(dict.fromkeys(call.lane for call in self._pending))

    def pauses(self, lane: object) -> bool:
        """Whether a task waits for nothing but its time."""
        return next(not call.args for call in self._pending if call.lane is lane)

    def under_way(self, lane: object) -> int:
        """How many calls a task has in its pipeline."""
        return sum(call.lane is lane for call in self._pending)

    def serve(self, lane: object, fault: Fault = "none") -> None:
        """Executes the lane's next call; if something befalls it, the lane's whole pipeline."""
        execute = self._network.execute
        pipeline = [call for call in self._pending if call.lane is lane]
        if fault == "none" or not pipeline[0].args:
            self._settle(pipeline[0], execute(pipeline[0]))
            return
        if fault == "flushed":
            self._network.servers.forget_scripts()
        if fault in ("later", "copied"):
            self._network.late += [call for call in pipeline if call.script]
        replies: list[Any] = []
        if fault == "swapped":
            replies = [execute(call) for call in reversed(pipeline)][::-1]
        elif fault not in ("refused", "later"):
            replies = [execute(call) for call in pipeline]
        if fault == "twice":
            replies = [execute(call) for call in pipeline]
        if fault in ("lost", "refused", "later"):
            replies = [BusUnavailable("The test cut the connection.")] * len(pipeline)
        for call, reply in zip(pipeline, replies, strict=True):
            self._settle(call, reply)

    def crash(self) -> None:
        """The process is gone: nothing more goes out, and nobody hears what comes back."""
        self._dead = True
        pending, self._pending = self._pending, []
        for call in pending:
            call.future.cancel()

    def _settle(self, call: Call, reply: Any) -> None:
        self._pending.remove(call)
        if call.future.done():
            return
        if isinstance(reply, Exception):
            call.future.set_exception(reply)
        else:
            call.future.set_result(reply)
