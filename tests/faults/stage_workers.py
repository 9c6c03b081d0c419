"""Workers of one stage, each with a way to Redis of its own, that can be killed, stopped, told to go and replaced."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from faults.redis_way import RedisWay, Watch, redis_way
from support.programs import CLOCK_OFF, Program

from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import Stage
from voicebus_stack.ports import free_port

_READY_S = 60


@dataclass(frozen=True)
class StageWorker:
    """A process, and how it goes to Redis."""

    program: Program
    way: RedisWay
    health_port: int
    log: Path

    async def ready(self) -> None:
        """Returns when it works, or has ended."""
        while self.program.poll() is None:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.health_port)
                writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
                status = await reader.readline()
                writer.close()
                if status.split()[1:2] == [b"200"]:
                    return
            await asyncio.sleep(0.02)

    def halt(self) -> None:
        """SIGSTOP: it does nothing more and knows nothing of it."""
        self.program.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self.program.send_signal(signal.SIGCONT)

    def metric(self, line: str) -> float:
        """The value of the line that begins so in its `/metrics`; 0 if there is none."""
        with urlopen(f"http://127.0.0.1:{self.health_port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return sum(float(each.rpartition(" ")[2]) for each in lines if each.startswith(line))


def environment_of(settings: BusSettings) -> dict[str, str]:
    """What workers have to be told to find the bus, but for the server."""
    return {
        "REDIS_PREFIX": settings.prefix,
        "PARTITIONS": str(settings.partitions),
        "ATTEMPTS_MAX": "10",  # a lease that is lost on a busy machine counts as one
    }


class StageWorkers:
    """Any number of them. Their logs go to `<stage>-N.log` in the folder."""

    def __init__(
        self,
        stage: Stage,
        ports: Sequence[int],
        folder: Path,
        environment: Mapping[str, str],
        watch: Watch | None = None,
        *,
        off_s: float = 0,
    ) -> None:
        self.running: list[StageWorker] = []
        self._stage = stage
        self._ports = ports
        self._folder = folder
        self._environment = environment
        self._watch = watch
        self._off_s = off_s  # by how much the clocks are ahead of every other worker, and behind of the rest
        self._ways = AsyncExitStack()
        self._taken: list[RedisWay] = []  # by all that were started
        self.started = 0  # so far

    @property
    def refused(self) -> int:
        """Calls that Redis refused, since another worker had the session: of all of them, so far."""
        return sum(way.refused for way in self._taken)

    async def start(self, count: int = 1) -> None:
        """Starts so many more, and returns when they are ready.

        Raises:
            TimeoutError: some were not within a minute.
        """
        started = [await self._start() for _ in range(count)]
        async with asyncio.timeout(_READY_S):
            for each in started:
                await each.ready()

    async def _start(self) -> StageWorker:
        self.started += 1
        way = await self._ways.enter_async_context(redis_way(self._stage, self._ports, self._watch))
        self._taken.append(way)
        port, log = free_port(), self._folder / f"{self._stage}-{self.started}.log"
        own = {"REDIS_URL": way.url, "HEALTH_PORT": str(port), "LOG_FORMAT": "json"}
        if self._off_s:
            own[CLOCK_OFF] = str(self._off_s if self.started % 2 else -self._off_s)
        program = Program(f"{self._stage}_worker", os.environ | self._environment | own, log)
        self.running.append(worker := StageWorker(program, way, port, log))  # it may be at work before it says so
        return worker

    def by_pid(self, pid: int) -> StageWorker:
        """The one with this process id."""
        return next(each for each in self.running if each.program.pid == pid)

    def kill(self, worker: StageWorker) -> None:
        """`kill -9`."""
        self.running.remove(worker)
        worker.program.kill()

    async def replace(self) -> None:
        """As whoever runs them in production does: each that has ended is followed by a new one, until cancelled."""
        while True:
            ended = [each for each in self.running if each.program.poll() is not None]
            self.running = [each for each in self.running if each not in ended]
            await self.start(len(ended))
            await asyncio.sleep(0.05)

    def newest_lines(self) -> str:
        """The end of each one's log."""
        logs = sorted(self._folder.glob(f"{self._stage}-*.log"), key=lambda log: log.stat().st_mtime)
        return "\n".join(f"{log.name}: {log.read_text()[-4000:]}" for log in logs[-3:])

    async def stop(self) -> None:
        """Kills all."""
        while self.running:
            self.kill(self.running[0])
        await self._ways.aclose()
