"""What a session is made with reaches whom it concerns: its context the model, its mode the voice, its ttl its end."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from integration.agent_worker.stage import Conversation, Scripted, agent, greet, no_tools
from integration.gateway.here import gateway_here
from support.processes import bearer_of
from support.wire import wire

from gateway import app
from voicebus.bus.bus import Bus


@pytest.fixture
async def http(redis_url: str, bus: Bus) -> AsyncIterator[httpx2.AsyncClient]:
    """On a bus of its own: the agent of a test would work at what other tests left."""
    async with (
        gateway_here(redis_url, redis_prefix=bus.settings.prefix) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as client,
    ):
        yield client


@pytest.mark.parametrize(("mode", "sentences"), [("text", 0), ("voice", 1)])
async def test_the_context_reaches_the_model_and_the_mode_decides_whether_it_is_spoken(
    http: httpx2.AsyncClient, bus: Bus, mode: str, sentences: int
) -> None:
    made = await http.post("/ai/sessions", json={"mode": mode, "context": {"city": "Trondheim", "pets": ["Laika"]}})
    session_id = made.json()["session_id"]
    scripted = Scripted(greet)
    async with no_tools() as tools, agent(bus, scripted, tools):
        answer = await http.post(f"/ai/sessions/{session_id}/message?wait=true", json={"content": "good morning"})
    assert answer.status_code == 200
    assert answer.json()["response"]["content"] == "Hello, you said good morning."
    assert answer.json()["response"]["segments"] == sentences
    assert len(await Conversation(bus, session_id).sentences()) == sentences
    told = str(scripted.infos[0].instructions)
    assert "Trondheim" in told
    assert "Laika" in told


async def test_an_idle_session_ends_by_itself(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "_END_IDLE_EVERY_S", 0.05)
    async with (
        gateway_here(redis_url) as gateway,
        httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as http,
    ):
        session_id = (await http.post("/ai/sessions", json={"ttl_s": 1})).json()["session_id"]
        busy = (await http.post("/ai/sessions", json={"ttl_s": 600})).json()["session_id"]
        async with wire(gateway, session_id) as client:
            assert (await client.until("session_end"))["data"] == {"reason": "idle"}
            assert await client.close_code() == 4510
        shown = (await http.get(f"/ai/sessions/{session_id}")).json()
        assert (shown["status"], shown["position"]["seq"]) == ("ended", 2)
        refused = await http.post(f"/ai/sessions/{session_id}/message", json={"content": "too late"})
        assert (refused.status_code, refused.json()["code"]) == (410, "session_ended")
        assert (await http.get(f"/ai/sessions/{busy}")).json()["status"] == "open"
