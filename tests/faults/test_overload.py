"""Three times as much as the agent can answer: it is refused at the door, and what was accepted is answered in time."""

import asyncio
import json
import math
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import pytest
from faults.crowd import OWNER, QUICK
from faults.gateways import running_gateways
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.served import served
from faults.tally import Tally
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route
from support.processes import SECRET, WorkerPool
from support.programs import preload

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_stack.tokens import make_token

THINKS_S, AT_ONCE, SECONDS = (5.0, 20, 60) if FULL else (2.0, 8, 6)
CAPACITY: Final = AT_ONCE / THINKS_S  # answers a second
TIMES: Final = 3
BUDGET_S: Final = 0.3 if FULL else 0.05
# Gateways look once a second how long mail has waited. Until then comes what takes another two seconds to answer: much
# beside the answers of the small version, little beside those of a real model.
IN_TIME: Final = 2  # times what is normal
LOOKS_S: Final = 0 if FULL else 3
RECOVERS_S: Final = 5
_CLIENTS: Final = round(TIMES * CAPACITY * IN_TIME * (THINKS_S + LOOKS_S))  # somebody is always free to ask
_PROBES_S: Final = 0.25


@dataclass
class Asking:
    """All questions, each of which is a number, and what became of them."""

    accepted: list[int] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    refused: list[VoicebusError] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)  # of those that were accepted
    in_time_s: float = math.inf  # the most that an answer may take
    count: int = 0

    async def ask(self, connection: Connection) -> float | None:
        """One question, up to its answer; returns how long that took, or None if it was refused."""
        loop = asyncio.get_running_loop()
        number, began_s = self.count, loop.time()
        self.count += 1
        try:
            await connection.send_text(str(number))
        except VoicebusError as error:
            self.refused.append(error)
            return None
        self.accepted.append(number)
        async for event in connection:
            if event.type == "response":
                self.answered.append(int(event.data["content"]))
                if self.answered[-1] == number:
                    break
        self.took_s.append(loop.time() - began_s)
        return self.took_s[-1]

    @property
    def tally(self) -> Tally:
        """Answers of what was accepted, in any order; an answer to what was refused, or a late one, is misplaced."""
        found = Tally.of(sorted(self.accepted), sorted(self.answered))
        return found + Tally(misplaced=sum(took_s > self.in_time_s for took_s in self.took_s))


async def answer(request: Request) -> StreamingResponse:
    """A language model that takes its time, and says what it was told."""
    told = (await request.json())["messages"][-1]["content"]
    await asyncio.sleep(THINKS_S)
    return StreamingResponse(_chunks(told), media_type="text/event-stream")


async def _chunks(text: str) -> AsyncIterator[str]:
    for delta, reason in (({"role": "assistant", "content": text}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "slow", "choices": [choice]}
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


@asynccontextmanager
async def clients(bus: BusSettings, folder: Path) -> AsyncIterator[asyncio.Queue[Connection]]:
    """Connections to sessions of their own, at a gateway with one agent worker behind it."""
    preload("pydantic_ai.models.openai", "pydantic_ai.providers.openai_compatible")
    async with AsyncExitStack() as stack:
        model = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
        pool = WorkerPool(
            "agent_worker",
            1,
            folder,
            REDIS_URL=bus.redis_url,
            REDIS_PREFIX=bus.prefix,
            PARTITIONS=str(bus.partitions),
            AGENT_MODEL="openai:slow",
            AGENT_BASE_URL=f"http://127.0.0.1:{await stack.enter_async_context(served(model))}/v1",
            AGENT_SESSIONS=str(AT_ONCE),
            MCP_CONFIG=_no_tools(folder),
        )
        stack.callback(pool.stop)
        pool.start()
        limits = {"BUDGET_AGENT_S": str(BUDGET_S)}
        gateways = await stack.enter_async_context(running_gateways(bus.redis_url, bus.prefix, 1, folder, **limits))
        await asyncio.to_thread(pool.wait_ready)
        url = f"http://127.0.0.1:{gateways.ports[0]}"
        voicebus = await stack.enter_async_context(Voicebus(url, make_token(SECRET, OWNER), options=QUICK))
        free: asyncio.Queue[Connection] = asyncio.Queue()
        for session in await asyncio.gather(*(voicebus.create_session(mode="text") for _ in range(_CLIENTS))):
            free.put_nowait(await stack.enter_async_context(voicebus.connect(session.session_id)))
        yield free


def _no_tools(folder: Path) -> str:
    path = folder / "mcp.json"
    path.write_text('{"mcpServers": {}}')
    return str(path)


@takes_long
@pytest.mark.timeout(180)
async def test_what_is_too_much_is_refused_and_what_is_accepted_is_answered_in_time(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    loop, asking = asyncio.get_running_loop(), Asking()

    async def ask_once(connection: Connection) -> None:
        await asking.ask(connection)
        free.put_nowait(connection)

    async with clients(bus_settings, tmp_path) as free:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(ask_once(await free.get()))
        usual_s, normal = median(asking.took_s), asking.count
        asking.in_time_s = IN_TIME * usual_s + LOOKS_S
        async with asyncio.TaskGroup() as tasks:
            began_s = due_s = loop.time()
            while (due_s := due_s + chance.uniform(0.5, 1.5) / (TIMES * CAPACITY)) < began_s + SECONDS:
                await asyncio.sleep(due_s - loop.time())
                tasks.create_task(ask_once(await free.get()))
            load = (asking.count - normal) / (loop.time() - began_s) / CAPACITY  # in capacities
            recovered = tasks.create_task(_recovery_s(asking, free, usual_s))
    record(
        Outcome(
            "three times the capacity",
            f"{TIMES * CAPACITY:g} questions/s for {SECONDS:g} s, {AT_ONCE} answered at a time in {THINKS_S:g} s, "
            f"BUDGET_AGENT_S={BUDGET_S:g}",
            f"{asking.count} questions, {len(asking.refused)} refused",
            asking.tally,
            recovered.result(),
            f"{load:.1f} times the capacity, {len(asking.accepted)} accepted; "
            f"normal {usual_s:.2f} s, slowest accepted {max(asking.took_s):.2f} s",
        )
    )
    assert load > 0.8 * TIMES
    assert {error.code for error in asking.refused} == {"overloaded"}
    assert all(error.temporary and (error.retry_after_ms or 0) >= 1_000 for error in asking.refused)
    assert len(asking.refused) > asking.count / TIMES
    assert len(asking.accepted) > CAPACITY * SECONDS * 0.7
    assert recovered.result() < RECOVERS_S


async def _recovery_s(asking: Asking, free: asyncio.Queue[Connection], usual_s: float) -> float:
    """How long it takes until a question is accepted that is answered as fast as ever."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while True:
        asked_s = loop.time()
        took_s = await asking.ask(connection := await free.get())
        free.put_nowait(connection)
        if took_s is not None and took_s < 1.5 * usual_s:
            return asked_s - began_s
        await asyncio.sleep(_PROBES_S)
