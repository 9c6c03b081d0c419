"""A session of several users, messages that are sent twice, and a session that is gone without a trace."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from uuid import uuid4

import httpx2
import pytest
from integration.gateway.neighbours import said_in
from support.processes import RunningGateway, bearer_of
from support.sessions import open_session
from support.wire import wire

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.emission import Emission
from voicebus.bus.settings import BusSettings
from voicebus.contract.events import Envelope
from voicebus.contract.mail import Sentence
from voicebus.contract.sessions import NewSession


def http_of(gateway: RunningGateway, sub: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of(sub), timeout=20)


async def listed(client: httpx2.AsyncClient) -> list[str]:
    return [session["session_id"] for session in (await client.get("/ai/sessions")).json()["sessions"]]


async def test_members_find_the_session_and_talk_in_it(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    names = {name: f"{name}-{uuid4().hex}" for name in ("ada", "bob", "mallory")}
    async with AsyncExitStack() as stack:
        ada, bob, mallory = [
            await stack.enter_async_context(http_of(here, names[name]))
            for here, name in ((gateway, "ada"), (other_gateway, "bob"), (gateway, "mallory"))
        ]
        made = await ada.post("/ai/sessions", json={"members": [names["bob"], names["ada"]]})
        session_id = made.json()["session_id"]
        own = (await bob.post("/ai/sessions")).json()["session_id"]
        assert await listed(ada) == [session_id]
        assert await listed(bob) == [own, session_id]
        assert await listed(mallory) == []
        async with (
            wire(gateway, session_id, sub=names["ada"]) as at_ada,
            wire(other_gateway, session_id, sub=names["bob"]) as at_bob,
            wire(gateway, session_id, sub=names["mallory"]) as at_mallory,
        ):
            assert await at_mallory.close_code() == 4403
            for client in (at_ada, at_bob):
                await client.until("welcome")
            sent = await bob.post(f"/ai/sessions/{session_id}/message", json={"id": "m1", "content": "hello from bob"})
            assert sent.status_code == 202
            await at_ada.send(type="text", id="m2", content="hello from ada")
            for client in (at_ada, at_bob):
                heard = [(await client.until("user"))["data"]["content"] for _ in range(2)]
                assert heard == ["hello from bob", "hello from ada"]
        refused = await mallory.post(f"/ai/sessions/{session_id}/message", json={"content": "let me in"})
        assert refused.json()["code"] == "session_not_found"
        assert (await bob.get(f"/ai/sessions/{session_id}")).json()["turn"] == 2
    assert await said_in(gateway_bus, session_id) == ["hello from bob", "hello from ada"]


@pytest.mark.parametrize("limit", [1, 3])
async def test_own_and_shared_sessions_are_paged_together(gateway: RunningGateway, limit: int) -> None:
    ada, bob = uuid4().hex, uuid4().hex
    async with http_of(gateway, ada) as at_ada, http_of(gateway, bob) as at_bob:
        made = []
        for client, members in [(at_ada, [bob]), (at_bob, []), (at_ada, []), (at_ada, [bob]), (at_bob, [ada])]:
            session = (await client.post("/ai/sessions", json={"members": members})).json()
            made.append((session["created_at"], session["session_id"], members))
        newest_first = [session_id for _, session_id, _ in sorted(made, reverse=True)]
        not_bobs = made[2][1]
        assert await paged(at_ada, limit) == [one for one in newest_first if one != made[1][1]]
        assert await paged(at_bob, limit) == [one for one in newest_first if one != not_bobs]


async def paged(client: httpx2.AsyncClient, limit: int) -> list[str]:
    found, query = list[str](), f"limit={limit}"
    while True:
        page = (await client.get(f"/ai/sessions?{query}")).json()
        found += [session["session_id"] for session in page["sessions"]]
        if page["next"] is None:
            return found
        query = f"limit={limit}&cursor={page['next']}"


async def test_who_is_made_a_member_a_thousand_times_keeps_what_is_theirs(bus: Bus) -> None:
    mine, _ = await bus.sessions.open(NewSession(), "ada")
    for _ in range(11):
        await asyncio.gather(*(bus.sessions.open(NewSession(members=("ada",)), "spammer") for _ in range(100)))
    owned, _ = await bus.sessions.of_user("ada", limit=1_000)
    assert [session.session_id for session in owned] == [mine.session_id]
    found, last = await bus.sessions.of_user("ada", limit=2_000, shared=True)
    assert (len(found), found[-1].session_id, last) == (1_001, mine.session_id, None)


@pytest.fixture
async def clients(gateway: RunningGateway, other_gateway: RunningGateway) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Alice at two gateways."""
    async with http_of(gateway, "alice") as one, http_of(other_gateway, "alice") as other:
        yield [one, other]


@pytest.mark.parametrize("named", ["header", "id", "both"])
async def test_a_message_that_is_sent_again_has_one_effect(
    clients: list[httpx2.AsyncClient], gateway_bus: Bus, named: str
) -> None:
    session_id = await open_session(gateway_bus)
    headers = {} if named == "id" else {"Idempotency-Key": "k1"}
    body = {"content": "once"} | ({} if named == "header" else {"id": "k1"})
    path = f"/ai/sessions/{session_id}/message"
    answers = await asyncio.gather(*(clients[n % 2].post(path, json=body, headers=headers) for n in range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert {(answer.json()["id"], answer.json()["seq"]) for answer in answers} == {("k1", 2)}
    assert await said_in(gateway_bus, session_id) == ["once"]
    other = await clients[1].post(path, json={"content": "another"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (409, "id_conflict")


async def test_a_key_and_an_id_that_differ_are_refused(clients: list[httpx2.AsyncClient], gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    answer = await clients[0].post(
        f"/ai/sessions/{session_id}/message", json={"id": "a", "content": "hello"}, headers={"Idempotency-Key": "b"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "id_conflict")
    assert await said_in(gateway_bus, session_id) == []


async def keys_of(bus: Bus, prefix: str) -> set[str]:
    return {key.decode() for key in await bus.calls.command("KEYS", f"{prefix}:*")} - {f"{prefix}:partitions"}


@pytest.mark.parametrize("how", ["deleted", "idle"])
async def test_an_ended_session_is_gone_without_a_trace(bus_settings: BusSettings, how: str) -> None:
    async with open_bus(replace(bus_settings, ended_kept_ms=300)) as bus:
        new = NewSession(members=("bob", "carol"), ttl_s=1)
        session, _ = await bus.sessions.open(new, "ada")
        name = session.session_id
        await bus.inbox.submit(name, "hello", agent_type="personal", message_id="m1")
        lease = await bus.stages("agent", "w").lease(name)
        assert lease is not None
        said = Emission(1, "r").history(b'{"turn":1}', keep=5).journal(b"{}")
        said.sentence(Sentence(turn=1, segment=0, text="Hello.", response_id="r"))
        speech = Envelope(session_id=name, turn=1)
        await lease.emit(said.speech(speech, bytes(640), segment=0, sample_rate=16_000, is_last=True))
        async with asyncio.timeout(10):
            if how == "deleted":
                await bus.sessions.end(name, "deleted")
            while (await bus.sessions.get(name)).status == "open":
                await bus.sessions.end_idle()
            assert len(await bus.sessions.of_user("carol", shared=True)) == 2
            while await keys_of(bus, bus_settings.prefix):
                await bus.sessions.end_idle()
                await asyncio.sleep(0.02)
