"""A gateway and workers of every stage, and a client that asks them something while one of them is killed."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.process_tree import alive, until
from support.processes import RunningGateway, WorkerPool, bearer_of, gateway_process

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES, Stage
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.events import Event
from voicebus_client.position import Position
from voicebus_stack.question import Question, bundled_question, load_question

HERE = Path(__file__).parent
PREFIX: Final = "faults"
PARTITIONS: Final = 4
LEASE_S: Final = 2.0  # more than a busy machine stalls: who loses a lease unkilled spoils the comparison
PATIENCE_S: Final = 40.0  # for a whole turn
FRAME_S: Final = 0.005  # a frame of 20 ms each so often: four times as fast as a microphone
SILENT_FRAMES: Final = 60  # behind the question; half of them end the utterance


@dataclass(frozen=True)
class Asked:
    """A spoken question, the tool that answers it, and the line that the tool leaves."""

    question: Question
    tool: str
    effect: str


def what_time() -> Asked:
    """For a tool that may be called twice."""
    return Asked(bundled_question(), "current_time", "new york")


def what_sum() -> Asked:
    """For a tool that may not."""
    both = load_question(HERE.parent / "data" / "two-requests.wav")
    second = both.samples[int(2.5 * both.sample_rate) * 2 :]
    return Asked(Question("sum", second, both.sample_rate, both.channels), "add", "23 19")


@dataclass
class Heard:
    """What came to the client in one turn."""

    session_id: str
    began_s: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    at_work: bool = False  # the worker that was killed had not done with its mail
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, event: Event) -> None:
        """The next event."""
        self.events.append(event)
        self._news.set()

    async def until(self, *kinds: str) -> None:
        """Waits for an event of one of these types."""
        while not any(event.type in kinds for event in self.events):
            self._news.clear()
            await self._news.wait()

    def first_s(self, kind: str) -> float:
        """When the first event of a type came, in seconds since the turn began."""
        return next(event.received_s for event in self.events if event.type == kind) - self.began_s

    def last_s(self, kind: str) -> float:
        """When the last one came."""
        return next(event.received_s for event in reversed(self.events) if event.type == kind) - self.began_s

    def span_s(self, stage: Stage) -> float:
        """How long the stage worked at it."""
        if stage == "stt":
            return self.last_s("stt")
        first, last = ("user", "response") if stage == "agent" else ("token", "tts")
        return self.last_s(last) - self.first_s(first)


Meanwhile = Callable[[Heard], Coroutine[Any, Any, None]]


@dataclass
class Processes:
    """What runs, for as many tests as there are, and the undisturbed turns that were recorded with it."""

    gateway: RunningGateway
    pools: dict[Stage, WorkerPool]
    folder: Path  # of the tools' effects
    redis_url: str
    recorded: dict[str, Heard] = field(default_factory=dict)


class Installation:
    """Asks questions, each in a session of its own."""

    def __init__(self, processes: Processes, bus: Bus, voicebus: Voicebus) -> None:
        self._bus = bus
        self._voicebus = voicebus
        self._pools = processes.pools
        self._folder = processes.folder
        self._recorded = processes.recorded

    async def undisturbed(self, asked: Asked) -> Heard:
        """The turn in which nobody is killed."""
        if asked.tool not in self._recorded:
            self._recorded[asked.tool] = await self._ask(asked)
        return self._recorded[asked.tool]

    async def with_unknown_outcome(self, asked: Asked) -> Heard:
        """The turn in which the agent worker is killed for sure when the tool has had its effect and not answered."""

        async def kill(heard: Heard) -> None:
            await until(lambda: self.effects(heard, asked) == [asked.effect])
            await self._kill_owner("agent", heard)
            hold.unlink()

        name, hold = f"{asked.tool}, unknown", self._folder / "hold"
        if name not in self._recorded:
            await self._have_spare("agent")
            hold.touch()
            try:
                self._recorded[name] = await self._ask(asked, kill)
            finally:
                hold.unlink(missing_ok=True)
        return self._recorded[name]

    async def with_a_kill(self, asked: Asked, stage: Stage, fraction: float, *, replaced: bool) -> Heard:
        """The turn in which the stage's worker that has the session is killed, and another one goes on.

        That is when this fraction of the time has passed which the stage's part takes in an undisturbed turn. If the
        killed one is not to be replaced now, the next kill waits for that.
        """
        await self._have_spare(stage)
        span_s = (await self.undisturbed(asked)).span_s(stage)

        async def kill(heard: Heard) -> None:
            if stage != "stt":
                await heard.until("user" if stage == "agent" else "token")
            await asyncio.sleep(fraction * span_s)
            await self._kill_owner(stage, heard)
            if replaced:
                self._pools[stage].start()

        return await self._ask(asked, kill)

    def effects(self, heard: Heard, asked: Asked) -> list[str]:
        """The lines that the turn's tool has left."""
        path = self._folder / f"{heard.session_id}.{asked.tool}"
        return path.read_text().splitlines() if path.exists() else []

    async def history(self, heard: Heard) -> list[tuple[str, str]]:
        """The conversation as the session shows it: who said what."""
        session = await self._voicebus.session(heard.session_id)
        return [(message.role, message.content) for message in session.history]

    async def _ask(self, asked: Asked, meanwhile: Meanwhile | None = None) -> Heard:
        """Speaks the question, and listens until the answer was heard to its end."""
        session = await self._voicebus.create_session()
        heard = Heard(session.session_id)
        try:
            async with (
                asyncio.timeout(PATIENCE_S),
                self._voicebus.connect(session.session_id, position=Position.BEGINNING) as connection,
                asyncio.TaskGroup() as tasks,
            ):
                heard.began_s = time.monotonic()
                tasks.create_task(_speak(connection, asked.question, heard))
                tasks.create_task(self._listen(connection, heard))
                if meanwhile is not None:
                    tasks.create_task(meanwhile(heard))
        except TimeoutError as error:
            raise AssertionError(await self._what_came(heard)) from error
        return heard

    async def _listen(self, connection: Connection, heard: Heard) -> None:
        async for event in connection:
            heard.take(event)
            if event.type in ("response", "error", "tts") and await self._over(heard):
                return

    async def _over(self, heard: Heard) -> bool:
        """Whether the turn was answered, all of it spoken, and that has come."""
        if not any(event.type in ("response", "error") for event in heard.events):
            return False
        k = self._bus.keys.of(heard.session_id)
        if await self._bus.calls.command("XLEN", k.mail("tts")):
            return False
        newest = await self._bus.calls.command("XREVRANGE", k.speech, "+", "-", "COUNT", 1)
        spoken_to = max((event.data["n"] for event in heard.events if event.type == "tts"), default=0)
        return not newest or spoken_to >= int(newest[0][0].partition(b"-")[0])

    async def _what_came(self, heard: Heard) -> str:
        """For the message of a turn that did not end: the events, what the bus holds of the session, and the logs."""
        k = self._bus.keys.of(heard.session_id)
        waiting = {stage: await self._bus.calls.command("XLEN", k.mail(stage)) for stage in STAGES}
        return "\n".join(
            [
                f"the turn did not end; there came {[event.type for event in heard.events if event.type != 'tts']}",
                f"mail: {waiting}",
                f"session: {await self._bus.calls.command('HGETALL', k.session)}",
                *(pool.newest_lines() for pool in self._pools.values()),
            ]
        )

    async def _kill_owner(self, stage: Stage, heard: Heard) -> None:
        k = self._bus.keys.of(heard.session_id)
        async with asyncio.timeout(10):
            while (owner := await self._bus.calls.command("HGET", k.session, f"{stage}.owner")) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)  # Redis tells nobody
        left = self._pools[stage].kill(int(owner.rpartition(b"-")[2]))
        heard.at_work = bool(await self._bus.calls.command("XLEN", k.mail(stage)))
        await until(lambda: not any(alive(process) for process in left))

    async def _have_spare(self, stage: Stage) -> None:
        pool = self._pools[stage]
        pool.start()
        await asyncio.to_thread(pool.wait_ready)


async def _speak(connection: Connection, question: Question, heard: Heard) -> None:
    """The question and a little silence; the microphone stays open until it was understood."""
    loop = asyncio.get_running_loop()
    async with connection.audio_stream("pcm16", sample_rate=question.sample_rate) as microphone:
        began = loop.time()
        for i, frame in enumerate([*question.frames, *[bytes(question.frame_bytes)] * SILENT_FRAMES]):
            await asyncio.sleep(max(0.0, began + i * FRAME_S - loop.time()))
            await microphone.write(frame)
        await heard.until("user", "error")


@contextmanager
def running_processes(redis_url: str, folder: Path) -> Iterator[Processes]:
    """A gateway, and two workers of each stage: when one is killed, the other one stands by."""
    effects = folder / "effects"
    effects.mkdir()
    server = {"command": sys.executable, "args": [str(HERE / "effects_server.py"), str(effects)]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"effects": server}}))
    environment = {
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": PREFIX,
        "PARTITIONS": str(PARTITIONS),
        "LEASE_S": str(LEASE_S),
        "MCP_CONFIG": str(folder / "mcp.json"),
        "AGENT_TOOLS_READY_S": "60",  # on a busy machine too
    }
    pools: dict[Stage, WorkerPool] = {
        stage: WorkerPool(f"{stage}_worker", 2, folder, **environment) for stage in STAGES
    }
    try:
        for pool in pools.values():
            pool.start()
        with gateway_process(redis_url, PREFIX) as gateway:
            for pool in pools.values():
                pool.wait_ready()
            yield Processes(gateway, pools, effects, redis_url)
    finally:
        for pool in pools.values():
            pool.stop()


@asynccontextmanager
async def installation(processes: Processes) -> AsyncGenerator[Installation]:
    """The processes as one test talks to them."""
    settings = BusSettings(redis_url=processes.redis_url, prefix=PREFIX, partitions=PARTITIONS)
    token = bearer_of("alice")["Authorization"].removeprefix("Bearer ")
    async with open_bus(settings) as bus, Voicebus(processes.gateway.url, token) as voicebus:
        yield Installation(processes, bus, voicebus)
