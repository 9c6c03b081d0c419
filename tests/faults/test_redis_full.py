"""Redis has no room: input is refused, what was accepted is finished, and all go on as soon as there is some."""

from collections import Counter
from collections.abc import Sequence
from functools import partial

import pytest
from faults.crowd import Source
from faults.own_redis import OwnRedis
from faults.scenario import Record
from faults.scene import ROUNDS, Scene
from support.process_tree import until

REFUSED = "bus_full"
MORE = 20  # events that come from each session while there is no memory, or attempts while there is no disk

pytestmark = pytest.mark.timeout(180)


async def test_without_memory_input_is_refused_and_workers_finish(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    sources, speaking = at_work.listening.sources, at_work.speaking
    for number in range(1, ROUNDS + 1):
        await at_work.pause()
        server.fill_memory()
        try:
            await until(partial(speaking.each_was_refused, number * 3), timeout_s=30)
            enough = [len(source.accepted) + MORE for source in sources]
            await until(partial(_have_written, sources, enough), timeout_s=30)
        finally:
            server.free_memory()
    refusals, refused = Counter(speaking.refusals), sum(source.refused for source in sources)
    remarks = f"{refusals.total()} attempts refused"
    await at_work.recorded(record, "Redis is out of memory", f"{ROUNDS} times maxmemory", remarks=remarks)
    assert set(refusals) == {REFUSED}
    assert refused == 0  # nobody who finishes what was accepted


async def test_while_its_disk_is_full_redis_takes_nothing_and_loses_nothing(
    at_work: Scene, server: OwnRedis, record: Record
) -> None:
    sources, speaking = at_work.listening.sources, at_work.speaking
    for number in range(1, ROUNDS + 1):
        await at_work.pause()
        server.fill_disk()
        try:
            await until(partial(speaking.each_was_refused, number * MORE), timeout_s=30)
            assert all(source.refused for source in sources)
        finally:
            server.free_disk()
    refusals = Counter(speaking.refusals)
    remarks = f"{refusals.total()} attempts refused"
    await at_work.recorded(record, "Redis's disk is full", f"{ROUNDS} times no room for its file", remarks=remarks)
    assert set(refusals) == {REFUSED}


def _have_written(sources: Sequence[Source], enough: Sequence[int]) -> bool:
    return all(len(source.accepted) >= count for source, count in zip(sources, enough, strict=True))
