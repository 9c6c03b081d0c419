"""`/ai/health` and the metrics of the whole: which parts there are, how they are and why."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from integration.gateway.here import gateway_here
from support.processes import service
from support.sessions import open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.presence import WorkerState
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES, Stage
from voicebus_stack.ports import free_port


@pytest.fixture
def prefix() -> str:
    """An installation of the test's own: nobody else's workers are in it."""
    return f"h{uuid4().hex[:8]}"


@pytest.fixture
async def bus(redis_url: str, prefix: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=prefix, partitions=4)) as opened:
        yield opened


@pytest.fixture
async def http(redis_url: str, prefix: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        gateway_here(redis_url, redis_prefix=prefix) as gateway,
        httpx2.AsyncClient(base_url=gateway.url) as client,
    ):
        _, body = await health(client, lambda body: set(body["parts"].values()) == {"ok"} and bool(body["stages"]))
        assert set(body["parts"].values()) == {"ok"}
        yield client


def worker(stage: Stage, name: str = "", **said: object) -> WorkerState:
    common = {"version": "1", "status": "ready", "capacity": 8, "held": 2, "started_at": datetime.now(UTC)}
    return WorkerState.model_validate({"name": name or f"{stage}-1", "stage": stage, **common, **said})


async def health(http: httpx2.AsyncClient, wanted: Callable[[Any], bool]) -> tuple[int, Any]:
    """The first answer that is as wanted, or the last one after some seconds."""
    until = time.monotonic() + 20
    while True:
        answer = await http.get("/ai/health")
        if wanted(answer.json()) or time.monotonic() > until:
            return answer.status_code, answer.json()
        await asyncio.sleep(0.1)


async def test_a_stage_without_a_worker_degrades_the_whole_and_says_so(bus: Bus, http: httpx2.AsyncClient) -> None:
    await bus.presence.announce(worker("stt"))
    await bus.presence.announce(worker("agent", details={"model": "rules", "mcp:toolbox": "up, 4 tools"}))
    status, body = await health(http, lambda body: body["stages"].get("agent", {}).get("workers") == 1)
    assert (status, body["status"]) == (200, "degraded")
    assert set(body["parts"].values()) == {"ok"}
    states = {stage: (found["state"], found["reason"]) for stage, found in body["stages"].items()}
    assert states == {"stt": ("healthy", ""), "agent": ("healthy", ""), "tts": ("degraded", "no tts worker")}
    (listed,) = body["stages"]["agent"]["listed"]
    assert (listed["name"], listed["state"], listed["held"], listed["capacity"]) == ("agent-1", "ready", 2, 8)
    assert listed["details"] == {"model": "rules", "mcp:toolbox": "up, 4 tools"}


async def test_a_tool_server_that_is_down_degrades_its_stage(bus: Bus, http: httpx2.AsyncClient) -> None:
    await bus.presence.announce(worker("agent", details={"mcp:toolbox": "up, 4 tools", "mcp:lights": "down"}))
    _, body = await health(http, lambda body: body["stages"].get("agent", {}).get("workers") == 1)
    agent = body["stages"]["agent"]
    assert (agent["state"], agent["reason"]) == ("degraded", "mcp:lights down")


async def test_the_whole_is_healthy_with_a_ready_worker_of_each_stage(bus: Bus, http: httpx2.AsyncClient) -> None:
    for stage in STAGES:
        await bus.presence.announce(worker(stage))
    status, body = await health(http, lambda body: body["status"] == "healthy")
    assert (status, body["status"]) == (200, "healthy")


async def test_a_worker_that_fails_says_why(bus: Bus, http: httpx2.AsyncClient) -> None:
    for stage in STAGES:
        await bus.presence.announce(worker(stage))
    failing = worker("tts", "tts-2", status="failing", failures={"subscriptions": "Published messages do not arrive."})
    await bus.presence.announce(failing)
    _, body = await health(http, lambda body: body["stages"].get("tts", {}).get("workers") == 2)
    tts = body["stages"]["tts"]
    assert (body["status"], tts["state"], tts["reason"]) == ("degraded", "degraded", "1 of 2 workers not ready")
    assert [(each["state"], each["reason"]) for each in tts["listed"]] == [
        ("ready", ""),
        ("failing", "subscriptions: Published messages do not arrive."),
    ]


async def test_what_waits_is_told_without_naming_sessions(bus: Bus, http: httpx2.AsyncClient) -> None:
    session_id = await open_session(bus, "hello")
    _, body = await health(http, lambda body: body["stages"].get("agent", {}).get("waiting") == 1)
    agent = body["stages"]["agent"]
    assert agent["waiting"] == 1
    assert 0 <= agent["oldest_waiting_s"] < 30
    assert session_id not in str(body)
    metrics = (await http.get("/metrics")).text
    assert 'voicebus_backlog_sessions{stage="agent"} 1.0' in metrics
    assert session_id not in metrics


async def test_a_real_worker_is_listed_and_gone_after_its_end(
    redis_url: str, prefix: str, http: httpx2.AsyncClient
) -> None:
    port = free_port()
    settings = {"REDIS_URL": redis_url, "REDIS_PREFIX": prefix, "PARTITIONS": "4", "HEALTH_PORT": str(port)}

    def alone() -> Any:
        return service("tts_worker", port, **settings, TTS_ENGINE="instant")

    running = alone()
    await asyncio.to_thread(running.__enter__)
    try:
        _, body = await health(http, lambda body: body["stages"].get("tts", {}).get("state") == "healthy")
        (listed,) = body["stages"]["tts"]["listed"]
        assert (listed["state"], listed["held"], listed["capacity"]) == ("ready", 0, 200)
        assert listed["details"]["engine"] == "instant"
        assert (await http.get("/metrics")).text.count('voicebus_workers{stage="tts"} 1.0') == 1
    finally:
        await asyncio.to_thread(running.__exit__, None, None, None)
    _, body = await health(http, lambda body: body["stages"]["tts"]["workers"] == 0)
    assert body["stages"]["tts"]["reason"] == "no tts worker"


async def test_what_redis_says_of_itself_is_in_the_metrics(http: httpx2.AsyncClient) -> None:
    text = (await http.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("voicebus_redis_")]
    found = {line.split("{")[0].split(" ")[0]: float(line.split()[-1]) for line in lines}
    assert found["voicebus_redis_up"] == 1
    assert found["voicebus_redis_memory_used_bytes"] > 100_000
    assert found["voicebus_redis_connected_clients"] >= 1
    assert found["voicebus_redis_commands_processed_total"] > 0
    assert found["voicebus_redis_aof_last_write_ok"] == 1
    assert found["voicebus_redis_keys"] > 0
