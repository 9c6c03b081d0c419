"""REST: what a session is made with, how the list of sessions is paged, and what waiting for an answer gives."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx2
import orjson
import pytest
from integration.gateway.here import gateway_here
from jose import jwt
from support.processes import SECRET, RunningGateway, bearer_of, gateway_process
from support.sessions import open_session
from support.wire import wire

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads


def http_of(gateway: RunningGateway, sub: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        base_url=gateway.url, headers=bearer_of(sub) | {"Content-Type": "application/json"}, timeout=20
    )


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """As Alice, who owns what `open_session` opens."""
    async with http_of(gateway, "alice") as client:
        yield client


@pytest.fixture
async def newcomer(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """A user without sessions."""
    async with http_of(gateway, uuid4().hex) as client:
        yield client


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def context(value: Any) -> bytes:
    return orjson.dumps({"context": value})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (context({"a": "x" * 20_000_000}), 413, "message_too_big"),
        (context({"a": "x" * 65_536}), 413, "message_too_big"),
        (b'{"context":{"a":"\\ud800"}}', 422, "bad_message"),
        (b'{"context":{"\\ud800":1}}', 422, "bad_message"),
        (b'{"context":{"\\ud800":NaN}}', 422, "bad_message"),
        (b'{"context":{"a":' + b"9" * 30 + b"}}", 422, "bad_message"),
        (b'{"context":' + nested(300) + b"}", 422, "bad_message"),
        (b"[" * 60_000, 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
        (b'{"agent_type":"\\ud800"}', 422, "bad_message"),
        (b'{"members":["\\ud800"]}', 422, "bad_message"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_session_that_cannot_be_kept_is_refused_at_the_door(
    newcomer: httpx2.AsyncClient, body: bytes, status: int, code: str
) -> None:
    answer = await newcomer.post("/ai/sessions", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await newcomer.get("/ai/sessions")).json()["sessions"] == []


async def test_a_body_without_a_length_is_not_read_on_behind_the_limit(newcomer: httpx2.AsyncClient) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while given < 50_000_000:
            given += 65_536
            yield b" " * 65_536

    try:
        answer = await newcomer.post("/ai/sessions", content=endless())
        assert (answer.status_code, answer.json()["code"]) == (413, "message_too_big")
    except httpx2.WriteError:  # refused before all was sent
        assert given < 50_000_000


async def test_a_context_has_a_bound_of_its_own(redis_url: str) -> None:
    async with gateway_here(redis_url, message_max=1_000_000) as gateway, http_of(gateway, uuid4().hex) as client:
        answer = await client.post("/ai/sessions", content=context({"a": "x" * 65_536}))
    assert (answer.status_code, answer.json()["code"]) == (413, "message_too_big")
    assert "context" in answer.json()["detail"]


async def test_a_deep_context_is_shown_as_it_was_given(newcomer: httpx2.AsyncClient) -> None:
    body = b'{"context":' + nested(100) + b"}"
    made = await newcomer.post("/ai/sessions", content=body)
    shown = await newcomer.get(made.headers["Location"])
    assert (made.status_code, shown.status_code) == (201, 200)
    assert shown.json()["context"] == orjson.loads(nested(100))


@pytest.mark.parametrize("query", ["cursor=nan", "cursor=inf", "cursor=-inf:x", "cursor=yesterday", "limit=many"])
async def test_a_bad_parameter_of_the_address_is_a_bad_query(newcomer: httpx2.AsyncClient, query: str) -> None:
    answer = await newcomer.get(f"/ai/sessions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_query")


@pytest.mark.parametrize("expires", [5 * 10**11, 10**40, float("inf")])
async def test_a_token_that_expires_beyond_all_calendars_is_invalid(gateway: RunningGateway, expires: float) -> None:
    claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": expires}
    token = jwt.encode(claims, SECRET, algorithm="HS256")
    async with httpx2.AsyncClient(base_url=gateway.url) as client:
        answer = await client.get("/ai/sessions", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_a_token_nested_too_deep_is_invalid(gateway: RunningGateway) -> None:
    header = base64.urlsafe_b64encode(b"[" * 9_000).decode()
    async with httpx2.AsyncClient(base_url=gateway.url) as client:
        answer = await client.get("/ai/sessions", headers={"Authorization": f"Bearer {header}.e30.e30"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


@pytest.mark.parametrize("limit", [1, 2, 7, 40])
async def test_sessions_made_in_the_same_millisecond_are_all_listed_once(
    newcomer: httpx2.AsyncClient, limit: int
) -> None:
    answers = await asyncio.gather(*(newcomer.post("/ai/sessions") for _ in range(40)))
    made = [answer.json() for answer in answers]
    newest_first = sorted(((one["created_at"], one["session_id"]) for one in made), reverse=True)
    assert await pages(newcomer, limit) == [session_id for _, session_id in newest_first]


async def test_a_session_that_is_gone_does_not_end_the_list(newcomer: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    made = [(await newcomer.post("/ai/sessions")).json()["session_id"] for _ in range(6)]
    gone = made.pop(2)
    await gateway_bus.calls.command("DEL", gateway_bus.keys.of(gone).session)
    assert sorted(await pages(newcomer, 2)) == sorted(made)


async def pages(client: httpx2.AsyncClient, limit: int) -> list[str]:
    """The sessions of all pages."""
    found, cursor = list[str](), None
    while True:
        params = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/ai/sessions", params=params)).json()
        found += [session["session_id"] for session in page["sessions"]]
        if (cursor := page["next"]) is None:
            return found


async def a_waiting_request(
    http: httpx2.AsyncClient, gateway: RunningGateway, bus: Bus, session_id: str
) -> tuple[asyncio.Task[httpx2.Response], Lease]:
    """A message that waits for its answer, and the lease of the agent that is to give it."""
    async with wire(gateway, session_id) as client:
        await client.until("welcome")
        waiting = asyncio.create_task(
            http.post(f"/ai/sessions/{session_id}/message?wait=true", json={"content": "hello"})
        )
        await client.until("user")
    lease = await bus.stages("agent", "w").lease(session_id)
    assert lease is not None
    return waiting, lease


async def test_a_sentence_that_cannot_be_spoken_does_not_end_the_wait(
    http: httpx2.AsyncClient, gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    waiting, lease = await a_waiting_request(http, gateway, gateway_bus, session_id)
    failed = payloads.ProblemData(code="tts_failed", message="A sentence could not be spoken.", temporary=True)
    answered = payloads.ResponseData(content="Here it is.", response_id="r")
    await lease.emit(Emission(1).event(events.Error(session_id=session_id, turn=1, data=failed)))
    await lease.emit(Emission(1).event(events.Response(session_id=session_id, turn=1, data=answered)))
    answer = await waiting
    assert answer.status_code == 200
    assert (answer.json()["response"]["type"], answer.json()["response"]["content"]) == ("response", "Here it is.")


async def test_the_end_of_the_session_ends_the_wait(
    http: httpx2.AsyncClient, gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    waiting, _ = await a_waiting_request(http, gateway, gateway_bus, session_id)
    await gateway_bus.sessions.end(session_id, "deleted")
    answer = await waiting
    assert (answer.status_code, answer.json()["response"]) == (200, {"type": "session_end", "reason": "deleted"})


async def test_a_turn_that_fails_ends_the_wait(
    http: httpx2.AsyncClient, gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    waiting, lease = await a_waiting_request(http, gateway, gateway_bus, session_id)
    failed = payloads.ProblemData(code="model_unavailable", message="No model.", temporary=True)
    await lease.emit(Emission(1).event(events.Error(session_id=session_id, turn=1, data=failed)))
    assert (await waiting).json()["response"]["code"] == "model_unavailable"


async def test_who_waits_at_a_gateway_that_goes_gets_the_ack(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    with gateway_process(redis_url, "gw", DRAIN_S="0.5") as gateway:
        async with http_of(gateway, "alice") as client:
            async with wire(gateway, session_id) as witness:
                await witness.until("welcome")
                waiting = asyncio.create_task(
                    client.post(f"/ai/sessions/{session_id}/message?wait=true", json={"id": "m1", "content": "hello"})
                )
                await witness.until("user")
            gateway.process.terminate()
            answer = await waiting
    assert (answer.status_code, answer.json()) == (202, {"id": "m1", "seq": 2, "turn": 1, "response": None})
