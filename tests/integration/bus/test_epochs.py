"""Epochs: what a reader has of an earlier history of the server is valid up to where that history went on."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.sessions import open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.positions import GapRange, Position
from voicebus_stack.redis_server import running_redis


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    """On a server of its own, whose history can be changed."""
    with running_redis(tmp_path) as url:
        async with open_bus(BusSettings(redis_url=url, prefix=f"t{uuid4().hex[:8]}", partitions=4)) as opened:
            yield opened


async def new_epoch(bus: Bus) -> None:
    """As after a restart, or when a replica was promoted."""
    await bus.calls.command("DEBUG", "CHANGE-REPL-ID")


async def say(bus: Bus, session_id: str, *texts: str) -> Position:
    """Submits the texts; the heads then."""
    for text in texts:
        await bus.inbox.submit(session_id, text, agent_type="personal")
    return (await bus.log.read(session_id, Position())).head


async def test_after_a_restart_that_lost_nothing_a_reader_goes_on_in_silence(bus: Bus) -> None:
    session_id = await open_session(bus)
    before = await say(bus, session_id, "one", "two")
    await new_epoch(bus)
    head = await say(bus, session_id, "three")
    page = await bus.log.read(session_id, before)
    assert head.epoch != before.epoch
    assert page.gaps == []
    assert [item.seq for item in page.items] == [before.seq + 1] == [head.seq]


async def test_what_was_lost_with_an_epoch_is_a_gap_and_what_came_in_its_place_is_sent(bus: Bus) -> None:
    session_id = await open_session(bus)
    kept = await say(bus, session_id, "one")
    await new_epoch(bus)
    head = await say(bus, session_id, "two", "three")
    lost = Position(epoch=kept.epoch, seq=kept.seq + 1)  # the reader had an event that is gone
    page = await bus.log.read(session_id, lost)
    assert page.gaps == [GapRange(stream="events", first=kept.seq + 1, last=kept.seq + 1, reason="epoch_changed")]
    assert [item.seq for item in page.items] == [kept.seq + 1, head.seq]


async def test_a_position_two_epochs_back_is_valid_up_to_the_first_change(bus: Bus) -> None:
    session_id = await open_session(bus)
    first = await say(bus, session_id, "one")
    await new_epoch(bus)
    await say(bus, session_id, "two")
    await new_epoch(bus)
    await say(bus, session_id, "three")
    page = await bus.log.read(session_id, Position(epoch=first.epoch, seq=first.seq + 1))
    assert [gap.reason for gap in page.gaps] == ["epoch_changed"]
    assert page.items[0].seq == first.seq + 1
