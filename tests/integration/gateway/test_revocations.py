"""Tokens that are void before they expire, at every gateway and on connections that are open."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from integration.gateway.here import gateway_here
from integration.gateway.test_tokens import answer, bearer
from jose import jwt
from support.process_tree import until
from support.processes import SECRET, RunningGateway
from support.sessions import open_session
from support.wire import wire

from gateway.auth import Caller
from gateway.revocations import Revocations
from voicebus.bus.bus import Bus
from voicebus.contract.errors import Refused


def token(sub: str, **claims: Any) -> str:
    now = int(time.time())
    standard = {"sub": sub, "aud": "voicebus", "iss": "voicebus", "iat": now - 5, "exp": now + 600}
    claims = {name: value for name, value in (standard | claims).items() if value is not None}
    return str(jwt.encode(claims, SECRET, algorithm="HS256"))


async def revoke(gateway: RunningGateway, *, scope: str = "admin", **whose: str) -> httpx2.Response:
    headers = bearer(token("operator", scope=scope)) | {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        return await http.post("/ai/revocations", content=json.dumps(whose))


@pytest.fixture
def sub() -> str:
    return uuid4().hex


async def test_open_connections_close_within_a_second_at_both_gateways(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus, sub: str
) -> None:
    session_id = await open_session(gateway_bus, owner=sub, members=["friend"])
    mine, friends = bearer(token(sub)), bearer(token("friend"))
    async with (
        wire(gateway, session_id, additional_headers=mine) as one,
        wire(other_gateway, session_id, additional_headers=mine) as two,
        wire(other_gateway, session_id, additional_headers=friends) as friend,
    ):
        for client in (one, two, friend):
            await client.until("welcome")
        began = time.monotonic()
        assert (await revoke(gateway, user=sub)).status_code == 201
        assert [await one.close_code(), await two.close_code()] == [4401, 4401]
        took_s = time.monotonic() - began
        print(f"revoked: both connections closed after {took_s * 1000:.0f} ms")
        assert took_s < 1
        assert one.socket.close_reason == "token_revoked"
        await friend.send(type="ping")
        await friend.until("pong")
        assert not [got for got in friend.seen if got["type"] in {"error", "token_expiring"}]


async def test_a_void_token_is_refused_and_one_issued_later_is_taken(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus, sub: str
) -> None:
    session_id = await open_session(gateway_bus, owner=sub)
    until = (await revoke(gateway, user=sub)).json()["issued_until"]
    revoked_s = int(datetime.fromisoformat(until).timestamp())
    await asyncio.sleep(max(0.0, revoked_s + 1 - time.time()))  # tokens tell whole seconds
    later = token(sub, iat=int(time.time()))
    assert until.endswith("Z")
    for each in (gateway, other_gateway):
        assert await answer(each, token(sub)) == "token_revoked"
        assert await answer(each, token(sub, iat=None)) == "token_revoked"
        assert await answer(each, token("somebody else")) == "ok"
        assert await answer(each, later) == "ok"
    async with wire(gateway, session_id, additional_headers=bearer(later)) as client:
        await client.until("welcome")
        await client.send(type="auth", id="a", token=token(sub))
        assert (await client.until("error"))["data"]["code"] == "token_revoked"


async def test_one_login_of_a_user_can_be_ended(gateway: RunningGateway, gateway_bus: Bus, sub: str) -> None:
    session_id = await open_session(gateway_bus, owner=sub)
    phone, desk = bearer(token(sub, sid="phone" + sub)), bearer(token(sub, sid="desk" + sub))
    async with (
        wire(gateway, session_id, additional_headers=phone) as lost,
        wire(gateway, session_id, additional_headers=desk) as kept,
    ):
        await lost.until("welcome")
        await kept.until("welcome")
        assert (await revoke(gateway, login="phone" + sub)).is_success
        assert await lost.close_code() == 4401
        await kept.send(type="ping")
        await kept.until("pong")


async def test_a_gateway_that_starts_later_knows(
    gateway: RunningGateway, redis_url: str, sub: str, gateway_bus: Bus
) -> None:
    await revoke(gateway, user=sub)
    async with gateway_here(redis_url) as late:
        assert await answer(late, token(sub)) == "token_revoked"


async def test_what_was_revoked_while_a_gateway_was_deaf_is_made_up_for(
    gateway: RunningGateway, gateway_bus: Bus, sub: str
) -> None:
    session_id = await open_session(gateway_bus, owner=sub)
    async with wire(gateway, session_id, additional_headers=bearer(token(sub))) as client:
        await client.until("welcome")
        # As a revocation that nobody heard: it is only in the set when the connection that listens breaks.
        await gateway_bus.calls.command("ZADD", gateway_bus.keys.revoked, int(time.time()), f"user|{sub}")
        await gateway_bus.calls.command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await client.close_code() == 4401


async def test_a_gateway_forgets_what_redis_has_forgotten(bus: Bus, sub: str) -> None:
    long_ago_s = int(time.time()) - 100
    caller = Caller(sub, None, issued_s=long_ago_s)
    await bus.calls.command("ZADD", bus.keys.revoked, long_ago_s, f"user|{sub}")
    async with learning(bus, kept_s=60) as known:
        assert not admitted(known, caller)
        await bus.calls.command("DEL", bus.keys.revoked)
        known.lost()
        await until(lambda: admitted(known, caller))
        assert await bus.revocations.all() == {}


async def test_what_redis_has_lost_in_a_failover_it_gets_back(bus: Bus, sub: str) -> None:
    caller = Caller(sub, None, issued_s=int(time.time()) - 5)
    async with learning(bus, kept_s=60) as known:
        until_s = await bus.revocations.revoke("user", sub, keep_s=60)
        await until(lambda: not admitted(known, caller))
        await bus.calls.command("DEL", bus.keys.revoked)
        known.lost()
        async with asyncio.timeout(10):
            while await bus.revocations.all() != {f"user|{sub}": until_s}:  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.01)
        assert not admitted(known, caller)


async def test_a_login_of_no_name_is_nobodys(bus: Bus, sub: str) -> None:
    async with learning(bus, kept_s=60) as known:
        await bus.revocations.revoke("login", "None", keep_s=60)
        await until(lambda: not admitted(known, Caller(sub, None, login="None")))
        assert admitted(known, Caller(sub, None))


@asynccontextmanager
async def learning(bus: Bus, *, kept_s: int) -> AsyncIterator[Revocations]:
    known = Revocations(bus, kept_s=kept_s)
    running = asyncio.create_task(known.run())
    await known.ready.wait()
    try:
        yield known
    finally:
        running.cancel()


def admitted(known: Revocations, caller: Caller) -> bool:
    try:
        known.admit(caller)
    except Refused:
        return False
    return True


async def test_what_is_older_than_any_token_is_forgotten(bus: Bus) -> None:
    await bus.calls.command("ZADD", bus.keys.revoked, int(time.time()) - 100, "user|old", int(time.time()), "user|new")
    await bus.revocations.revoke("login", "x|y", keep_s=60)
    assert set(await bus.revocations.all()) == {"user|new", "login|x|y"}


@pytest.mark.parametrize(
    ("whose", "scope", "code"),
    [
        ({}, "admin", "bad_message"),
        ({"user": "a", "login": "b"}, "admin", "bad_message"),
        ({"user": ""}, "admin", "bad_message"),
        ({"user": "a" * 257}, "admin", "bad_message"),
        ({"somebody": "a"}, "admin", "bad_message"),
        ({"user": "half \ud800"}, "admin", "bad_message"),
        ({"user": "a"}, "sessions:write", "scope_missing"),
    ],
)
async def test_who_may_revoke_what(gateway: RunningGateway, whose: dict[str, str], scope: str, code: str) -> None:
    assert (await revoke(gateway, scope=scope, **whose)).json()["code"] == code


async def test_ending_a_session_closes_its_connections(gateway: RunningGateway, gateway_bus: Bus, sub: str) -> None:
    session_id = await open_session(gateway_bus, owner=sub)
    async with wire(gateway, session_id, additional_headers=bearer(token(sub))) as client:
        await client.until("welcome")
        began = time.monotonic()
        assert await answer(gateway, token(sub), "DELETE", f"/ai/sessions/{session_id}") == "ok"
        assert await client.close_code() == 4510
        assert time.monotonic() - began < 1


async def test_a_sid_that_is_no_text_is_refused(gateway: RunningGateway) -> None:
    assert await answer(gateway, token("ann", sid=7)) == "token_invalid"
