"""`kill -9` of the agent worker at every boundary of a turn with two tool calls: before a call, or before its answer.

A boundary is a call by which the worker leases the session, takes its mail, writes or gives the session back. Which
there are shows in a turn that nobody disturbs: those of each kind are numbered, since how much text goes into a write
depends on how busy the machine is. Workers have one session at a time, so that none that is killed takes another turn
along.
"""

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from faults.boundaries import NEVER, WRITING, Boundaries, Boundary
from faults.comparison import Comparison, compare_answers, outcomes
from faults.scenario import FULL, SEED, Outcome, Record
from faults.scripted import BEGUN, DONE, ONCE, QUESTION, Scripted, in_the_call, scripted
from faults.turns import Heard
from support.process_tree import soon, until

from agent_worker.calls import UNKNOWN

SIDE_BY_SIDE = 4 if FULL else 2
TRIES = 3  # at a boundary that does not come
STEP, ANSWER = b'"kind":"responded"', b'"turn_ms"'
KINDS: Final[dict[str, dict[str, Any]]] = {
    "lease": {"scripts": ("lease",)},
    "mail": {"scripts": ("next",)},
    "text": {"scripts": WRITING, "without": (STEP, BEGUN, DONE, ANSWER)},
    "step": {"scripts": WRITING, "holding": STEP},
    "call": {"scripts": WRITING, "holding": BEGUN},
    "result": {"scripts": WRITING, "holding": DONE},
    "answer": {"scripts": WRITING, "holding": ANSWER},
    "release": {"scripts": ("release",)},
}


class Point(NamedTuple):
    """A boundary: before or behind the call of this number among those of its kind."""

    kind: str
    number: int
    behind: bool

    def __str__(self) -> str:
        return f"{'behind' if self.behind else 'before'} {self.kind} {self.number}"

    def boundary(self) -> Boundary:
        """Where to strike."""
        return Boundary("agent", self.number, self.behind, **KINDS[self.kind])


@dataclass
class Killing:
    """Who is killed where, and what came of it."""

    running: Scripted
    watch: Boundaries
    found: Comparison = field(default_factory=Comparison)
    struck: dict[Point, Heard] = field(default_factory=dict)
    in_calls: int = 0  # of them

    async def undisturbed(self) -> tuple[Heard, list[Point]]:
        """A turn in which nobody is killed, and its boundaries."""
        calls = {kind: Boundary("agent", NEVER, **which) for kind, which in KINDS.items()}
        every = Boundary("agent", NEVER)
        heard = await self.running.undisturbed(lambda session: self.watch.set(session, every, *calls.values()))
        await until(lambda: calls["release"].most > 0)
        assert sum(each.most for each in calls.values()) == every.most
        return heard, [
            Point(kind, number + 1, behind)
            for kind, each in calls.items()
            for number in range(each.most)
            for behind in (False, True)
        ]

    async def kill_at(self, usual: Heard, point: Point) -> None:
        """A turn in which the worker is killed there. When it gives the session back, the next turn could suffer."""
        for _ in range(TRIES):
            boundary = point.boundary()
            refused = self.running.agents.refused
            heard = await self._turn(boundary)
            excused = in_the_call(boundary) or self.running.agents.refused > refused  # a busy machine has lost a lease
            self.found.add(await self.running.compared(usual, heard, excused=excused), str(point))
            if boundary.way is None:
                continue
            self.struck[point] = heard
            self.in_calls += in_the_call(boundary)
            await self.running.agents.start()
            if point.kind == "release":
                following = await self.running.turns.follow(Heard(heard.session_id, 2), QUESTION)
                self.found.add(compare_answers(usual, following), f"{point}, the next turn")
            return

    async def _turn(self, boundary: Boundary) -> Heard:
        heard = await self.running.turns.ask(QUESTION, begun=lambda session: self.watch.set(session, boundary))
        await soon(lambda: boundary.way is not None)
        return heard


@pytest.mark.timeout(400)
async def test_a_turn_is_the_same_wherever_its_agent_worker_is_killed(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    watch = Boundaries()
    async with scripted(
        redis_url, tmp_path, agents=SIDE_BY_SIDE + 1, watch=watch, environment={"AGENT_SESSIONS": "1"}
    ) as running:
        killing = Killing(running, watch)
        usual, points = await killing.undisturbed()
        watch.strike = running.kill
        chosen = points if FULL else some(points)
        coming = iter(chosen)

        async def kill(those: Iterator[Point]) -> None:
            for point in those:
                await killing.kill_at(usual, point)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(SIDE_BY_SIDE):
                tasks.create_task(kill(coming))
        told = [body["messages"][-1]["content"] for body in running.model.requests]
    print(*killing.found.faults, sep="\n")
    turns = killing.struck.values()
    unknown = sum(outcomes(heard).get(ONCE) == "unknown" for heard in turns)
    record(
        Outcome(
            "kill -9 of the agent worker at every boundary of a turn"
            if FULL
            else "kill -9 of the agent worker in a turn",
            "turns with two tool calls",
            f"{len(turns)} of the {len(points)} kills before and behind {len(points) // 2} calls",
            killing.found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{unknown} outcomes unknown and told, {sum(heard.restarts for heard in turns)} responses restarted",
        )
    )
    missed = [point.kind for point in chosen if point not in killing.struck]
    assert set(missed) <= {"text"}  # of which there are more or fewer in each turn
    assert 2 * len(missed) <= sum(point.kind == "text" for point in chosen)
    assert killing.in_calls >= 1
    assert sum(UNKNOWN in str(text) for text in told) >= unknown >= 1


def some(points: list[Point]) -> list[Point]:
    """Two of them: where something is done that is not to be done again, and within the call that may be made once."""
    done = [point for point in points if point.kind in ("step", "result") and point.behind]
    last = max(point.number for point in points if point.kind == "result")
    return [random.Random(SEED).choice(done), Point("result", last, behind=False)]
