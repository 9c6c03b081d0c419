"""A gateway and workers of every stage, and a client that asks them something while one of them is killed."""

import array
import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from faults.boundaries import Boundaries
from faults.effects import Effects, effects
from faults.gateways import Gateways
from faults.redis_way import RedisWay, ports_of
from faults.stage_workers import StageWorker, StageWorkers, environment_of
from faults.turns import Begun, Heard, Meanwhile, Say, Turns
from support.process_tree import alive, descendants, until
from support.processes import SECRET
from support.programs import CLOCK_OFF

from voicebus.bus.bus import open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES, Stage
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_stack.question import Question, bundled_question, load_question
from voicebus_stack.tokens import make_token

HERE = Path(__file__).parent
PARTITIONS: Final = 4
LEASE_S: Final = 2.0  # more than a busy machine stalls: who loses a lease unkilled spoils the comparison
FRAME_S: Final = 0.005  # a frame of 20 ms each so often: four times as fast as a microphone
SILENT_FRAMES: Final = 60  # behind the question; half of them end the utterance


@dataclass(frozen=True)
class Asked:
    """A spoken question, the tool that answers it, and the line that the tool leaves."""

    question: Question
    tool: str
    effect: str

    @property
    def in_words(self) -> list[int]:
        """The frames that are as loud as vowels are: each is in the middle of a word."""
        levels = [max(map(abs, array.array("h", frame)), default=0) for frame in self.question.frames]
        return [i for i, level in enumerate(levels) if level > max(levels) / 3]


def what_time() -> Asked:
    """For a tool that may be called twice."""
    return Asked(bundled_question(), "current_time", "new york")


def what_sum() -> Asked:
    """For a tool that may not."""
    both = load_question(HERE.parent / "data" / "two-requests.wav")
    second = both.samples[int(2.5 * both.sample_rate) * 2 :]
    return Asked(Question("sum", second, both.sample_rate, both.channels), "add", "23 19")


@dataclass
class Installation:
    """Asks questions, each in a session of its own, and remembers the undisturbed turns."""

    turns: Turns
    pools: Mapping[Stage, StageWorkers]
    watch: Boundaries
    tools: Effects
    gateways: Gateways
    recorded: dict[str, Heard] = field(default_factory=dict)

    def worker(self, way: RedisWay) -> StageWorker:
        """The one that goes this way."""
        return next(each for pool in self.pools.values() for each in pool.running if each.way is way)

    @asynccontextmanager
    async def keeping(self) -> AsyncIterator[None]:
        """Inside, STT workers that end are replaced."""
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(self.pools["stt"].replace())
            yield
            keeper.cancel()

    async def undisturbed(self, asked: Asked, begun: Begun | None = None) -> Heard:
        """The turn in which nobody is killed; asked the first time."""
        if asked.tool not in self.recorded:
            self.recorded[asked.tool] = await self.turns.ask(speaking(asked.question), begun=begun)
        return self.recorded[asked.tool]

    async def with_unknown_outcome(self, asked: Asked) -> Heard:
        """The turn in which the agent worker is killed for sure when the tool has had its effect and not answered."""

        async def kill(heard: Heard) -> None:
            await until(lambda: self.effects(heard, asked) == [asked.effect])
            await self.kill_owner("agent", heard)
            self.tools.release()

        name = f"{asked.tool}, unknown"
        if name not in self.recorded:
            self.tools.hold()
            try:
                self.recorded[name] = await self.turns.ask(speaking(asked.question), kill)
            finally:
                self.tools.release()
        return self.recorded[name]

    def effects(self, heard: Heard, asked: Asked) -> list[str]:
        """The lines that the turn's tool has left."""
        return self.tools.of(heard.session_id, asked.tool)

    async def kill_owner(self, stage: Stage, heard: Heard) -> None:
        """`kill -9` of the worker that has the session's stage; another one is started in its place.

        Returns when what it had started has ended, too.
        """
        pid, pool = await self.turns.owner(stage, heard.session_id), self.pools[stage]
        left = descendants(pid)
        pool.kill(pool.by_pid(pid))
        heard.at_work = bool(await self.turns.waiting(stage, heard.session_id))
        await until(lambda: not any(alive(process) for process in left))
        await pool.start()


def speaking(question: Question, *, until: int = 0, then: Meanwhile | None = None) -> Say:
    """Says the question and a little silence; the microphone stays open until it was understood.

    It stops at the frame `until`, and goes on when it has done something else.
    """

    async def say(connection: Connection, heard: Heard) -> None:
        loop = asyncio.get_running_loop()
        async with connection.audio_stream("pcm16", sample_rate=question.sample_rate) as microphone:
            began = loop.time()
            for i, frame in enumerate([*question.frames, *[bytes(question.frame_bytes)] * SILENT_FRAMES]):
                await asyncio.sleep(max(0.0, began + i * FRAME_S - loop.time()))
                if then and i == until:
                    await then(heard)
                    began = loop.time() - i * FRAME_S
                await microphone.write(frame)
            await heard.until("user", "error")

    return say


def _newest_lines(pools: Iterable[StageWorkers]) -> str:
    return "\n".join(pool.newest_lines() for pool in pools)


@asynccontextmanager
async def installation(
    redis_url: str, folder: Path, *, workers: int = 2, off_s: float = 0, environment: Mapping[str, str] = {}
) -> AsyncIterator[Installation]:
    """A gateway, and two workers of each stage: when one is killed, the other one stands by.

    Clocks are off by `off_s`: the gateway is ahead, the first worker of each stage, too, the next one is behind, and so
    on.
    """
    settings = BusSettings(redis_url=redis_url, prefix=f"f{uuid4().hex[:8]}", partitions=PARTITIONS)
    watch = Boundaries()
    async with effects(folder) as tools, open_bus(settings) as bus:
        variables = {**environment_of(settings), "LEASE_S": str(LEASE_S), **tools.environment, **environment}
        gateways = Gateways(redis_url, settings.prefix, 1, folder, **{CLOCK_OFF: str(off_s)} if off_s else {})
        pools = {stage: StageWorkers(stage, ports_of(bus), folder, variables, watch, off_s=off_s) for stage in STAGES}
        try:
            await asyncio.gather(gateways.start(0), *(pool.start(workers) for pool in pools.values()))
            token = make_token(SECRET, "alice")
            async with Voicebus(f"http://127.0.0.1:{gateways.ports[0]}", token) as voicebus:
                turns = Turns(bus, voicebus, partial(_newest_lines, pools.values()))
                yield Installation(turns, pools, watch, tools, gateways)
        finally:
            for pool in pools.values():
                await pool.stop()
            gateways.stop()
