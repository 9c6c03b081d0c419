"""Redis stalls, restarts, forgets its scripts or cuts its clients off: all wait for it and go on."""

import asyncio

import pytest
from faults.own_redis import OwnRedis
from faults.scenario import Record, takes_long
from faults.scene import ROUNDS, Scene

STALL_S = 6.0  # longer than an answer is waited for: what was on its way goes out a second time
AWAY_S = 1.0
UNWRITTEN_S = 0.5
CUTS = 10 * ROUNDS
CUTS_MOST = 20 * CUTS
FLUSHES = 20 * ROUNDS

pytestmark = pytest.mark.timeout(180)


@takes_long
async def test_all_wait_for_a_redis_that_stalls(at_work: Scene, server: OwnRedis, record: Record) -> None:
    for _ in range(ROUNDS):
        await at_work.go_on()
        at_work.ready.fault()
        await server.stall(STALL_S)
        await at_work.ready.all_ready()
    await at_work.recorded(record, "Redis stalls", f"{ROUNDS} times {STALL_S:.0f} s")
    assert at_work.ready.told


async def test_all_wait_for_a_redis_that_is_killed_and_comes_back_with_its_file(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    for _ in range(ROUNDS):
        server.write_at_once()
        await at_work.go_on()
        at_work.ready.fault()
        await server.restart(AWAY_S)
        await at_work.ready.all_ready()
    await at_work.recorded(
        record, "Redis is killed", f"{ROUNDS} times kill -9, back after {AWAY_S:.0f} s, appendfsync always"
    )
    assert at_work.ready.told


async def test_what_redis_had_not_on_disk_when_its_machine_failed_is_told_and_said_again(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    """What was written is lost if its fsync was late: `appendfsync everysec` promises no more."""
    for _ in range(ROUNDS):
        await at_work.go_on()
        at_work.ready.fault()
        await server.restart(AWAY_S, unwritten_s=UNWRITTEN_S)
        await at_work.ready.all_ready()
    faults = f"{ROUNDS} times back without the last {UNWRITTEN_S:g} s"
    await at_work.recorded(record, "Redis's machine fails", faults, forgetful=True)
    assert at_work.listening.forgotten
    assert at_work.ready.told


async def test_who_was_cut_off_from_what_is_published_reads_what_it_missed(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    cuts = await cut_off_until_told(at_work, server, "pubsub")
    await at_work.recorded(record, "Redis cuts off who listens", f"{cuts} CLIENT KILL TYPE pubsub")
    assert at_work.ready.told


async def test_what_was_on_its_way_when_redis_cut_its_clients_off_takes_effect_once(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    cuts = await cut_off_until_told(at_work, server, "normal", "SCRIPT", "FLUSH")
    faults = f"{cuts} SCRIPT FLUSH and CLIENT KILL TYPE normal"
    await at_work.recorded(record, "Redis cuts off who writes", faults)
    assert at_work.ready.told


async def test_what_needs_a_script_that_redis_has_forgotten_takes_effect_once(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    await at_work.go_on()
    at_work.ready.fault()
    for _ in range(FLUSHES):
        await asyncio.sleep(at_work.chance.uniform(0.0, 0.1))
        await asyncio.to_thread(server.everywhere, "SCRIPT", "FLUSH")
    await at_work.recorded(record, "Redis forgets its scripts", f"{FLUSHES} times SCRIPT FLUSH")
    assert at_work.ready.stayed  # who calls one brings it along


async def cut_off_until_told(at_work: Scene, server: OwnRedis, kind: str, *before: str) -> str:
    """Cuts clients off `CUTS` times when all are at work, then without a pause until readiness has said so.

    Returns how often.
    """
    await at_work.go_on()
    at_work.ready.fault()
    for cut in range(CUTS_MOST):
        if cut >= CUTS and at_work.ready.told:
            break
        if cut < CUTS:
            await at_work.more(at_work.events, 1)
        await server.cut_off(kind, *before)
    more = cut - CUTS
    return f"{CUTS} times" + (f", then {more} times without a pause:" if more else "")
