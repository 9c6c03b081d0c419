"""`kill -9` of the agent worker at every boundary of a turn with two tool calls: before a call, or before its answer.

A boundary is a call by which the worker leases the session, takes its mail or writes. Workers have one session at a
time, so that none that is killed takes another turn along.
"""

import asyncio
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from faults.boundaries import Boundaries, Boundary
from faults.comparison import Comparison, outcomes
from faults.scenario import FULL, SEED, Outcome, Record
from faults.scripted import ONCE, QUESTION, WRITES, scripted
from faults.turns import Heard

from agent_worker.calls import UNKNOWN
from voicebus_client.connection import Connection

SIDE_BY_SIDE = 4 if FULL else 2
BOUNDARIES = 2 + WRITES["agent"]  # that the turn has at least
SOMETHING_DONE = 6  # from here on something is done that is not to be done again


def chosen() -> Sequence[Iterator[Boundary]]:
    """The boundaries: in full all, from the first on until the turn is over before the next one comes."""
    if FULL:
        every = [(Boundary("agent", number, behind) for number in itertools.count(1)) for behind in (False, True)]
        return every * (SIDE_BY_SIDE // 2)
    somewhere = random.Random(SEED).randint(SOMETHING_DONE, BOUNDARIES)
    return [iter([Boundary("agent", somewhere, behind=True)]), iter([Boundary("agent", b"The sum is 42")])]


@pytest.mark.timeout(400)
async def test_a_turn_is_the_same_wherever_its_agent_worker_is_killed(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    watch = Boundaries()
    found, struck, turns = Comparison(), list[Boundary](), list[Heard]()
    async with scripted(
        redis_url, tmp_path, agents=SIDE_BY_SIDE + 1, watch=watch, environment={"AGENT_SESSIONS": "1"}
    ) as running:
        watch.strike = running.kill
        usual = await running.turns.ask(QUESTION)
        found.add(await running.compared(usual, usual), "undisturbed")

        async def kill_at(boundaries: Iterator[Boundary]) -> None:
            for boundary in boundaries:

                async def say(connection: Connection, heard: Heard, at: Boundary = boundary) -> None:
                    watch.set(heard.session_id, at)
                    await connection.send_text(QUESTION)

                heard = await running.turns.ask(say)
                found.add(await running.compared(usual, heard), str(boundary))
                if boundary.way is None:
                    return
                await running.agents.start()
                struck.append(boundary)
                turns.append(heard)

        async with asyncio.TaskGroup() as tasks:
            for boundaries in chosen():
                tasks.create_task(kill_at(boundaries))
        unknown = sum(outcomes(heard).get(ONCE) == "unknown" for heard in turns)
        told = [body["messages"][-1]["content"] for body in running.model.requests]
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "kill -9 of the agent worker at every boundary of a turn"
            if FULL
            else "kill -9 of the agent worker in a turn",
            "turns with two tool calls",
            f"{len(struck)} kills at {len({boundary.at for boundary in struck})} boundaries",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{unknown} outcomes unknown and told, {sum(heard.restarts for heard in turns)} responses restarted",
        )
    )
    assert unknown >= 1
    assert sum(UNKNOWN in str(text) for text in told) >= unknown
    if FULL:
        assert {boundary.at for boundary in struck} >= set(range(1, BOUNDARIES + 1))
