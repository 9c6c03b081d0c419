"""What users took: their own, and everybody's for administrators."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from integration.gateway.here import gateway_here
from integration.gateway.test_revocations import token
from support.processes import RunningGateway
from support.wire import wire


@pytest.fixture
async def counting(redis_url: str) -> AsyncIterator[RunningGateway]:
    async with gateway_here(redis_url, redis_prefix=f"st{uuid4().hex[:6]}") as gateway:
        yield gateway


async def ask(gateway: RunningGateway, sub: str, query: str = "", scope: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token(sub, scope=scope)}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        return (await http.get(f"/ai/stats{query}")).json()


async def use(gateway: RunningGateway, sub: str, *, messages: int) -> None:
    headers = {"Authorization": f"Bearer {token(sub)}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        session_id = (await http.post("/ai/sessions")).json()["session_id"]
        for i in range(messages):
            body = {"id": f"m{i}", "content": "hello"}
            assert (await http.post(f"/ai/sessions/{session_id}/message", json=body)).status_code == 202
            assert (await http.post(f"/ai/sessions/{session_id}/message", json=body)).status_code == 202  # again


async def test_own_usage_and_everybodys(counting: RunningGateway) -> None:
    month = datetime.now(UTC).strftime("%Y-%m")
    await use(counting, "ann", messages=3)
    await use(counting, "bob", messages=1)
    async with httpx2.AsyncClient(base_url=counting.url, headers={"Authorization": f"Bearer {token('ann')}"}) as http:
        session_id = (await http.post("/ai/sessions")).json()["session_id"]
    async with wire(counting, session_id, sub="ann") as client:
        await client.until("welcome")
        await client.send(type="audio.start", id="a", stream="mic", format="pcm16", sample_rate=16_000, channels=1)
        await client.until("ack")
        await client.socket.send(bytes(40_000))
        await client.until(lambda got: got["type"] == "audio_ack" and got["data"]["offset"] == 40_000)
        ann = {"user": "ann", "messages": 3, "sessions": 2, "audio_s": 2.0}
        assert await ask(counting, "ann") == {**ann, "month": month, "connections": 1}
    bob = {"user": "bob", "messages": 1, "sessions": 1, "audio_s": 0.0, "connections": None}
    assert await ask(counting, "root", "?all=true", "sessions:read admin") == {
        "month": month,
        "messages": 4,
        "sessions": 3,
        "audio_s": 2.0,
        "user_count": 2,
        "users": [{**ann, "connections": None}, bob],
    }
    assert (await ask(counting, "nobody"))["messages"] == 0
    assert (await ask(counting, "ann", "?month=2020-02"))["messages"] == 0
    assert (await ask(counting, "ann", "?all=true"))["code"] == "scope_missing"
    assert (await ask(counting, "ann", "?month=2020-13"))["code"] == "bad_query"
