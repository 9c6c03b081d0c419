"""Which ends the client survives, which it reports, and how fast it notices."""

import asyncio
from collections import deque
from dataclasses import replace

import pytest
from integration.client.clients import QUICK, connecting, holds, marks, until
from integration.client.scripted_gateway import Refusal, ScriptedGateway

from voicebus_client.connection import Connection
from voicebus_client.errors import (
    Closed,
    Forbidden,
    SessionEnded,
    SessionNotFound,
    TooBig,
    Unauthorized,
    Unreachable,
    VoicebusError,
)

FINAL = [
    (1009, TooBig),
    (4001, SessionNotFound),
    (4003, Forbidden),
    (4401, Unauthorized),
    (4403, Forbidden),
    (4510, SessionEnded),
]
PASSING = [1001, 1011, 1012, 4429, 4508]


@pytest.mark.parametrize(("code", "kind"), FINAL)
async def test_a_final_refusal_is_raised_on_entering(code: int, kind: type[VoicebusError]) -> None:
    async with ScriptedGateway(refusals=deque([Refusal(code)])).serving() as gateway:
        with pytest.raises(kind):
            async with connecting(gateway):
                pass
        assert len(gateway.connections) == 1


@pytest.mark.parametrize(("code", "kind"), FINAL)
async def test_a_final_close_is_raised_behind_the_last_event(code: int, kind: type[VoicebusError]) -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        gateway.add("token", token="last")
        gateway.close_all(code)
        assert marks([await anext(connection)]) == ["1"]
        for _ in range(2):
            with pytest.raises(kind):
                await anext(connection)
        with pytest.raises(kind):
            connection.send_text("too late")
        assert len(gateway.connections) == 1


@pytest.mark.parametrize("code", PASSING)
async def test_after_a_passing_close_the_client_goes_on(code: int) -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        gateway.refusals = deque([Refusal(code), Refusal(code)])
        gateway.close_all(code)
        gateway.add("token", token="meanwhile")
        assert marks([await anext(connection)]) == ["1"]
        assert len(gateway.connections) == 4


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_gateway_that_is_unwell_is_tried_again(status: int) -> None:
    async with ScriptedGateway(http_refusals=deque([status] * 3)).serving() as gateway, connecting(gateway):
        assert len(gateway.connections) == 1
        assert not gateway.http_refusals


@pytest.mark.parametrize(("status", "kind"), [(401, Unauthorized), (403, Forbidden), (404, VoicebusError)])
async def test_a_refused_upgrade_is_final(status: int, kind: type[VoicebusError]) -> None:
    async with ScriptedGateway(http_refusals=deque([status])).serving() as gateway:
        with pytest.raises(kind) as raised:
            async with connecting(gateway):
                pass
        assert raised.value.status == status


async def test_the_end_of_the_session_ends_the_iteration() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        gateway.add("session_end", reason="deleted")
        gateway.close_all(4510, "session_ended")
        assert [event.type async for event in connection] == ["session_end"]
        with pytest.raises(SessionEnded):
            connection.send_text("too late")


async def test_after_the_end_of_the_session_a_break_is_not_mended() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        gateway.add("session_end", reason="idle")
        assert marks([await anext(connection)]) == ["1"]
        gateway.cut_all()
        assert [event async for event in connection] == []
        assert len(gateway.connections) == 1


async def test_a_normal_close_ends_the_iteration() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        gateway.close_all(1000)
        assert [event async for event in connection] == []


async def test_a_draining_gateway_is_left_when_it_says_so() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        began = asyncio.get_running_loop().time()
        gateway.tell("drain", reconnect_after_ms=150)
        await holds(lambda: len(gateway.connections) == 2)
        assert 0.15 <= asyncio.get_running_loop().time() - began < 1.0
        gateway.add("token", token="there")
        assert marks([await anext(connection)]) == ["1"]


async def test_a_gateway_that_drains_at_once_is_still_given_its_time() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        await holds(lambda: connection.connected)
        began = asyncio.get_running_loop().time()
        gateway.tell("drain", reconnect_after_ms=200)
        gateway.close_all(1012, "draining")
        await holds(lambda: len(gateway.connections) == 2)
        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_a_limit_is_waited_out_as_told() -> None:
    told = {"code": "too_many_connections", "message": "", "temporary": True, "retry_after_ms": 150}
    async with ScriptedGateway(refusals=deque([Refusal(4429, "too_many_connections", told)])).serving() as gateway:
        began = asyncio.get_running_loop().time()
        async with connecting(gateway):
            assert asyncio.get_running_loop().time() - began >= 0.15


@pytest.mark.parametrize("told", [True, False])
async def test_an_expired_token_is_replaced_by_a_fresh_one(told: bool) -> None:
    made = iter(["old", "new", "newer"])
    async with ScriptedGateway(good_token="old").serving() as gateway:
        async with connecting(gateway, token=lambda: next(made)) as connection:
            await holds(lambda: connection.connected)
            gateway.good_token = "new"
            if told:
                gateway.close_all(4401, "token_expired")
            else:
                gateway.cut_all()
            gateway.add("token", token="word")
            assert marks([await anext(connection)]) == ["1"]
        assert gateway.tokens == (["old", "new"] if told else ["old", "old", "new"])


async def test_each_token_that_expires_is_replaced() -> None:
    made = iter(["one", "two", "three"])
    async with ScriptedGateway(good_token="one").serving() as gateway:
        async with connecting(gateway, token=lambda: next(made)) as connection:
            for token in ("two", "three"):
                await holds(lambda: connection.connected)
                gateway.good_token = token
                gateway.close_all(4401, "token_expired")
                await _came_with(gateway, token)
            gateway.add("token", token="word")
            assert marks([await anext(connection)]) == ["1"]
        assert gateway.tokens == ["one", "two", "three"]


async def test_a_fresh_token_that_is_refused_too_is_final() -> None:
    made = iter(["bad", "worse", "worst"])
    async with ScriptedGateway(good_token="good").serving() as gateway:
        with pytest.raises(Unauthorized) as raised:
            async with connecting(gateway, token=lambda: next(made)):
                pass
        assert gateway.tokens == ["bad", "worse"]
        assert raised.value.code == "token_expired"


async def test_a_token_is_renewed_on_the_open_connection_before_it_expires() -> None:
    made = iter(["first", "second"])
    async with ScriptedGateway().serving() as gateway, connecting(gateway, token=lambda: next(made)) as connection:
        gateway.tell("token_expiring", expires_at="2026-01-01T00:00:00Z")
        await holds(lambda: gateway.received)
        assert gateway.received == [{"type": "auth", "token": "second"}]
        assert (await anext(connection)).type == "token_expiring"
        assert len(gateway.connections) == 1


async def test_a_message_before_the_welcome_does_not_break_the_connection() -> None:
    made = iter(["first", "second"])
    early = {"type": "token_expiring", "data": {"expires_at": "2026-01-01T00:00:00Z"}}
    async with ScriptedGateway(early=[early]).serving() as gateway, connecting(gateway, token=lambda: next(made)):
        await holds(lambda: gateway.received)
        assert gateway.received == [{"type": "auth", "token": "second"}]
        assert len(gateway.connections) == 1


async def test_a_silent_gateway_is_pinged() -> None:
    options = replace(QUICK, ping_interval_s=0.05)
    async with ScriptedGateway().serving() as gateway, connecting(gateway, options=options):
        await holds(lambda: gateway.pings >= 3)
        assert len(gateway.connections) == 1


async def test_the_gateways_ping_interval_counts_if_it_is_shorter() -> None:
    async with ScriptedGateway(ping_interval_s=0.05).serving() as gateway, connecting(gateway):
        await holds(lambda: gateway.pings >= 2)


async def test_a_gateway_that_does_not_answer_pings_is_given_up() -> None:
    options = replace(QUICK, ping_interval_s=0.05)
    async with ScriptedGateway(mute=True).serving() as gateway, connecting(gateway, options=options) as connection:
        await holds(lambda: len(gateway.connections) >= 2)
        gateway.mute = False
        await holds(lambda: connection.connected)
        gateway.add("token", token="word")
        assert marks(await until(connection, lambda event: event.seq == 1)) == ["1"]


async def test_entering_gives_up_where_nobody_answers(unused_tcp_port: int) -> None:
    options = replace(QUICK, first_timeout_s=0.2)
    with pytest.raises(Unreachable, match="not connected in time"):
        async with connecting(ScriptedGateway(), url=f"http://127.0.0.1:{unused_tcp_port}", options=options):
            pass


async def test_a_gateway_that_stays_away_is_given_up_if_asked() -> None:
    options = replace(QUICK, give_up_s=0.2)
    gateway = ScriptedGateway()
    async with gateway.serving():
        connection = connecting(gateway, options=options)
        await connection.__aenter__()
    try:
        with pytest.raises(Unreachable, match="offline for too long"):
            await until(connection, lambda _: False)
    finally:
        await connection.close()


async def test_closing_ends_whatever_waits() -> None:
    async with ScriptedGateway(mute=True).serving() as gateway, asyncio.TaskGroup() as group:
        async with connecting(gateway) as connection:
            ack = connection.send_text("never answered")
            reading = group.create_task(_failure(connection))
            await holds(lambda: gateway.connections)
        with pytest.raises(Closed):
            await ack
        assert await reading == "closed"
        assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("voicebus")]


async def _failure(connection: Connection) -> str:
    with pytest.raises(VoicebusError) as raised:
        await anext(connection)
    return raised.value.code


async def _came_with(gateway: ScriptedGateway, token: str) -> None:
    await holds(lambda: gateway.tokens[-1] == token)
