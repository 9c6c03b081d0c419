"""Moments that turns share."""

import asyncio

from agent_worker.beat import EVERY_S, Beat


def moment(at_s: float) -> int:
    return int(at_s / EVERY_S + 0.01)


async def test_what_is_asked_for_between_two_moments_happens_at_the_next_one_together() -> None:
    beat, loop, done = Beat(), asyncio.get_running_loop(), asyncio.Event()
    happened: list[str] = []
    asked_at = loop.time()
    for name in ("a", "b", "c"):
        beat.call(lambda name=name: happened.append(name))  # type: ignore[misc]
    loop.call_soon(lambda: happened.append("another round of the loop"))
    beat.call(done.set)
    await asyncio.wait_for(done.wait(), 5)
    assert happened == ["another round of the loop", "a", "b", "c"]
    assert moment(loop.time()) > moment(asked_at)


async def test_who_asks_again_when_it_is_called_is_called_at_a_later_moment() -> None:
    beat, loop, done = Beat(), asyncio.get_running_loop(), asyncio.Event()
    called: list[int] = []

    def again() -> None:
        called.append(moment(loop.time()))
        if len(called) < 3:
            beat.call(again)
        else:
            done.set()

    beat.call(again)
    await asyncio.wait_for(done.wait(), 5)
    assert called[0] < called[1] < called[2]
