"""`POST …/say`: what is taken, what is refused, and what clients of the session see of it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import orjson
import pytest
from integration.gateway.here import gateway_here
from pydantic import SecretStr
from support.processes import SECRET, RunningGateway, bearer_of
from support.sessions import events_of, open_session
from support.wire import wire

from gateway.auth import issue_token
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus
from voicebus.contract.events import Activity
from voicebus.contract.mail import Say
from voicebus.contract.sessions import Cut, HistoryEntry


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    """As Alice, who owns what `open_session` opens."""
    headers = bearer_of("alice") | {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20) as client:
        yield client


def path_of(session_id: str) -> str:
    return f"/ai/sessions/{session_id}/say"


async def said(bus: Bus, session_id: str) -> list[object]:
    return [event.data.content for event in await events_of(bus, session_id) if isinstance(event, Activity)]


async def test_it_is_acknowledged_and_every_client_sees_that_it_will_be_said(
    gateway: RunningGateway, gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient
) -> None:
    async with wire(gateway, session_id) as client:
        await client.until("welcome")
        answer = await http.post(path_of(session_id), json={"id": "m1", "content": "Dinner is ready. 🍲"})
        seen = await client.until("activity")
    assert (answer.status_code, answer.json()) == (202, {"id": "m1", "seq": 2, "turn": 1})
    assert (seen["seq"], seen["turn"]) == (2, 1)
    assert seen["data"] == {"activity_type": "say", "content": "Dinner is ready. 🍲"}
    lease = await gateway_bus.stages("agent", "agent-1").lease(session_id)
    assert lease is not None
    delivery = await lease.next()
    assert delivery is not None
    assert delivery.mail == Say(turn=1, id="m1", content="Dinner is ready. 🍲")


async def test_the_same_message_again_is_said_once(gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient) -> None:
    body = {"id": "m1", "content": "Dinner is ready."}
    first, again = [await http.post(path_of(session_id), json=body) for _ in range(2)]
    assert (again.status_code, again.json()["seq"]) == (202, first.json()["seq"])
    other = await http.post(path_of(session_id), json=body | {"content": "Supper is ready."})
    assert (other.status_code, other.json().get("code")) == (409, "id_conflict")
    assert await said(gateway_bus, session_id) == ["Dinner is ready."]


async def test_it_can_take_the_place_of_what_goes_on(
    gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient
) -> None:
    await gateway_bus.inbox.submit(session_id, "tell me a story", agent_type="personal")
    await http.post(path_of(session_id), json={"content": "Fire!", "on_busy": "interrupt"})
    kinds = [event.type for event in await events_of(gateway_bus, session_id)]
    assert kinds == ["session_start", "user", "interrupted", "activity"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "bad_message"),
        ({"content": ""}, 422, "bad_message"),
        ({"content": " \n\t\u2003"}, 422, "bad_message"),
        ({"content": 7}, 422, "bad_message"),
        ({"content": None}, 422, "bad_message"),
        ({"content": "x", "on_busy": "shout"}, 422, "bad_message"),
        ({"content": "x", "id": ""}, 422, "bad_message"),
        ({"content": "x", "id": "i" * 65}, 422, "bad_message"),
        ({"content": "x" * 65_537}, 413, "message_too_big"),
        ({"content": "x" * 20_000_000}, 413, "message_too_big"),
        (b'{"content":"\\ud800"}', 422, "bad_message"),
        (b'{"content"', 400, "bad_json"),
        (b"[" * 60_000, 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_said_is_refused_at_the_door(
    gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient, body: Any, status: int, code: str
) -> None:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await http.post(path_of(session_id), content=content)
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert [event.type for event in await events_of(gateway_bus, session_id)] == ["session_start"]


async def test_a_long_text_has_a_bound_of_its_own(redis_url: str, gateway_bus: Bus, session_id: str) -> None:
    async with (
        gateway_here(redis_url, message_max=1_000_000) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as client,
    ):
        long, too_long = [await client.post(path_of(session_id), json={"content": "x" * n}) for n in (65_536, 65_537)]
    assert (long.status_code, too_long.status_code) == (202, 422)
    assert too_long.json().get("code") == "bad_message"
    assert len(await said(gateway_bus, session_id)) == 1


async def test_others_cannot_make_it_speak(gateway: RunningGateway, gateway_bus: Bus, session_id: str) -> None:
    answers = []
    settings = GatewaySettings(jwt_secret=SecretStr(SECRET))
    reading = {"Authorization": f"Bearer {issue_token(settings, 'alice', timedelta(hours=1), ['sessions:read'])}"}
    async with httpx2.AsyncClient(base_url=gateway.url, timeout=20) as client:
        for headers in ({}, bearer_of("mallory"), reading):
            answer = await client.post(path_of(session_id), json={"content": "Open the door."}, headers=headers)
            answers.append((answer.status_code, answer.json().get("code")))
    assert answers == [(401, "token_missing"), (404, "session_not_found"), (403, "scope_missing")]
    assert await said(gateway_bus, session_id) == []


async def test_a_session_that_ended_or_never_was_says_nothing(
    gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient
) -> None:
    await gateway_bus.sessions.end(session_id, "deleted")
    answers = [await http.post(path_of(name), json={"content": "Hello."}) for name in (session_id, "nobody", "a b")]
    assert [(answer.status_code, answer.json().get("code")) for answer in answers] == [
        (410, "session_ended"),
        (404, "session_not_found"),
        (404, "session_not_found"),
    ]


async def test_what_too_much_waits_before_is_refused(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(
        gateway_bus, *(str(number) for number in range(gateway_bus.settings.waiting_turns_max))
    )
    async with (
        gateway_here(redis_url) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as client,
    ):
        answer = await client.post(path_of(session_id), json={"content": "One more."})
    assert (answer.status_code, answer.json().get("code"), answer.json()["temporary"]) == (429, "overloaded", True)
    assert await said(gateway_bus, session_id) == []


async def test_it_counts_as_a_message(redis_url: str, gateway_bus: Bus, session_id: str) -> None:
    async with (
        gateway_here(redis_url, messages_per_session=2) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as client,
    ):
        answers = [await client.post(path_of(session_id), json={"content": f"Number {n}."}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].json().get("code") == "too_many_messages"
    assert len(await said(gateway_bus, session_id)) == 2


async def test_the_conversation_shows_it_as_something_that_the_assistant_said(
    gateway_bus: Bus, session_id: str, http: httpx2.AsyncClient
) -> None:
    entries = [
        HistoryEntry(turn=1, user="hello", assistant="Hi."),
        HistoryEntry(turn=2, user="", assistant="Dinner is ready."),
        HistoryEntry(turn=3, user="", assistant="Nobody heard this.", cut=Cut(heard="")),
    ]
    history = gateway_bus.keys.of(session_id).history
    await gateway_bus.calls.command("RPUSH", history, *(entry.dump() for entry in entries))
    shown = (await http.get(f"/ai/sessions/{session_id}")).json()["history"]
    assert [(message["turn"], message["role"], message["content"]) for message in shown] == [
        (1, "user", "hello"),
        (1, "assistant", "Hi."),
        (2, "assistant", "Dinner is ready."),
    ]


async def test_an_idempotency_key_is_as_good_as_an_id(http: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    for _ in range(2):
        answer = await http.post(path_of(session_id), json={"content": "once"}, headers={"Idempotency-Key": "k1"})
        assert answer.is_success
    assert await said(gateway_bus, session_id) == ["once"]
    other = {"content": "once", "id": "k2"}
    refused = await http.post(path_of(session_id), json=other, headers={"Idempotency-Key": "k1"})
    assert refused.json()["code"] == "id_conflict"
