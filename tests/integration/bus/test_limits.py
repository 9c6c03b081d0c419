"""What is counted on the bus: names for a time, and audio out of an allowance."""

import asyncio
from datetime import UTC, datetime

import pytest

from voicebus.bus.bus import Bus
from voicebus.bus.limits import Limit, Usage, month_of
from voicebus.contract.errors import Refused

THREE = Limit(3, 60_000, "too_many_messages")
BRIEF = Limit(1, 300, "too_many_messages")
TEN_S = Limit(10_000, 10_000, "too_much_audio")
MONTH = month_of(datetime.now(UTC))


async def ttl_ms(bus: Bus, key: str) -> int:
    return int(await bus.calls.command("PTTL", key))


async def test_names_count_until_their_time_is_over(bus: Bus) -> None:
    key = bus.keys.user("ann").messages
    assert [await bus.limits.count(key, name, THREE) for name in "abc"] == [1, 2, 3]
    with pytest.raises(Refused) as refused:
        await bus.limits.count(key, "d", THREE)
    assert refused.value.code == "too_many_messages"
    assert 55_000 < (refused.value.retry_after_ms or 0) <= 60_000
    await bus.limits.uncount(key, "b")
    assert await bus.limits.count(key, "d", THREE) == 3
    assert 0 < await ttl_ms(bus, key) <= 60_000


async def test_after_its_time_there_is_room_again_and_nothing_is_left(bus: Bus) -> None:
    key = bus.keys.attempts("192.0.2.1")
    await bus.limits.count(key, "a", BRIEF)
    with pytest.raises(Refused) as refused:
        await bus.limits.count(key, "b", BRIEF)
    await asyncio.sleep((refused.value.retry_after_ms or 0) / 1000)
    assert await bus.limits.count(key, "b", BRIEF) == 1
    await asyncio.sleep(0.35)
    assert await bus.calls.command("EXISTS", key) == 0


async def test_a_name_counts_once_and_its_time_begins_anew_only_if_renewed(bus: Bus) -> None:
    key = bus.keys.user("ann").connections
    assert [await bus.limits.count(key, "a", THREE) for _ in range(4)] == [1, 0, 0, 0]
    first = await bus.calls.command("ZSCORE", key, "a")
    await asyncio.sleep(0.01)
    await bus.limits.count(key, "a", THREE)
    assert await bus.calls.command("ZSCORE", key, "a") == first
    await bus.limits.count(key, "a", THREE, renewed=True)
    assert await bus.calls.command("ZSCORE", key, "a") > first


async def test_of_many_at_once_no_more_get_in_than_may(bus: Bus) -> None:
    key = bus.keys.user("ann").messages
    counts = await asyncio.gather(*(bus.limits.count(key, str(i), THREE) for i in range(50)), return_exceptions=True)
    assert sorted(count for count in counts if isinstance(count, int)) == [1, 2, 3]


async def test_audio_that_was_paid_for_costs_nothing(bus: Bus) -> None:
    key = bus.keys.of("s").audio
    assert await bus.limits.charge(key, "s", "mic", 0, 4_000, TEN_S) in range(5_990, 6_001)
    for from_ms, to_ms in ((0, 4_000), (0, 1_000), (3_000, 4_000)):  # sent again, perhaps by another gateway
        assert await bus.limits.charge(key, "s", "mic", from_ms, to_ms, TEN_S) > 5_990
    assert await bus.limits.charge(key, "s", "mic", 0, 5_000, TEN_S) in range(4_990, 5_500)
    with pytest.raises(Refused) as refused:
        await bus.limits.charge(key, "s", "mic", 5_000, 12_000, TEN_S)
    assert refused.value.code == "too_much_audio"
    assert 1_500 < (refused.value.retry_after_ms or 0) <= 2_000
    assert await bus.limits.charge(key, "s", "other", 0, 1_000, TEN_S) < 4_500


async def test_audio_in_real_time_never_runs_out(bus: Bus) -> None:
    key = bus.keys.of("s").audio
    small = Limit(400, 200, "too_much_audio")  # twice as fast as time goes by
    for i in range(30):
        assert await bus.limits.charge(key, "s", "mic", i * 20, (i + 1) * 20, small) > 200
        await asyncio.sleep(0.02)
    with pytest.raises(Refused):
        await bus.limits.charge(key, "s", "mic", 600, 1_100, small)


async def test_what_was_taken_is_added_up_once(bus: Bus) -> None:
    ann, bob = bus.keys.user("ann"), bus.keys.user("bob{}|\0")
    for name in ("a", "b", "a"):
        await bus.limits.count(ann.messages, name, THREE, user="ann")
    await bus.limits.count(ann.opening, "s", THREE, user="ann", counted="sessions")
    for _ in range(2):
        await bus.limits.charge(bob.audio, "s", "mic", 0, 1_500, TEN_S, user="bob{}|\0")
    assert await bus.limits.usage("ann", MONTH) == Usage("ann", messages=2, sessions=1)
    every = [usage async for usage in bus.limits.all_usage(MONTH)]
    assert sorted(every, key=lambda usage: usage.sub) == [
        Usage("ann", messages=2, sessions=1),
        Usage("bob{}|\0", audio_ms=1_500),
    ]
    assert await ttl_ms(bus, ann.usage(MONTH)) > 86_400_000
    assert await ttl_ms(bus, bus.keys.users(MONTH)) > 86_400_000
