"""New input is refused while what waits for a worker waits too long, and taken again afterwards."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from integration.gateway.here import gateway_here
from support.processes import RunningGateway, bearer_of
from support.sessions import open_session
from support.wire import Wire, wire

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.emission import Emission
from voicebus.bus.presence import WorkerState
from voicebus.bus.settings import BusSettings

BUDGETS: dict[str, Any] = {"budget_agent_s": 0.5, "budget_stt_s": 0.5, "budget_tts_s": 0.5}


@pytest.fixture
async def late_bus(redis_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=f"ad{uuid4().hex[:6]}", partitions=4)) as bus:
        yield bus


@pytest.fixture
async def busy(redis_url: str, late_bus: Bus) -> AsyncIterator[RunningGateway]:
    async with gateway_here(redis_url, redis_prefix=late_bus.settings.prefix, **BUDGETS) as gateway:
        yield gateway


async def says(client: Wire, **message: Any) -> str:
    """'ok', or the code of the error."""
    message_id = uuid4().hex
    await client.send(id=message_id, **message)
    answer = await client.until(lambda got: message_id in (got["data"].get("id"), got["data"].get("ref")))
    return "ok" if answer["type"] in {"ack", "user"} else str(answer["data"]["code"])


async def until_it_is(client: Wire, outcome: str, **message: Any) -> None:
    async with asyncio.timeout(10):
        while await says(client, **message) != outcome:  # noqa: ASYNC110 - the gateway looks once a second
            await asyncio.sleep(0.1)


async def test_text_is_refused_while_the_agents_mail_is_late(busy: RunningGateway, late_bus: Bus) -> None:
    first = await open_session(late_bus)
    session_id = await open_session(late_bus)
    await late_bus.inbox.submit(first, "nobody works", agent_type="personal")
    async with wire(busy, session_id) as client:
        await client.until("welcome")
        await client.send(type="text", id="before", content="sent again")
        await client.until("ack")
        await until_it_is(client, "overloaded", type="text", content="hello")
        error = client.seen[-1]["data"]
        assert error["temporary"]
        assert 1_000 <= error["retry_after_ms"] <= 30_000
        microphone = {"type": "audio.start", "stream": "m", "format": "pcm16", "sample_rate": 16_000, "channels": 1}
        assert await says(client, **microphone) == "overloaded"
        assert await says(client, type="mode", mode="text") == "ok"  # what needs no worker
        await client.send(type="text", id="before", content="sent again")
        assert (await client.until(lambda got: got["type"] in {"ack", "error"}))["type"] == "ack"
        async with httpx2.AsyncClient(base_url=busy.url, headers=bearer_of("alice")) as http:
            refused = await http.post(f"/ai/sessions/{session_id}/message", json={"content": "hello"})
            assert (refused.status_code, refused.json()["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        stages = late_bus.stages("agent", "w")
        while waiting := await stages.waiting(range(4)):
            for each in waiting:
                lease = await stages.lease(each)
                assert lease is not None
                while delivery := await lease.next():
                    await lease.emit(Emission().cursor(delivery.id))
                await lease.release()
        await until_it_is(client, "ok", type="text", content="hello again")


async def test_what_a_worker_has_taken_and_not_begun_counts_as_waiting(busy: RunningGateway, late_bus: Bus) -> None:
    session_id = await open_session(late_bus)
    full = WorkerState(
        name="tts-1",
        stage="tts",
        version="1",
        status="ready",
        capacity=200,
        held=150,
        waited_s=3.0,
        started_at=datetime.now(UTC),
    )
    async with wire(busy, session_id) as client:
        await client.until("welcome")
        assert await says(client, type="text", content="speak to me") == "ok"
        assert await late_bus.stages("agent", "w").lease(session_id)
        await late_bus.presence.announce(full)
        await until_it_is(client, "overloaded", type="text", content="speak to me")
        await late_bus.presence.announce(full.model_copy(update={"waited_s": 0.0}))
        await until_it_is(client, "ok", type="text", content="speak to me")
