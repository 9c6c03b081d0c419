"""A gateway, agent and tts workers and a scripted language model, for turns that begin with a text."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from faults.boundaries import Boundary
from faults.comparison import Comparison, compare_turns, outcomes
from faults.conversation import conversation
from faults.effects import Effects, effects
from faults.gateways import Gateways
from faults.model_server import CITY, SUM, ModelServer, model_server
from faults.redis_way import RedisWay, Watch, ports_of
from faults.stage_workers import StageWorker, StageWorkers, environment_of
from faults.turns import Begun, Heard, Turns
from support.processes import SECRET
from support.programs import preload

from voicebus.bus.bus import open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import Stage
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

PARTITIONS: Final = 4
QUESTION: Final = "what time is it, and what is the sum"
TOOLS: Final = {"current_time": CITY, "add": SUM}  # each tool that the model calls, and the line that it leaves
WRITES: Final[dict[Stage, int]] = {"agent": 7, "tts": 6}  # that a turn takes at least, on a machine however busy
ONCE: Final = "add"  # the tool that may not be called twice
SEGMENTS: Final = 6  # sentences of the answer
BEGUN, DONE = b'"kind":"started"', b'"kind":"finished"'  # what the journal has of a call, as written


@dataclass
class Scripted:
    """What runs, and who asks."""

    turns: Turns
    agents: StageWorkers
    speakers: StageWorkers
    gateways: Gateways
    model: ModelServer
    effects: Effects

    @property
    def pools(self) -> dict[Stage, StageWorkers]:
        """By stage."""
        return {"agent": self.agents, "tts": self.speakers}

    def worker(self, way: RedisWay) -> StageWorker:
        """The one that goes this way."""
        return next(each for pool in self.pools.values() for each in pool.running if each.way is way)

    def kill(self, way: RedisWay) -> None:
        """`kill -9` of the worker that goes this way."""
        next(pool for stage, pool in self.pools.items() if stage == way.name).kill(self.worker(way))

    async def undisturbed(self, begun: Begun | None = None) -> Heard:
        """The turn to which nothing happens; it has all that a fault could spoil."""
        heard = await self.turns.ask(QUESTION, begun=begun)
        turn = conversation(heard.events)
        assert outcomes(heard) == dict.fromkeys(TOOLS, "ok")
        assert {tool: self.effects.of(heard.session_id, tool) for tool in TOOLS} == {t: [e] for t, e in TOOLS.items()}
        assert [response["segments"] for response in turn.of("response")] == [SEGMENTS]
        assert [segment for segment, speech in turn.speech.items() if speech] == list(range(SEGMENTS))
        assert (turn.restarts, turn.repeated, turn.late) == (0, 0, 0)
        return heard

    async def compared(self, usual: Heard, heard: Heard, *, excused: bool = False) -> Comparison:
        """The turn, its history and its effects compared with those of the undisturbed one.

        Where it is excused the call that may not be made twice may have an unknown outcome.
        """
        unknown = excused and outcomes(heard).get(ONCE) == "unknown"
        found = compare_turns(usual, heard, unknown=[ONCE] if unknown else [])
        found.check("history", await self.turns.history(usual), await self.turns.history(heard))
        for tool, line in TOOLS.items():
            left = self.effects.of(heard.session_id, tool)
            if left or not (tool == ONCE and unknown):
                found.check(f"effects of {tool}", [line], left)
        return found


def in_the_call(boundary: Boundary) -> bool:
    """Whether it is between the write that begins the call that may not be made twice, and the one with its result.

    Only there nobody can know what came of it.
    """
    return (BEGUN if boundary.behind else DONE) in boundary.call and f'"{ONCE}"'.encode() in boundary.call


@asynccontextmanager
async def scripted(
    redis_url: str,
    folder: Path,
    *,
    agents: int,
    speakers: int = 1,
    watch: Watch | None = None,
    environment: Mapping[str, str] = {},
) -> AsyncIterator[Scripted]:
    """All are ready; killed at the end. `watch` sees how workers and Redis talk."""
    preload("pydantic_ai.models.openai", "pydantic_ai.providers.openai_compatible")
    settings = BusSettings(redis_url=redis_url, prefix=f"s{uuid4().hex[:8]}", partitions=PARTITIONS)
    async with model_server() as model, effects(folder) as tools, open_bus(settings) as bus:
        variables = {
            **environment_of(settings),
            "LEASE_S": "1",
            "AGENT_MODEL": "openai:scripted",
            "AGENT_BASE_URL": model.url,
            **tools.environment,
            **environment,
        }
        gateways = Gateways(redis_url, settings.prefix, 1, folder)
        agent_workers = StageWorkers("agent", ports_of(bus), folder, variables, watch)
        tts_workers = StageWorkers("tts", ports_of(bus), folder, variables, watch)
        try:
            await asyncio.gather(gateways.start(0), agent_workers.start(agents), tts_workers.start(speakers))
            token = make_token(SECRET, "alice")
            async with Voicebus(f"http://127.0.0.1:{gateways.ports[0]}", token) as voicebus:
                yield Scripted(
                    Turns(bus, voicebus, agent_workers.newest_lines), agent_workers, tts_workers, gateways, model, tools
                )
        finally:
            await agent_workers.stop()
            await tts_workers.stop()
            gateways.stop()
