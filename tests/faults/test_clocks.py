"""Clocks of gateways and workers that are minutes apart: nobody but the holder of a token can tell."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import pytest
import time_machine
from faults.comparison import Comparison, compare_turns
from faults.conversation import conversation
from faults.crowd import OWNER, QUICK
from faults.effects_server import lines, make_server
from faults.gateways import Gateways, running_gateways
from faults.installation import Installation, installation, speaking, what_time
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.served import served
from faults.stage_workers import environment_of
from faults.tally import Tally, total
from faults.turns import Heard
from support.process_tree import alive, until
from support.processes import SECRET, WorkerPool
from support.programs import CLOCK_OFF

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import Stage
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.position import Position
from voicebus_stack.tokens import make_token

OFF_S: Final = 300
CITIES: Final = ("oslo", "paris", "rome", "madrid", "berlin", "tokyo", "london", "vienna", "cairo", "lima")
ROUNDS, SESSIONS, QUESTIONS = (8, 10, 5) if FULL else (1, 3, 2)  # in each round a worker is killed
TTL_S: Final = 240  # shorter than the clocks are apart
KILLED: Final[dict[Stage, str]] = {"stt": "stt", "tts": "tts"}  # on what sign
SPOKEN_ROUNDS: Final = 2 if FULL else 1
READERS: Final = 4  # of each session
PATIENCE_S: Final = 40 if FULL else 20


@dataclass
class Talk:
    """A session: one client asks at the gateway that is ahead, another one allows the calls at the one behind."""

    session_id: str
    answered: list[str] = field(default_factory=list)
    seen: list[list[int]] = field(default_factory=list)  # the numbers of the events that each client got
    longest_s: float = 0.0

    async def ask(self, connection: Connection) -> None:
        """Asks one question after the other, and waits for each one's answer."""
        seen: list[int] = []
        self.seen.append(seen)
        for city in CITIES[:QUESTIONS]:
            began_s = asyncio.get_running_loop().time()
            await connection.send_text(f"what time is it in {city}")
            async for event in connection:
                if event.seq is not None:
                    seen.append(event.seq)
                if event.type in {"response", "error"}:
                    content = str(event.data.get("content", event.data))
                    self.answered.append(next((each for each in CITIES if each.title() in content), content))
                    break
            self.longest_s = max(self.longest_s, asyncio.get_running_loop().time() - began_s)

    async def allow(self, connection: Connection, all_asked: asyncio.Barrier) -> None:
        """Allows every call that it is asked about; the first one when all sessions were asked about one."""
        asked, answered, seen = False, 0, list[int]()
        self.seen.append(seen)
        async for event in connection:
            if event.seq is not None:
                seen.append(event.seq)
            if event.type == "tool_approval_request":
                if not asked:
                    asked = True
                    await all_asked.wait()  # so both workers have some, on a busy machine too
                connection.approve_tool(event.data["tool_call_id"])
            answered += event.type in {"response", "error"}
            if answered == QUESTIONS:
                return

    async def read(self, connection: Connection) -> None:
        """Gets all of it once more, from the log."""
        seen: list[int] = []
        self.seen.append(seen)
        async for event in connection:
            if event.seq is not None:
                seen.append(event.seq)
            if len(seen) == len(self.seen[0]):
                return

    async def tally(self, bus: Bus, folder: Path) -> Tally:
        """Answers and effects of all questions, and what each client saw of the log."""
        asked = CITIES[:QUESTIONS]  # what nobody came to ask has no answer
        numbers = range(1, (await bus.sessions.get(self.session_id)).position.seq + 1)
        effects = lines(folder / f"{self.session_id}.current_time")
        return total(
            [
                Tally.of(asked, self.answered),
                Tally.of(asked, effects),
                *(Tally.of(numbers, seen) for seen in self.seen),
                *(Tally.of(numbers, []) for _ in range(READERS - len(self.seen))),  # that never were connected
            ]
        )


@asynccontextmanager
async def running(bus: BusSettings, folder: Path, mcp: Path) -> AsyncIterator[tuple[list[Gateways], list[WorkerPool]]]:
    """A gateway and an agent worker whose clocks are ahead, and one of each whose clocks are behind."""
    variables = {
        **environment_of(bus),
        "AGENT_SESSIONS": str(max(SESSIONS * 2 // 3, 1)),  # so that both have some
        "REDIS_URL": bus.redis_url,
        "LEASE_S": "1",
        "MCP_CONFIG": str(mcp),
        "AGENT_TOOLS_READY_S": "60",  # on a busy machine too
        "AGENT_APPROVAL_TIMEOUT_S": str(TTL_S),
    }
    gateways, pools = [], []
    for off_s in (OFF_S, -OFF_S):
        (home := folder / f"clock{off_s:+}").mkdir()
        clock = {CLOCK_OFF: str(off_s)}
        gateways.append(Gateways(bus.redis_url, bus.prefix, 1, home, **clock))
        pools.append(WorkerPool("agent_worker", 1, home, **variables, **clock))
    try:
        for pool in pools:
            pool.start()
        await asyncio.gather(
            *(gateway.start(0) for gateway in gateways), *(asyncio.to_thread(pool.wait_ready) for pool in pools)
        )
        yield gateways, pools
    finally:
        for gateway, pool in zip(gateways, pools, strict=True):
            gateway.stop()
            pool.stop()


@takes_long
@pytest.mark.timeout(400)
async def test_who_is_minutes_ahead_or_behind_changes_nothing(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    effects = tmp_path / "effects"
    effects.mkdir()
    async with served(make_server(effects).streamable_http_app()) as port:
        tools = {"url": f"http://127.0.0.1:{port}/mcp", "voicebus": {"tools": {"current_time": {"approval": True}}}}
        (mcp := tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"effects": tools}}))
        async with (
            running(bus_settings, tmp_path, mcp) as ((early, late), pools),
            Voicebus(_url(early.ports[0]), _token(), options=QUICK) as ahead,
            Voicebus(_url(late.ports[0]), _token(), options=QUICK) as behind,
        ):
            talks = []
            for number in range(ROUNDS):
                talks += (begun := [await _open(chance.choice((ahead, behind))) for _ in range(SESSIONS)])
                all_asked = asyncio.Barrier(SESSIONS)
                async with _as_far_as_it_comes() as tasks:
                    for talk in begun:
                        tasks.create_task(_talk(talk, ahead, behind, all_asked))
                    await _all_answered_once(begun)
                    await asyncio.sleep(chance.uniform(0, 0.05) * QUESTIONS)
                    await _kill(pools[number % 2], replaced=number + 1 < ROUNDS)
            async with _as_far_as_it_comes() as tasks:
                for talk, voicebus in product(talks, (ahead, behind)):
                    tasks.create_task(_read(talk, voicebus))
    tally = total([await talk.tally(bus, effects) for talk in talks])
    record(
        Outcome(
            "clocks are minutes off",
            f"{len(talks)} sessions of 2 clients, {len(talks) * QUESTIONS} turns with an approval",
            f"a gateway and a worker {OFF_S} s ahead, and one of each {OFF_S} s behind, {ROUNDS} kills of a worker",
            tally,
            max(talk.longest_s for talk in talks),
        )
    )


@takes_long
@pytest.mark.timeout(180)
async def test_a_spoken_turn_is_the_same_whose_clock_soever_is_off(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    asked, found, turns = what_time(), Comparison(), list[Heard]()
    async with installation(redis_url, tmp_path, off_s=OFF_S) as running:
        usual = await running.undisturbed(asked)
        for _ in range(SPOKEN_ROUNDS):
            for stage, kind in KILLED.items():
                heard = await running.turns.ask(speaking(asked.question), partial(_kill_owner, running, stage, kind))
                found.add(compare_turns(usual, heard), stage)
                found.check(f"{stage}: effects", [asked.effect], running.effects(heard, asked))
                turns.append(heard)
        started = sum(pool.started for pool in running.pools.values())
    (said,) = conversation(usual.events).of("user")
    found.check("understood", ["what time is it in new york"], [said["content"]])
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "clocks are minutes off where speech is heard and made",
            "spoken questions",
            f"{started} workers, every other one {OFF_S} s ahead and the rest {OFF_S} s behind, {len(turns)} kills",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
        )
    )


async def _kill_owner(running: Installation, stage: Stage, kind: str, heard: Heard) -> None:
    """When the first event of this type has come."""
    await heard.until(kind)
    await running.kill_owner(stage, heard)


async def _open(voicebus: Voicebus) -> Talk:
    return Talk((await voicebus.create_session(mode="text", ttl_s=TTL_S)).session_id)


async def _all_answered_once(talks: Sequence[Talk]) -> None:
    """Whoever waits for it loses patience before."""
    await until(lambda: all(talk.answered for talk in talks), timeout_s=2 * PATIENCE_S)


async def _talk(talk: Talk, ahead: Voicebus, behind: Voicebus, all_asked: asyncio.Barrier) -> None:
    async with (
        _listening(ahead, talk) as asking,
        _listening(behind, talk) as allowing,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(talk.allow(allowing, all_asked))
        tasks.create_task(talk.ask(asking))


def _listening(voicebus: Voicebus, talk: Talk) -> Connection:
    return voicebus.connect(talk.session_id, position=Position.BEGINNING)


async def _read(talk: Talk, voicebus: Voicebus) -> None:
    async with _listening(voicebus, talk) as connection:
        await talk.read(connection)


@asynccontextmanager
async def _as_far_as_it_comes() -> AsyncIterator[asyncio.TaskGroup]:
    """What has not come when the time is over counts as lost."""
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            yield tasks
    except TimeoutError:
        pass


async def _kill(pool: WorkerPool, *, replaced: bool) -> None:
    """`kill -9` of its worker; if it is replaced, returns when another one with the same clock is there."""
    (pid,) = pool._running
    left = pool.kill(pid)
    await until(lambda: not any(alive(process) for process in left))
    if replaced:
        pool.start()
        await asyncio.to_thread(pool.wait_ready)


async def test_a_token_ends_by_the_clock_of_the_gateway_that_reads_it(
    bus_settings: BusSettings, tmp_path: Path
) -> None:
    redis = (bus_settings.redis_url, bus_settings.prefix)
    with time_machine.travel(timedelta(hours=-1), tick=True):
        over = make_token(SECRET, OWNER, lasts=timedelta(minutes=59))
        not_over = make_token(SECRET, OWNER, lasts=timedelta(minutes=61))
    async with (
        running_gateways(*redis, 1, tmp_path, **{CLOCK_OFF: str(OFF_S)}) as early,
        running_gateways(*redis, 1, tmp_path, **{CLOCK_OFF: str(-OFF_S)}) as late,
        Voicebus(_url(early.ports[0]), not_over) as ahead,
        Voicebus(_url(late.ports[0]), over) as behind,
    ):
        assert (await behind.create_session()).session_id
        with pytest.raises(VoicebusError, match="has expired"):
            await ahead.create_session()


def _token() -> str:
    """Issued so long ago that no gateway takes it for one of the future."""
    with time_machine.travel(timedelta(hours=-1), tick=True):
        return make_token(SECRET, OWNER)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
