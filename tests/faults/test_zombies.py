"""SIGSTOP of a worker beyond its lease, in the middle of a write, then SIGCONT: what it still writes is refused.

Another worker finishes the turn meanwhile. The write that was held up reaches Redis when all is over; the log is read
when the worker that went on has learnt from Redis that it has lost its lease.
"""

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.boundaries import WRITING, Boundaries, Boundary
from faults.comparison import Comparison, compare_turns
from faults.installation import Installation, installation, speaking, what_time
from faults.redis_way import REFUSED, RedisWay
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.scripted import QUESTION, WRITES, Scripted, in_the_call, scripted
from faults.stage_workers import StageWorker
from faults.turns import Heard, Say
from support.process_tree import soon
from support.sessions import events_of

STOPS = 4 if FULL else 1  # of each stage
STT_STOPS = 3 if FULL else 1


@dataclass
class Stopped:
    """A turn in which a worker was stopped, and what came of it when it went on."""

    heard: Heard
    refused: bool  # its write
    knows: bool  # that it has lost its lease


async def stop(
    running: Scripted | Installation, watch: Boundaries, boundary: Boundary, say: Say | str, lost: dict[int, float]
) -> Stopped:
    """The turn; when it is over, the worker that was stopped in it goes on. `lost`: leases by process id, so far."""
    heard = await running.turns.ask(say, begun=lambda session: watch.set(session, boundary))
    if boundary.way is None:
        return Stopped(heard, refused=False, knows=False)
    boundary.let_go()
    await soon(lambda: boundary.answer != b"")
    worker, refused = running.worker(boundary.way), boundary.way.refused
    worker.go_on()
    await worker.ready()
    return Stopped(heard, REFUSED in boundary.answer, await learnt(worker, boundary.way, refused, lost))


async def learnt(worker: StageWorker, way: RedisWay, refused: int, lost: dict[int, float]) -> bool:
    """Whether it counts another lease as lost, or was refused another call: it renews what it thinks it has."""
    before, pid = lost.get(worker.program.pid, 0.0), worker.program.pid
    for _ in range(200):
        lost[pid] = await asyncio.to_thread(worker.metric, "voicebus_leases_lost_total")
        if lost[pid] > before or way.refused > refused:
            return True
        await asyncio.sleep(0.1)
    return False


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
    found, turns, lost = Comparison(), list[Heard](), dict[int, float]()
    async with scripted(redis_url, tmp_path, agents=2, speakers=2, watch=watch) as running:
        watch.strike = lambda way: running.worker(way).halt()
        usual = await running.undisturbed()
        for number in range(STOPS):
            boundaries = [Boundary(stage, chance.randint(1, most), scripts=WRITING) for stage, most in WRITES.items()]
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(stop(running, watch, boundary, QUESTION, lost)) for boundary in boundaries]
            for boundary, task in zip(boundaries, asked, strict=True):
                stopped, heard = task.result(), task.result().heard
                assert boundary.way
                found.check(f"{number}: {boundary}, refused", [True, True], [stopped.refused, stopped.knows])
                # An agent worker that is stopped in the one turn may have the other one, too, anywhere in it.
                excused = boundary.stage == "tts" or in_the_call(boundary)
                found.add(await running.compared(usual, heard, excused=excused), f"{number}: {boundary}")
                found.add(await in_the_log(running, heard), f"{number}: {boundary}, afterwards")
                turns.append(heard)
        refused = running.agents.refused + running.speakers.refused
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "SIGSTOP of an agent or TTS worker beyond its lease",
            "turns with two tool calls, spoken",
            f"{len(turns)} stops of agent and tts workers in the middle of a write",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{refused} calls refused, {sum(lost.values()):.0f} leases known to be lost",
        )
    )


@takes_long
@pytest.mark.timeout(300)
async def test_what_a_stopped_stt_worker_has_understood_is_refused(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    chance, asked, found, turns = random.Random(SEED), what_time(), Comparison(), list[Heard]()
    lost: dict[int, float] = {}
    async with installation(redis_url, tmp_path) as running:
        running.watch.strike = lambda way: running.worker(way).halt()
        usual = await running.undisturbed(asked)
        # What it writes behind the final transcript, when it hears nothing more, nobody else does in its place.
        most = sum(event.type == "stt" and not event.seq for event in usual.events)
        while len(turns) < STT_STOPS:
            # A partial transcript, or the final one with the turn that it opens.
            at: int | bytes = chance.randint(1, most) if chance.random() < 0.5 else b"\r\nopen\r\n"
            boundary = Boundary("stt", at, scripts=WRITING)
            stopped = await stop(running, running.watch, boundary, speaking(asked.question), lost)
            heard, name = stopped.heard, f"{len(turns)}: {boundary}"
            found.add(compare_turns(usual, heard), name)
            if boundary.way is None and most > 1:  # on a busy machine there are fewer partial transcripts
                most -= 1
                continue
            found.check(f"{name}, refused", [True, True], [stopped.refused, stopped.knows])
            found.add(await in_the_log(running, heard), f"{name}, afterwards")
            turns.append(heard)
        refused = running.pools["stt"].refused
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "SIGSTOP of an STT worker beyond its lease",
            "spoken questions",
            f"{len(turns)} stops in the middle of a write",
            found.tally,
            max(heard.longest_wait_s for heard in turns),
            f"{refused} calls refused, {sum(lost.values()):.0f} leases known to be lost",
        )
    )
