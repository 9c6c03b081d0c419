"""What a microphone pays for, and when."""

import asyncio

import pytest

from gateway.meter import Meter
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import Refused

SECOND = 32_000  # bytes


class Purse:
    """Notes what is paid for; empty, it refuses."""

    def __init__(self) -> None:
        self.paid: list[tuple[int, int]] = []
        self.empty = False

    async def pay(self, stream: str, from_ms: int, to_ms: int) -> None:
        assert stream == "s#1"
        if self.empty:
            raise Refused("too_much_audio")
        await asyncio.sleep(0)
        self.paid.append((from_ms, to_ms))


@pytest.fixture
def purse() -> Purse:
    return Purse()


@pytest.fixture
def meter(purse: Purse) -> Meter:
    return Meter(purse.pay, "s#1", AudioSpec(format="pcm16"), 0)


async def test_each_second_is_paid_for_once_and_before_its_time(meter: Meter, purse: Purse) -> None:
    assert await meter.pay_for(0) == SECOND
    assert not meter.runs_out(SECOND // 4)
    assert meter.runs_out(SECOND * 19 // 20)
    await meter.pay_ahead()
    assert meter.paid == 2 * SECOND
    assert not meter.runs_out(SECOND)
    assert await meter.pay_for(SECOND) == 2 * SECOND
    assert purse.paid == [(0, 1_000), (1_000, 2_000)]


async def test_who_comes_to_what_nobody_could_pay_for_is_refused_then(meter: Meter, purse: Purse) -> None:
    await meter.pay_for(0)
    purse.empty = True
    await meter.pay_ahead()
    assert not meter.runs_out(SECOND - 1)  # it is not asked for again and again
    assert await meter.pay_for(SECOND - 1) == SECOND
    with pytest.raises(Refused):
        await meter.pay_for(SECOND)
    purse.empty = False
    await meter.pay_for(SECOND)
    assert meter.runs_out(2 * SECOND - 1)


async def test_who_needs_what_is_being_paid_for_ahead_waits_for_that(meter: Meter, purse: Purse) -> None:
    await meter.pay_for(0)
    await asyncio.gather(meter.pay_ahead(), meter.pay_for(SECOND), meter.pay_ahead())
    assert purse.paid == [(0, 1_000), (1_000, 2_000)]
