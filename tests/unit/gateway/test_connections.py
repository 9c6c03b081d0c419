"""What the connections of a process share: moments at which they act, and tasks."""

import asyncio

import pytest
from support.process_tree import until

from gateway.connections import DOOR_S, THROUGH, THROUGH_WHEN_CALM, WHILE_S, Connections
from gateway.drain import Drain
from gateway.ticks import TICK_S


class Client:
    """Notes its failures."""

    def __init__(self) -> None:
        self.failures = 0

    def fail(self) -> None:
        self.failures += 1


class Leaving:
    """Notes that it is to leave."""

    def __init__(self) -> None:
        self.told = 0

    def leave(self) -> None:
        self.told += 1


async def test_who_fails_keeps_nobody_from_writing() -> None:
    connections, bad, good = Connections(Drain(0)), Client(), Client()
    wrote = asyncio.Event()

    def fail() -> None:
        raise ValueError

    for at in (connections.soon, lambda *act: connections.ticks.act(act), lambda *act: connections.in_a_while(act)):
        wrote.clear()
        at(bad, fail)
        at(good, wrote.set)
        await asyncio.wait_for(wrote.wait(), 5)
    assert (bad.failures, good.failures) == (3, 0)


async def test_what_can_wait_comes_at_its_time_with_what_came_near_it() -> None:
    connections, client = Connections(Drain(0)), Client()
    loop = asyncio.get_running_loop()
    began = loop.time()
    came: list[float] = []

    def come() -> None:
        came.append(loop.time() - began)

    connections.in_a_while((client, come))
    connections.in_a_while((client, come))
    await asyncio.sleep(2 * TICK_S)
    connections.in_a_while((client, come))
    await until(lambda: len(came) == 3)
    assert WHILE_S * 0.99 <= came[0] <= came[1] <= came[2] - TICK_S


async def test_all_are_told_to_leave_once_also_who_comes_late() -> None:
    drain = Drain(0)
    connections, early, gone, late = Connections(drain), Leaving(), Leaving(), Leaving()
    async with connections.open():
        connections.add(early)
        connections.add(gone)
        connections.remove(gone)
        drain.start()
        for _ in range(3):
            await asyncio.sleep(0)
        connections.add(late)
    assert (early.told, gone.told, late.told) == (1, 0, 1)


async def test_what_was_begun_is_ended_before_the_process_goes() -> None:
    connections, ended = Connections(Drain(0)), False

    async def work() -> None:
        nonlocal ended
        await asyncio.sleep(0.01)
        ended = True

    async with connections.open():
        connections.start(work())
    assert ended


def here() -> bool:
    return True


async def test_who_has_gone_from_a_crowd_costs_nobody_a_place_and_a_crowd_has_an_end() -> None:
    connections, came = Connections(Drain(0)), list[int]()
    assert connections.let_in(here, lambda: came.append(0))
    for _ in range(500):
        connections.let_in(lambda: False, came.clear)
    assert connections.let_in(here, lambda: came.append(1))
    await until(lambda: len(came) == 2)
    assert came == [0, 1]
    asked = 0
    while connections.let_in(here, lambda: None):
        asked += 1
        assert asked < 10_000
    await asyncio.sleep(2 * DOOR_S)
    assert connections.let_in(here, lambda: None)


@pytest.mark.parametrize(("calm", "through"), [(True, THROUGH_WHEN_CALM), (False, THROUGH)])
async def test_of_a_crowd_some_are_let_in_at_a_time_in_their_order(calm: bool, through: int) -> None:
    connections, loop = Connections(Drain(0)), asyncio.get_running_loop()
    if not calm:
        connections.soon(Client(), lambda: None)
        await asyncio.sleep(0)
    came: list[tuple[int, float]] = []
    everybody = asyncio.Event()
    for number in range(10):
        connections.let_in(here, lambda number=number: came.append((number, loop.time())))  # type: ignore[misc]
    connections.let_in(here, everybody.set)
    assert [number for number, _ in came] == [0]
    await asyncio.wait_for(everybody.wait(), 5)
    assert [number for number, _ in came] == list(range(10))
    assert came[-1][1] - came[0][1] >= DOOR_S * (9 // through) * 0.9
    connections.let_in(here, everybody.clear)
    await asyncio.sleep(3 * DOOR_S)
    assert not everybody.is_set()
