"""Redis has no room: input is refused, what was accepted is finished, and all go on as soon as there is some."""

from collections import Counter

import pytest
from faults.own_redis import OwnRedis
from faults.scenario import Record
from faults.scene import ROUNDS, Scene

REFUSED = "bus_full"
REFUSALS = 3  # of each speaker while there is no memory
MORE = 20  # events that come from each session meanwhile, or attempts while there is no disk

pytestmark = pytest.mark.timeout(180)


async def test_without_memory_input_is_refused_and_workers_finish(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    sources, speaking = at_work.listening.sources, at_work.speaking
    for _ in range(ROUNDS):
        await at_work.go_on()
        at_work.ready.fault()
        server.fill_memory()
        try:
            await at_work.more(lambda: speaking.refused, REFUSALS)
            await at_work.more(lambda: [len(source.accepted) for source in sources], MORE)
            await at_work.ready.all_ready()
        finally:
            server.free_memory()
    refusals, refused = Counter(speaking.refusals), sum(source.refused for source in sources)
    remarks = f"{refusals.total()} attempts refused"
    await at_work.recorded(record, "Redis is out of memory", f"{ROUNDS} times maxmemory", remarks=remarks)
    assert set(refusals) == {REFUSED}
    assert refused == 0  # nobody who finishes what was accepted
    assert at_work.ready.stayed  # all that was accepted is served, and who sends something is told


async def test_while_its_disk_is_full_redis_takes_nothing_and_loses_nothing(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    sources, speaking = at_work.listening.sources, at_work.speaking
    for _ in range(ROUNDS):
        await at_work.go_on()
        at_work.ready.fault()
        server.fill_disk()
        try:
            await at_work.more(lambda: speaking.refused, MORE)
            await at_work.more(lambda: [source.refused for source in sources], MORE)
            await at_work.ready.all_ready()
        finally:
            server.free_disk()
    refusals = Counter(speaking.refusals)
    remarks = f"{refusals.total()} attempts refused"
    await at_work.recorded(record, "Redis's disk is full", f"{ROUNDS} times no room for its file", remarks=remarks)
    assert set(refusals) == {REFUSED}
    assert at_work.ready.stayed  # all that was accepted is served, and who sends something is told
