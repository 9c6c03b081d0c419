"""SIGTERM to workers in the middle of a turn, with new ones beside them: nothing is lost, and nothing is begun again.

Mail may be tried once here: an attempt that is counted twice gives it up.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.boundaries import NEVER, WRITING, Boundaries, Boundary
from faults.comparison import Comparison, compare_turns
from faults.installation import Installation, installation, speaking, what_time
from faults.redis_way import RedisWay
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.scripted import QUESTION, WRITES, Scripted, scripted
from faults.stage_workers import StageWorker
from faults.turns import Heard, Say
from support.process_tree import until

from voicebus.contract.keys import Stage

ROUNDS = 4 if FULL else 2
DRAIN_S = 10.0
# A lease that is lost on a busy machine would be an attempt, too.
ONE_ATTEMPT = {"ATTEMPTS_MAX": "1", "DRAIN_S": str(DRAIN_S), "LEASE_S": "9"}


@dataclass
class Deploy:
    """Which workers have been told to go, and what was found."""

    running: Scripted | Installation
    watch: Boundaries
    told: list[tuple[StageWorker, float]] = field(default_factory=list)
    found: Comparison = field(default_factory=Comparison)
    replaced: int = 0
    missed: int = 0  # workers that had less to write than was thought
    longest_s: float = 0.0  # that a worker took to end
    longest_wait_s: float = 0.0  # for an event

    def __post_init__(self) -> None:
        self.watch.strike = self._tell

    def _tell(self, way: RedisWay) -> None:
        worker = self.running.worker(way)
        worker.program.terminate()
        self.told.append((worker, asyncio.get_running_loop().time()))

    async def turn(self, say: Say | str, moments: Mapping[Stage, int]) -> Heard:
        """A turn, in which each of these stages' workers is told to go at its write of this number."""
        boundaries = [
            # A tts worker goes in the middle of a sentence.
            Boundary(stage, at, through=True, scripts=WRITING, holding=b'"is_last":false' if stage == "tts" else b"")
            for stage, at in moments.items()
        ]

        heard = await self.running.turns.ask(say, begun=lambda session: self.watch.set(session, *boundaries))
        self.longest_wait_s = max(self.longest_wait_s, heard.longest_wait_s)
        self.missed += len(moments) - len(self.told)
        self.found.check("responses begun again", [0], [heard.restarts])
        await self._replace()
        return heard

    async def _replace(self) -> None:
        for worker, at in self.told:
            await until(lambda worker=worker: worker.program.poll() is not None, timeout_s=2 * DRAIN_S)  # type: ignore[misc]  # a default
            self.longest_s = max(self.longest_s, asyncio.get_running_loop().time() - at)
            self.found.check(f"{worker.log.name}: status", [0], [worker.program.poll()])
            pool = next(pool for stage, pool in self.running.pools.items() if stage == worker.way.name)
            pool.running.remove(worker)
            await pool.start()
            self.replaced += 1
        self.told.clear()

    def outcome(self, what: str) -> Outcome:
        """What came of it."""
        print(*self.found.faults, sep="\n")
        return Outcome(
            f"rolling deploy of {what} workers",
            f"{ROUNDS} turns",
            f"{self.replaced} replaced in the middle of a turn",
            self.found.tally,
            self.longest_wait_s,
            f"the slowest ended within {self.longest_s:.1f} of {DRAIN_S:.0f} s",
        )


@takes_long
@pytest.mark.timeout(300)
async def test_agent_and_tts_workers_are_replaced_in_the_middle_of_turns(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    chance, watch = random.Random(SEED), Boundaries()
    async with scripted(redis_url, tmp_path, agents=2, speakers=2, watch=watch, environment=ONE_ATTEMPT) as running:
        usual = await running.undisturbed()
        deploy = Deploy(running, watch)
        for number in range(ROUNDS):
            heard = await deploy.turn(QUESTION, {stage: chance.randint(1, most) for stage, most in WRITES.items()})
            deploy.found.add(await running.compared(usual, heard), f"turn {number}")
    record(deploy.outcome("agent and TTS"))
    assert deploy.missed == 0
    assert deploy.longest_s < DRAIN_S


@takes_long
@pytest.mark.timeout(300)
async def test_stt_workers_are_replaced_in_the_middle_of_utterances(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    chance, asked = random.Random(SEED), what_time()
    async with installation(redis_url, tmp_path, environment=ONE_ATTEMPT) as running:
        writes = Boundary("stt", NEVER, scripts=WRITING)
        usual = await running.undisturbed(asked, lambda session: running.watch.set(session, writes))
        deploy, most = Deploy(running, running.watch), writes.most
        while deploy.replaced < ROUNDS:
            missed = deploy.missed
            heard = await deploy.turn(speaking(asked.question), {"stt": chance.randint(1, most)})
            deploy.found.add(compare_turns(usual, heard), f"turn {deploy.replaced}")
            most -= deploy.missed - missed  # on a busy machine there are fewer partial transcripts
    record(deploy.outcome("STT"))
    assert deploy.longest_s < DRAIN_S
