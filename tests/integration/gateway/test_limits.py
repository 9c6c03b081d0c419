"""Limits that two gateways keep together, the warning before them, and what comes after."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr
from support.processes import SECRET, RunningGateway, bearer_of, gateway_process
from support.sessions import open_session
from support.wire import Wire, wire
from websockets.exceptions import ConnectionClosed

from gateway.limits import Limits
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings

PREFIX = "lim"
STRICT = {
    "MESSAGES_PER_SESSION": "5",
    "MESSAGES_PER_USER": "8",
    "AUDIO_S_PER_SESSION": "10",
    "AUDIO_S_PER_USER": "20",
    "ATTEMPTS_PER_ADDRESS": "5",
    "CONNECTIONS_PER_SESSION": "3",
    "CONNECTIONS_PER_USER": "4",
    "SESSIONS_PER_USER": "3",
    "TRUSTED_PROXIES": "127.0.0.1",
}
SECOND = bytes(32_000)


@pytest.fixture(scope="session")
def strict(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX, **STRICT) as running:
        yield running


@pytest.fixture(scope="session")
def other(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX, **STRICT) as running:
        yield running


@pytest.fixture
def sub() -> str:
    return uuid4().hex


@pytest.fixture
async def lim_bus(redis_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=PREFIX, partitions=4)) as bus:
        yield bus


async def new_session(gateway: RunningGateway, sub: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of(sub)) as http:
        return await http.post("/ai/sessions")


async def session_of(gateway: RunningGateway, sub: str) -> str:
    return str((await new_session(gateway, sub)).json()["session_id"])


async def is_gone(bus: Bus, key: str) -> None:
    async with asyncio.timeout(5):
        while await bus.calls.command("EXISTS", key):  # noqa: ASYNC110 - another process deletes it
            await asyncio.sleep(0.02)


async def says(client: Wire, text: str, **more: Any) -> str:
    """'ok', or the code of the error."""
    message_id = more.setdefault("id", uuid4().hex)
    await client.send(type="text", content=text, **more)
    answer = await client.until(lambda got: message_id in (got["data"].get("id"), got["data"].get("ref")))
    return "ok" if answer["type"] in {"ack", "user"} else str(answer["data"]["code"])


async def test_messages_of_a_session_count_at_both_gateways(
    strict: RunningGateway, other: RunningGateway, sub: str
) -> None:
    session_id = await session_of(strict, sub)
    async with wire(strict, session_id, sub=sub) as one, wire(other, session_id, sub=sub) as two:
        await one.until("welcome")
        await two.until("welcome")
        assert [await says(client, "hello", id=f"m{i}") for i, client in enumerate([one, two, one, two, one])] == [
            "ok"
        ] * 5
        assert await says(two, "too much") == "too_many_messages"
        error = two.seen[-1]["data"]
        assert error["temporary"]
        assert 0 < error["retry_after_ms"] <= 60_000
        assert await says(one, "hello", id="m1") == "ok"  # sent again: it was accepted before
        await one.send(type="ping")
        await one.until("pong")
        warnings = [got["data"]["code"] for client in (one, two) for got in client.seen if got["type"] == "warning"]
        assert warnings == ["limit_near"]
    async with httpx2.AsyncClient(base_url=other.url, headers=bearer_of(sub)) as http:
        refused = await http.post(f"/ai/sessions/{session_id}/message", json={"content": "by REST"})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_messages")
        assert int(refused.headers["retry-after"]) <= 60


async def test_messages_of_a_user_count_in_all_sessions(
    strict: RunningGateway, other: RunningGateway, sub: str
) -> None:
    outcomes = []
    for gateway in (strict, other):
        async with wire(gateway, await session_of(gateway, sub), sub=sub) as client:
            await client.until("welcome")
            outcomes += [await says(client, "hello") for _ in range(5)]
    assert outcomes == ["ok"] * 8 + ["too_many_messages"] * 2


async def test_no_more_sessions_are_opened_than_a_user_may_have(
    strict: RunningGateway, other: RunningGateway, sub: str
) -> None:
    gateways = [strict, other] * 10
    answers = await asyncio.gather(*(new_session(gateway, sub) for gateway in gateways))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [429] * 17
    assert "3 of 3 sessions are open." in {answer.headers.get("limit-near") for answer in answers}
    one_by_one = [(await new_session(gateway, sub + "2")).status_code for gateway in [strict, other] * 2]
    assert one_by_one == [201, 201, 201, 429]
    opened = next(answer for answer in answers if answer.is_success).json()["session_id"]
    async with httpx2.AsyncClient(base_url=other.url, headers=bearer_of(sub)) as http:
        assert (await http.delete(f"/ai/sessions/{opened}")).is_success
    refused = next(answer for answer in answers if not answer.is_success)
    assert refused.json()["code"] == "too_many_sessions"
    assert int(refused.headers["retry-after"]) <= 10


async def test_rest_warns_before_it_refuses(strict: RunningGateway, other: RunningGateway, sub: str) -> None:
    session_id = await session_of(strict, sub)
    heads = list[str | None]()
    for gateway in (strict, other, strict, other):
        async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of(sub)) as http:
            sent = await http.post(f"/ai/sessions/{session_id}/message", json={"content": "by REST"})
            heads.append(sent.headers.get("limit-near"))
    assert heads == [None, None, None, "4 of 5 messages in 60 s were sent."]


async def test_connections_count_at_both_gateways_until_they_close(
    strict: RunningGateway, other: RunningGateway, sub: str
) -> None:
    session_id = await session_of(strict, sub)
    async with wire(strict, session_id, sub=sub) as one, wire(other, session_id, sub=sub) as two:
        async with wire(other, session_id, sub=sub) as three:
            for client in (one, two, three):
                await client.until("welcome")
            warning = await three.until("warning")
            assert (warning["data"]["code"], warning["data"]["message"]) == (
                "limit_near",
                "3 of 3 connections are open.",
            )
            for client in (one, two):
                await client.send(type="ping")
                await client.until("pong")
                assert not [got for got in client.seen if got["type"] == "warning"]
            async with wire(strict, session_id, sub=sub) as refused:
                assert await refused.close_code() == 4429
                told = refused.seen[-1]
                assert (told["type"], told["data"]["code"]) == ("error", "too_many_connections")
                assert told["data"]["retry_after_ms"] > 0
        elsewhere = await session_of(strict, sub)
        async with wire(strict, elsewhere, sub=sub) as three, wire(other, elsewhere, sub=sub) as four:
            await three.until("welcome")
            await four.until("welcome")
            async with wire(strict, elsewhere, sub=sub) as refused:
                assert await refused.close_code() == 4429  # the user's limit, in all sessions


async def test_connections_of_a_gateway_that_died_do_not_count(
    strict: RunningGateway, redis_url: str, sub: str
) -> None:
    session_id = await session_of(strict, sub)
    with gateway_process(redis_url, PREFIX, **STRICT) as dying:
        async with AsyncExitStack() as stack:
            for _ in range(3):
                await (await stack.enter_async_context(wire(dying, session_id, sub=sub))).until("welcome")
            dying.process.kill()
        async with asyncio.timeout(8):
            while True:
                async with wire(strict, session_id, sub=sub) as back:
                    with suppress(ConnectionClosed):
                        await back.until("welcome")
                        break
        dying.process.wait(10)


async def test_audio_is_paid_for_once_and_comes_back_with_time(
    strict: RunningGateway, other: RunningGateway, sub: str
) -> None:
    session_id = await session_of(strict, sub)
    async with wire(strict, session_id, sub=sub) as one:
        await one.until("welcome")
        await one.send(type="audio.start", id="a", stream="mic", format="pcm16", sample_rate=16_000, channels=1)
        await one.until("ack")
        for _ in range(6):
            await one.socket.send(SECOND)
        await one.until(lambda got: got["type"] == "audio_ack" and got["data"]["offset"] == 6 * len(SECOND))
        assert not [got for got in one.seen if got["type"] in {"warning", "error"}]
        for _ in range(8):
            await one.socket.send(SECOND)
        error = await one.until("error")
        assert error["data"]["code"] == "too_much_audio"
        assert 0 < error["data"]["retry_after_ms"] < 10_000
        assert [got["data"]["code"] for got in one.seen if got["type"] == "warning"] == ["limit_near"]
        reached = max(got["data"]["offset"] for got in one.seen if got["type"] == "audio_ack")
    assert 7 * len(SECOND) <= reached <= 11 * len(SECOND)
    await asyncio.sleep(error["data"]["retry_after_ms"] / 1000)
    async with wire(other, session_id, sub=sub) as two:  # what was safe is not paid for again
        await two.until("welcome")
        start = {"type": "audio.start", "id": "b", "stream": "mic", "format": "pcm16", "sample_rate": 16_000}
        await two.send(**start, channels=1, offset=reached)
        assert (await two.until(lambda got: got["type"] in {"ack", "error"}))["type"] == "ack"
        await two.socket.send(SECOND[:3_200])
        await two.until(lambda got: got["type"] == "audio_ack" and got["data"]["offset"] > reached)


async def test_a_stream_of_the_same_name_is_paid_for_anew(strict: RunningGateway, sub: str) -> None:
    session_id, codes = await session_of(strict, sub), list[str]()
    async with wire(strict, session_id, sub=sub) as client:
        await client.until("welcome")
        for number in range(4):
            start = {"type": "audio.start", "id": f"a{number}", "stream": "mic", "format": "pcm16"}
            await client.send(**start, sample_rate=16_000, channels=1)
            answer = await client.until(lambda got: got["type"] in {"ack", "error"})
            codes.append(answer["data"].get("code", "ok"))
            if answer["type"] == "error":
                break
            for _ in range(4):
                await client.socket.send(SECOND)
            await client.send(type="audio.stop", id=f"b{number}", stream="mic")
            answer = await client.until(lambda got: got["type"] in {"ack", "error"})
            codes.append(answer["data"].get("code", "ok"))
    assert codes[:4] == ["ok"] * 4
    assert codes[-1] == "too_much_audio"


async def test_bad_tokens_on_an_open_connection_count_as_attempts(strict: RunningGateway, sub: str) -> None:
    session_id = await session_of(strict, sub)
    from_there = {"X-Forwarded-For": "192.0.2.77"} | bearer_of(sub)
    async with wire(strict, session_id, additional_headers=from_there) as client:
        await client.until("welcome")
        codes = []
        for number in range(7):
            await client.send(type="auth", id=f"a{number}", token="x.y.z")
            codes.append((await client.until("error"))["data"]["code"])
    assert codes == ["token_invalid"] * 5 + ["too_many_attempts"] * 2


async def test_who_is_not_authenticated_may_not_try_for_ever(strict: RunningGateway, other: RunningGateway) -> None:
    address = {"X-Forwarded-For": f"2001:db8:{uuid4().hex[:4]}::1"}
    neighbour = {"X-Forwarded-For": address["X-Forwarded-For"][:-1] + "2"}  # the same customer
    codes = []
    async with httpx2.AsyncClient() as http:
        for gateway, headers in zip([strict, other] * 4, [address, neighbour] * 4, strict=True):
            answer = await http.get(f"{gateway.url}/ai/sessions", headers={**headers, "Authorization": "Bearer x"})
            codes.append((answer.status_code, answer.json()["code"], "retry-after" in answer.headers))
        valid = await http.get(f"{strict.url}/ai/sessions", headers={**address, **bearer_of("somebody")})
        assert valid.is_success  # who has a token is not kept out by others behind the same address
    assert codes == [(401, "token_invalid", False)] * 5 + [(429, "too_many_attempts", True)] * 3
    async with wire(strict, "s", additional_headers={**address, "Authorization": "Bearer x"}) as client:
        assert await client.close_code() == 4429


async def test_nothing_is_left_of_what_was_counted(strict: RunningGateway, lim_bus: Bus, sub: str) -> None:
    session_id = await session_of(strict, sub)
    async with wire(strict, session_id, sub=sub) as client:
        await client.until("welcome")
        assert await says(client, "hello") == "ok"
    keys, user = lim_bus.keys.of(session_id), lim_bus.keys.user(sub)
    await is_gone(lim_bus, keys.connections)
    for key in (keys.messages, user.messages, user.opening):
        assert 0 < await lim_bus.calls.command("PTTL", key) <= 60_000
    assert await lim_bus.calls.command("EXISTS", user.connections) == 0


async def test_connections_are_renewed_in_parts_of_which_none_is_left_out(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = GatewaySettings(jwt_secret=SecretStr(SECRET), connections_per_session=100, connections_per_user=100)
    limits, sub = Limits(bus, settings), uuid4().hex
    session_id = await open_session(bus)
    places = (bus.keys.of(session_id).connections, bus.keys.user(sub).connections)

    async def ends() -> list[dict[str, int]]:
        """Until when each name counts, in both places."""
        replies = [await bus.calls.command("ZRANGE", place, 0, -1, "WITHSCORES") for place in places]
        return [{name.decode(): int(end) for name, end in zip(it[::2], it[1::2], strict=True)} for it in replies]

    entries = [await limits.enter(session_id, sub) for _ in range(30)]
    await limits.leave(entries.pop())
    before = await ends()
    names = {entry.name for entry in entries}
    assert [set(of_place) for of_place in before] == [names, names]
    monkeypatch.setattr("gateway.limits._RENEW_EVERY_S", 0.001)
    renewing = asyncio.create_task(limits.run())
    async with asyncio.timeout(20):
        while any(  # noqa: ASYNC110 - nobody tells
            end <= old[name] for old, new in zip(before, await ends(), strict=True) for name, end in new.items()
        ):
            await asyncio.sleep(0.01)
    renewing.cancel()
    assert [set(of_place) for of_place in await ends()] == [names, names]
