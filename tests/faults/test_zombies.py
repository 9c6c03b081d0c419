"""SIGSTOP of a worker beyond its lease, in the middle of a write, then SIGCONT: what it still writes is refused.

Another worker finishes the turn meanwhile. The write that was held up reaches Redis when all is over.
"""

import asyncio
import random
from pathlib import Path

import pytest
from faults.boundaries import Boundaries, Boundary
from faults.comparison import Comparison, compare_turns
from faults.installation import Installation, installation, speaking, what_time
from faults.redis_way import REFUSED
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.scripted import QUESTION, WRITES, Scripted, scripted
from faults.turns import Heard, Say
from support.process_tree import soon
from support.sessions import events_of

from voicebus_client.connection import Connection

STOPS = 4 if FULL else 1  # of each stage


async def stop(running: Scripted | Installation, watch: Boundaries, boundary: Boundary, say: Say) -> tuple[Heard, bool]:
    """The turn; when it is over, the worker that was stopped in it goes on; whether the write was refused."""

    async def saying(connection: Connection, heard: Heard) -> None:
        watch.set(heard.session_id, boundary)
        await say(connection, heard)

    heard = await running.turns.ask(saying)
    assert boundary.way
    boundary.let_go()
    await soon(lambda: boundary.answer != b"")
    worker = running.worker(boundary.way)
    worker.go_on()
    await worker.ready()
    return heard, REFUSED in boundary.answer


async def asking(connection: Connection, heard: Heard) -> None:
    """In writing."""
    await connection.send_text(QUESTION)


async def in_the_log(running: Scripted | Installation, heard: Heard) -> Comparison:
    """What the session's log holds now, compared with what the client had when the turn was over."""
    found = Comparison()
    log = [event.seq for event in await events_of(running.turns.bus, heard.session_id)]
    found.check("log", [event.seq for event in heard.events if event.seq], log)
    return found


@pytest.mark.timeout(300)
async def test_what_a_worker_writes_that_was_stopped_beyond_its_lease_is_refused(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    chance, watch = random.Random(SEED), Boundaries()
    found, turns = Comparison(), list[Heard]()
    async with scripted(redis_url, tmp_path, agents=2, speakers=2, watch=watch) as running:
        watch.strike = lambda way: running.worker(way).halt()
        usual = await running.turns.ask(QUESTION)
        for number in range(STOPS):
            boundaries = [Boundary(stage, chance.randint(1, most), scripts=("emit",)) for stage, most in WRITES.items()]
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(stop(running, watch, boundary, asking)) for boundary in boundaries]
            for boundary, task in zip(boundaries, asked, strict=True):
                heard, was_refused = task.result()
                found.check(f"{number}: {boundary}, refused", [True], [was_refused])
                found.add(await running.compared(usual, heard), f"{number}: {boundary}")
                found.add(await in_the_log(running, heard), f"{number}: {boundary}, afterwards")
                turns.append(heard)
        workers = [*running.agents.running, *running.speakers.running]
        refused, lost = sum(worker.way.refused for worker in workers), 0.0
        for worker in workers:
            lost += await asyncio.to_thread(worker.metric, "voicebus_leases_lost_total")
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "SIGSTOP of an agent or TTS worker beyond its lease",
            "turns with two tool calls, spoken",
            f"{len(turns)} stops of agent and tts workers in the middle of a write",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{refused} writes refused, {lost:.0f} leases known to be lost",
        )
    )


@takes_long
@pytest.mark.timeout(300)
async def test_what_a_stopped_stt_worker_has_understood_is_refused(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    chance, asked, found, turns = random.Random(SEED), what_time(), Comparison(), list[Heard]()
    async with installation(redis_url, tmp_path) as running:
        running.watch.strike = lambda way: running.worker(way).halt()
        usual = await running.undisturbed(asked)
        for number in range(max(1, STOPS // 2)):
            # A partial transcript, or the final one with the turn that it opens.
            at = chance.randint(1, 4)
            boundary = Boundary("stt", at if chance.random() < 0.5 else b"\r\nopen\r\n", scripts=("emit",))
            heard, was_refused = await stop(running, running.watch, boundary, speaking(asked.question))
            found.check(f"{number}: {boundary}, refused", [True], [was_refused])
            found.add(compare_turns(usual, heard), f"{number}: {boundary}")
            found.add(await in_the_log(running, heard), f"{number}: {boundary}, afterwards")
            turns.append(heard)
        refused = sum(worker.way.refused for worker in running.pools["stt"].running)
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "SIGSTOP of an STT worker beyond its lease",
            "spoken questions",
            f"{len(turns)} stops in the middle of a write",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{refused} writes refused",
        )
    )
