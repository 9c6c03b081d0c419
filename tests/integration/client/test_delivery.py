"""Each event reaches the application once and in order, wherever the connection breaks."""

import asyncio
from collections import deque
from dataclasses import replace

import pytest
from integration.client.clients import QUICK, connecting, fill, holds, marks, until
from integration.client.real_gateway import Balancer
from integration.client.scripted_gateway import ScriptedGateway

from voicebus_client.position import Position


def is_last(event: object) -> bool:
    return getattr(event, "seq", None) == 8


@pytest.mark.parametrize("repeat", [False, True])
@pytest.mark.parametrize("base64", [False, True])
async def test_a_cut_after_any_frame_loses_and_repeats_nothing(repeat: bool, base64: bool) -> None:
    async with ScriptedGateway(repeat=repeat).serving() as gateway:
        expected = fill(gateway)
        frames = 2 * len(expected) if repeat else 1 + len(expected)  # up to the first copy of the last item
        for cut in range(frames):
            gateway.cut_after = deque([cut])
            gateway.connections.clear()
            async with connecting(gateway, Position.BEGINNING, base64=base64) as connection:
                events = await until(connection, is_last)
            assert marks(events) == expected
            assert [event.audio for event in events if event.type == "tts"] == [c["audio"] for c in gateway.speech]
            assert len(gateway.connections) == 2


async def test_cuts_on_every_connection_only_take_longer() -> None:
    async with ScriptedGateway().serving() as gateway:
        expected = fill(gateway)
        gateway.cut_after = deque([2] * (len(expected) - 1))
        async with connecting(gateway, Position.BEGINNING) as connection:
            assert marks(await until(connection, is_last)) == expected


async def test_a_cut_while_the_turn_is_live_loses_and_repeats_nothing() -> None:
    for cut in range(1, 12):
        async with (
            ScriptedGateway(cut_after=deque([cut])).serving() as gateway,
            connecting(gateway) as connection,
        ):
            expected = fill(gateway)
            assert marks(await until(connection, is_last)) == expected


async def test_a_cut_after_any_byte_loses_and_repeats_nothing() -> None:
    async with ScriptedGateway().serving() as gateway:
        expected = fill(gateway)
        between = Balancer([int(gateway.url.rpartition(":")[2])])
        async with between.serving() as url:
            async with connecting(gateway, Position.BEGINNING, url=url) as connection:
                await until(connection, is_last)
            await holds(lambda: between.passed)
            (total,) = between.passed
            assert total > 2_000
            for cut in range(1, total, 23):
                between.cuts = [cut]
                async with connecting(gateway, Position.BEGINNING, url=url) as connection:
                    assert marks(await until(connection, is_last)) == expected, f"cut after {cut} bytes"


async def test_an_event_that_is_left_out_is_fetched() -> None:
    async with ScriptedGateway().serving() as gateway:
        expected = fill(gateway)
        for seq in range(1, 8):
            gateway.hidden = deque([seq])
            gateway.connections.clear()
            async with connecting(gateway, Position.BEGINNING) as connection:
                assert marks(await until(connection, is_last)) == expected
            assert [query["after"] for query in gateway.connections] == ["0", str(seq - 1)]


async def test_an_event_that_is_always_left_out_is_told_as_a_gap() -> None:
    async with ScriptedGateway(hidden=deque([3] * 3)).serving() as gateway:
        fill(gateway)
        async with connecting(gateway, Position.BEGINNING) as connection:
            events = await until(connection, is_last)
        assert marks(events) == ["1", "2", "gap", "4", "5", "6", "s1", "s2", "7", "s3", "8"]
        assert events[2].data == {"stream": "events", "from": 3, "to": 3, "reason": "missing"}


async def test_the_position_of_one_client_continues_in_another() -> None:
    async with ScriptedGateway().serving() as gateway:
        expected = fill(gateway)
        got: list[str] = []
        position: Position | None = Position.BEGINNING
        while len(got) < len(expected):
            async with connecting(gateway, position) as connection:
                got += marks([await anext(connection)])
                position = connection.position
        assert got == expected
        assert position == Position("aaaaaaaa", 8, 3)


async def test_without_a_position_only_what_comes_from_now_on_is_given() -> None:
    async with ScriptedGateway().serving() as gateway:
        fill(gateway)
        async with connecting(gateway) as connection:
            assert connection.position == Position("aaaaaaaa", 8, 3)
            await holds(lambda: connection.connected)
            gateway.add("token", token="new")
            assert marks([await anext(connection)]) == ["9"]


async def test_ephemeral_events_are_given_live() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        gateway.tell("stt", text="wh", is_final=False)
        gateway.tell("something_new", x=1)
        assert marks([await anext(connection), await anext(connection)]) == ["stt", "something_new"]


async def test_a_frame_that_is_no_event_makes_the_client_connect_again() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        gateway.tell("gap")
        gateway.add("token", token="a")
        assert marks([await anext(connection)]) == ["1"]
        assert len(gateway.connections) == 2


async def test_a_slow_application_gets_everything_over_one_connection() -> None:
    options = replace(QUICK, inbox_events=4)
    async with ScriptedGateway().serving() as gateway:
        for number in range(400):
            gateway.add("token", token=f"{number} " + "x" * 2_000)
        async with connecting(gateway, Position.BEGINNING, options=options) as connection:
            events = []
            async for event in connection:
                events.append(event)
                await asyncio.sleep(0)
                if event.seq == 400:
                    break
        assert [event.seq for event in events] == list(range(1, 401))
        assert len(gateway.connections) == 1


async def test_an_answer_is_not_stuck_behind_events_that_nobody_takes() -> None:
    options = replace(QUICK, inbox_events=4)
    async with ScriptedGateway().serving() as gateway:
        for number in range(60):
            gateway.add("token", token=str(number))
        async with connecting(gateway, Position.BEGINNING, options=options) as connection, asyncio.timeout(10):
            first = await anext(connection)
            ack = await connection.send_text("in between")
            rest = await until(connection, lambda event: event.seq == 61)
        assert ack.seq == 61
        assert [event.seq for event in [first, *rest]] == list(range(1, 62))
        assert len(gateway.effects) == 1
        assert len(gateway.connections) > 1, "events were heaped up"


async def test_what_comes_live_while_events_are_skipped_is_not_lost() -> None:
    options = replace(QUICK, inbox_events=2)
    async with ScriptedGateway().serving() as gateway:
        async with connecting(gateway, options=options) as connection, asyncio.timeout(10):
            await holds(lambda: connection.connected)
            for _ in range(10):
                gateway.add("token", token="early")
            await connection.send_text("a")
            for _ in range(10):
                gateway.add("token", token="late")
            await connection.send_text("b")
            events = await until(connection, lambda event: event.seq == 22)
        assert [event.seq for event in events] == list(range(1, 23))
