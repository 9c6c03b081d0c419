"""Services as processes of their own, as they run in production."""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.process_tree import descendants
from support.programs import Program
from voicebus.bus.settings import BusSettings
from voicebus_stack.ports import free_port
from voicebus_stack.ready import wait_until_ready
from voicebus_stack.tokens import make_token

SECRET = "a-secret-of-the-tests"
# Tests ask more of a gateway than users do; those of the limits set their own.
GENEROUS = {
    "messages_per_session": 100_000,
    "messages_per_user": 100_000,
    "audio_s_per_session": 36_000,
    "audio_s_per_user": 36_000,
    "attempts_per_address": 100_000,
    "connections_per_user": 10_000,
    "sessions_per_user": 100_000,
    "budget_stt_s": 3_600,
    "budget_agent_s": 3_600,
    "budget_tts_s": 3_600,
}


@dataclass(frozen=True)
class RunningGateway:
    """A gateway process."""

    port: int
    process: Program | subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """For REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """For WebSockets."""
        return f"ws://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Service:
    """`python -m module` with this environment; `/readyz` on the port says when it is ready."""

    module: str
    port: int
    environment: dict[str, str]


@contextmanager
def services(*wanted: Service) -> Iterator[list[Program]]:
    """Starts them side by side and yields when all are ready; told to stop together at the end.

    Raises:
        TimeoutError: some were not ready within 60 s.
        subprocess.TimeoutExpired: one did not stop within 20 s.
    """
    with ExitStack() as stack:
        running: list[Program] = []
        try:
            for each in wanted:
                running.append(Program(each.module, os.environ | each.environment))
                stack.callback(_wait_or_kill, running[-1])
            wait_until_ready([each.port for each in wanted], timeout_s=60)
            yield running
        finally:
            for process in running:
                process.terminate()


def _wait_or_kill(process: Program) -> None:
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@contextmanager
def service(module: str, port: int, **environment: str) -> Iterator[Program]:
    """`python -m module`, ready; stopped at the end."""
    with services(Service(module, port, environment)) as (process,):
        yield process


@asynccontextmanager
async def worker_process(module: str, bus: BusSettings, **environment: str) -> AsyncIterator[Process]:
    """`python -m module` on the test's own keys, as soon as it runs; its log is JSON in `stderr`. Killed at the end."""
    variables = {
        "REDIS_URL": bus.redis_url,
        "REDIS_PREFIX": bus.prefix,
        "PARTITIONS": str(bus.partitions),
        "LEASE_S": str(bus.lease_ms / 1000),
        "LOG_FORMAT": "json",
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=os.environ | variables, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def gateway_service(redis_url: str, prefix: str, **environment: str) -> Service:
    """A gateway on a free port."""
    port = free_port()
    variables = {
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": prefix,
        "PARTITIONS": "4",
        "API_PORT": str(port),
        "JWT_SECRET": SECRET,
        "JWT_LEEWAY_S": "0",
        "AGENTS": "personal,family",
        "DRAIN_S": "1",
        **{name.upper(): str(most) for name, most in GENEROUS.items()},
    }
    return Service("gateway", port, variables | environment)


@contextmanager
def gateway_process(redis_url: str, prefix: str, **environment: str) -> Iterator[RunningGateway]:
    """A gateway on a free port, ready; stopped at the end."""
    wanted = gateway_service(redis_url, prefix, **environment)
    with services(wanted) as (process,):
        yield RunningGateway(wanted.port, process)


def bearer_of(sub: str) -> dict[str, str]:
    """The header with a token of this user."""
    return {"Authorization": f"Bearer {make_token(SECRET, sub)}"}


class WorkerPool:
    """`count` processes `python -m module` that serve the same stage; each that is killed is followed by a new one.

    Their logs go to files in `folder`.
    """

    def __init__(self, module: str, count: int, folder: Path, **environment: str) -> None:
        self._module = module
        self._count = count
        self._folder = folder
        self._environment = environment
        self._running: dict[int, tuple[Program, int]] = {}  # by process id, with the health port
        self._started = 0

    def start(self) -> None:
        """Starts what is missing; `wait_ready` waits for it."""
        while len(self._running) < self._count:
            port = free_port()
            self._started += 1
            variables = self._environment | {"HEALTH_PORT": str(port), "LOG_FORMAT": "json"}
            log = self._folder / f"{self._module}-{self._started}.log"
            process = Program(self._module, os.environ | variables, log)
            self._running[process.pid] = process, port

    def wait_ready(self) -> None:
        """Returns when all are ready.

        Raises:
            TimeoutError: some were not within 60 s.
        """
        wait_until_ready([port for _, port in self._running.values()], timeout_s=60)

    def kill(self, pid: int) -> list[int]:
        """`kill -9` of one of them; returns the processes that it has left behind, which are to end by themselves."""
        process, _ = self._running.pop(pid)
        below = descendants(pid)
        process.kill()
        process.wait(10)
        return below

    def newest_lines(self) -> str:
        """The end of each one's log."""
        logs = sorted(self._folder.glob(f"{self._module}-*.log"), key=lambda log: log.stat().st_mtime)
        return "\n".join(f"{log.name}: {log.read_text()[-4000:]}" for log in logs[-3:])

    def stop(self) -> None:
        """Kills all."""
        for process, _ in self._running.values():
            process.kill()
            process.wait(10)
        self._running.clear()
