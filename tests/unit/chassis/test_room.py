"""Places for work, and how long what waits for one has waited."""

import asyncio

from voicebus.chassis.room import Room


async def test_who_waits_is_known_until_it_has_a_place() -> None:
    room, done = Room(1), list[str]()

    async def work(name: str) -> None:
        async with room:
            done.append(name)

    await room.enter()
    assert room.waited_s == 0
    first, second = asyncio.create_task(work("first")), asyncio.create_task(work("second"))
    await asyncio.sleep(0.05)
    assert 0.05 <= room.waited_s < 5
    room.leave()
    await asyncio.gather(first, second)
    assert (done, room.waited_s) == (["first", "second"], 0)


async def test_who_gives_up_does_not_wait_any_more() -> None:
    room = Room(1)
    await room.enter()
    impatient = asyncio.create_task(room.enter())
    await asyncio.sleep(0.01)
    assert room.waited_s > 0
    impatient.cancel()
    await asyncio.wait([impatient])
    assert room.waited_s == 0
    room.leave()
    await room.enter()
