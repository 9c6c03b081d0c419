"""Redis fails in the middle of turns: who asked has in the end what it would have had anyway.

Workers are processes, each of which finds its way back by itself. A fault begins as one of them writes a part of a
turn, or in the middle of a word; other turns are anywhere by then.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from faults.boundaries import WRITING, Boundaries, Boundary
from faults.comparison import Comparison, compare_turns, outcomes
from faults.installation import Asked, Installation, installation, speaking, what_time
from faults.own_redis import OwnRedis
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.scripted import DONE, ONCE, QUESTION, TOOLS, WRITES, Scripted, scripted
from faults.stage_workers import StageWorkers
from faults.turns import Heard

from voicebus.contract.keys import Stage
from voicebus_client.events import Event

STALL_S: Final = 6.0  # longer than an answer is waited for: what was on its way goes out a second time
AWAY_S: Final = 1.0
CUTS: Final = 3  # at a time
FLUSHES: Final = 10
APART_S: Final = 0.05  # at most, two of these
BESIDE: Final = 2 if FULL else 1  # turns at the same time as the one that decides when Redis fails
SPREAD_S: Final = 0.2  # at most, between the beginnings of two turns
AFRESH: Final = "voicebus_bus_calls_repeated_total"  # counted by a worker that lost its way to Redis
DEAF: Final = "voicebus_bus_subscriptions_lost_total"


async def _forget_scripts(server: OwnRedis, chance: random.Random) -> None:
    for _ in range(FLUSHES):
        await asyncio.to_thread(server.everywhere, "SCRIPT", "FLUSH")
        await asyncio.sleep(chance.uniform(0, APART_S))


async def _cut_off(kind: str, server: OwnRedis, _chance: random.Random) -> None:
    for _ in range(CUTS):
        await server.cut_off(kind)


async def _stall(server: OwnRedis, _chance: random.Random) -> None:
    await server.stall(STALL_S)


async def _restart(server: OwnRedis, _chance: random.Random) -> None:
    await server.restart(AWAY_S)


@dataclass(frozen=True)
class Failure:
    """What Redis does, by what workers notice it, and how long their leases are."""

    name: str
    what: str  # is done to it
    make: Callable[[OwnRedis, random.Random], Awaitable[None]]
    rounds: int  # of turns at full size
    noticed: str = AFRESH  # a metric of theirs
    lease_s: int = 12  # the default of 9 s could just end in a stall
    ends_leases: bool = False  # of which a call may be left with an outcome that nobody knows
    at_once: Callable[[OwnRedis], None] = lambda _: None  # before the write that decides when it fails goes on


FAILURES: Final = {
    "forgets": Failure("forgets its scripts", f"{FLUSHES} SCRIPT FLUSH", _forget_scripts, 4),
    "writers": Failure("cuts off who writes", f"{CUTS} CLIENT KILL TYPE normal", partial(_cut_off, "normal"), 4),
    "listeners": Failure(
        "cuts off who listens", f"{CUTS} CLIENT KILL TYPE pubsub", partial(_cut_off, "pubsub"), 4, noticed=DEAF
    ),
    "stalls": Failure("stalls", f"SIGSTOP for {STALL_S:.0f} s", _stall, 1, at_once=OwnRedis.freeze),
    "outlasts": Failure(
        "stalls until leases are over",
        f"SIGSTOP for {STALL_S:.0f} s",
        _stall,
        1,
        lease_s=2,
        ends_leases=True,
        at_once=OwnRedis.freeze,
    ),
    "killed": Failure(
        "is killed",
        f"kill -9, back after {AWAY_S:.0f} s, appendfsync always",
        _restart,
        3,
        ends_leases=True,  # another epoch makes them void
    ),
}
DRAWN: Final = random.Random(SEED).choice(list(FAILURES))
SHORT: Final = [name for name in FAILURES if name != "outlasts"]
one_of_them = pytest.mark.parametrize(
    "failure",
    [pytest.param(failure, id=name, marks=[] if name == DRAWN else takes_long) for name, failure in FAILURES.items()],
)


@dataclass
class Failing:
    """Redis fails in turns, and what came of them."""

    server: OwnRedis
    failure: Failure
    pools: Iterable[StageWorkers]
    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    found: Comparison = field(default_factory=Comparison)
    turns: list[Heard] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)  # the failure
    came: dict[str, list[Event]] = field(default_factory=dict)  # until then, by session
    rounds: int = 0  # so far
    missed: int = 0  # turns that should have been in the middle, and were not
    unnoticed: int = 0  # rounds in which no worker noticed anything

    @asynccontextmanager
    async def once(self) -> AsyncIterator[None]:
        """Inside, it fails when `began` is set; it is well again behind it."""
        self.rounds += 1
        self.server.write_at_once()
        self.began.clear()
        before = self._noticed()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._fail())
            yield
        self.unnoticed += self._noticed() == before

    def begin(self) -> None:
        """As a worker is about to write."""
        self.failure.at_once(self.server)
        self.began.set()

    def _noticed(self) -> float:
        return sum(worker.metric(self.failure.noticed) for pool in self.pools for worker in pool.running)

    async def _fail(self) -> None:
        await self.began.wait()
        await self.failure.make(self.server, self.chance)

    async def note(self, heard: Heard) -> None:
        """What has come of the turn when it begins to fail."""
        await self.began.wait()
        self.came[heard.session_id] = [*heard.events]

    def in_the_middle(self, heard: Heard) -> bool:
        """Whether there was something of the turn before and behind it."""
        return 0 < len(self.came[heard.session_id]) < len(heard.events)

    def excused(self, heard: Heard) -> bool:
        """Whether its beginning may have left the call that may be made once with an outcome that nobody knows."""
        results = [event for event in self.came[heard.session_id] if event.type == "tool_result"]
        return self.failure.ends_leases and not any(event.data["tool_name"] == ONCE for event in results)

    def told(self, record: Record, when: str, load: str) -> None:
        """Writes down what was found."""
        unknown = sum("unknown" in outcomes(heard).values() for heard in self.turns)
        print(*self.found.faults, sep="\n")
        record(
            Outcome(
                f"Redis {self.failure.name} {when}",
                load,
                f"{self.rounds} times {self.failure.what}",
                self.found.tally,
                max(heard.longest_wait_s for heard in self.turns),
                f"{sum(map(self.in_the_middle, self.turns))} of {len(self.turns)} turns were in the middle, "
                f"{sum(heard.restarts for heard in self.turns)} responses restarted, {unknown} outcomes unknown",
            )
        )
        assert not self.missed
        assert not self.unnoticed


@one_of_them
@pytest.mark.timeout(240)
async def test_a_turn_is_the_same_whatever_redis_does_in_the_middle_of_it(
    server: OwnRedis, tmp_path: Path, record: Record, failure: Failure
) -> None:
    watch, environment = Boundaries(), {"LEASE_S": str(failure.lease_s)}
    async with scripted(server.url, tmp_path, agents=2, speakers=2, watch=watch, environment=environment) as running:
        usual, failing = await running.undisturbed(), Failing(server, failure, running.pools.values())
        watch.strike = lambda _: failing.begin()
        for number in range(failure.rounds if FULL else 1):
            for heard in await some_turns(running, failing, watch):
                found = await running.compared(usual, heard, excused=failing.excused(heard))
                failing.found.add(found, f"round {number}")
    failing.told(record, "in the middle of turns", f"{1 + BESIDE} turns with two tool calls at once")


def a_write(failing: Failing) -> Boundary:
    """By which a worker adds to a turn."""
    if failing.failure.ends_leases and not FULL:  # the next one is to find that both calls have been made
        return Boundary("agent", len(TOOLS), through=True, scripts=WRITING, holding=DONE)
    stage: Stage = failing.chance.choice(("agent", "tts"))
    holding = b'"is_last":false' if stage == "tts" else b""  # the middle of a sentence
    return Boundary(stage, failing.chance.randint(1, WRITES[stage]), through=True, scripts=WRITING, holding=holding)


async def some_turns(running: Scripted, failing: Failing, watch: Boundaries) -> list[Heard]:
    """Turns at the same time; Redis fails as a worker writes for the last one, of which it has part by then."""
    chance, moment = failing.chance, a_write(failing)
    async with failing.once(), asyncio.TaskGroup() as tasks:
        asked = []
        for _ in range(BESIDE):
            asked.append(tasks.create_task(running.turns.ask(QUESTION, failing.note)))
            await asyncio.sleep(chance.uniform(0, SPREAD_S))
        last = running.turns.ask(QUESTION, failing.note, begun=lambda session: watch.set(session, moment))
        asked.append(tasks.create_task(last))
    turns = [task.result() for task in asked]
    failing.missed += not failing.in_the_middle(turns[-1])
    failing.turns += turns
    return turns


@takes_long
@pytest.mark.parametrize("failure", [pytest.param(FAILURES[name], id=name) for name in SHORT])
@pytest.mark.timeout(240)
async def test_what_is_said_is_understood_and_answered_whatever_redis_does_in_the_middle_of_a_word(
    server: OwnRedis, tmp_path: Path, record: Record, failure: Failure
) -> None:
    asked, environment = what_time(), {"LEASE_S": str(failure.lease_s)}
    async with installation(server.url, tmp_path, environment=environment) as running:
        usual, failing = await running.undisturbed(asked), Failing(server, failure, running.pools.values())
        heard = await spoken(running, failing, asked)
        found = compare_turns(usual, heard)
        found.check("history", await running.turns.history(usual), await running.turns.history(heard))
        found.check("effects", [asked.effect], running.effects(heard, asked))
        failing.found.add(found, failure.name)
    failing.told(record, "in the middle of a word", "a spoken question with a tool call")


async def spoken(running: Installation, failing: Failing, asked: Asked) -> Heard:
    """A question; Redis fails in a word of its second half, when something of it was understood."""
    words = asked.in_words

    async def fail(heard: Heard) -> None:
        await heard.until("stt")
        failing.began.set()

    say = speaking(asked.question, until=failing.chance.choice(words[len(words) // 2 :]), then=fail)
    async with failing.once():
        heard = await running.turns.ask(say, failing.note)
    failing.missed += not failing.in_the_middle(heard) or any(e.type == "user" for e in failing.came[heard.session_id])
    failing.turns.append(heard)
    return heard
