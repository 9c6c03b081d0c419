"""A tool call that waits for a person, through a real gateway: asked, seen by who comes late, decided."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict

import pytest
from integration.agent_worker.approving import guarded_agent
from integration.agent_worker.http_tools import HttpTools, running_http_tools
from integration.agent_worker.stage import Scripted, Step, call, results
from pydantic_ai.messages import ModelMessage
from support.processes import SECRET, RunningGateway, gateway_process
from support.sessions import open_session
from support.wire import Wire, wire

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus_client import Voicebus
from voicebus_stack.tokens import make_token


def noting(messages: list[ModelMessage]) -> list[Step]:
    if found := results(messages):
        return [f"{found[0].outcome}: {found[0].content}"]
    return [call("note", text="n")]


PREFIX = "gwapp"  # of its own: the agent would work at what other tests left


@pytest.fixture(scope="module")
def gateway(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX) as running:
        yield running


@pytest.fixture(scope="module")
def other_gateway(redis_url: str) -> Iterator[RunningGateway]:
    with gateway_process(redis_url, PREFIX) as running:
        yield running


@pytest.fixture
async def gateway_bus(redis_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=PREFIX, partitions=4)) as bus:
        yield bus


@pytest.fixture(scope="module")
def tool_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpTools]:
    with running_http_tools(tmp_path_factory.mktemp("tools")) as tools:
        yield tools


@pytest.fixture
async def notes(gateway_bus: Bus, tool_process: HttpTools) -> AsyncIterator[Callable[[], list[str]]]:
    """There is an agent whose tool `note` needs an approval; tells what was noted."""
    tool_process.clear()
    tool_process.touch("go")
    async with guarded_agent(gateway_bus, Scripted(noting), tool_process):
        yield lambda: tool_process.lines("notes")


async def types_until_response(client: Wire) -> list[str]:
    await client.until("response")
    return [message["type"] for message in client.seen if message.get("seq")]


async def test_one_client_decides_and_the_others_see_what_comes_of_it(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus, notes: Callable[[], list[str]]
) -> None:
    session_id = await open_session(gateway_bus, mode="text")
    async with (
        wire(gateway, session_id) as alice,
        wire(other_gateway, session_id) as watching,
    ):
        await watching.until("welcome")
        await alice.send(type="text", id="m1", content="note it")
        request = (await alice.until("tool_approval_request"))["data"]
        await watching.until("tool_approval_request")
        decision = {"tool_call_id": request["tool_call_id"], "approved": True}
        await alice.send(type="tool_approval", id="m2", **decision)
        await alice.send(type="tool_approval", id="m2", **decision)
        await alice.until(lambda message: message["type"] == "ack" and message["data"]["id"] == "m2")
        await watching.send(type="tool_approval", id="m3", tool_call_id=request["tool_call_id"], approved=False)
        refused = await watching.until(lambda message: message["type"] in {"ack", "error"})
        assert refused["type"] == "error"
        assert (refused["data"]["code"], refused["data"]["ref"]) == ("unknown_approval", "m3")
        seen = ["user", "tool_approval_request", "tool_call", "tool_result", "token", "response"]
        assert [kind for kind in await types_until_response(alice) if kind != "ack"] == seen
        assert await types_until_response(watching) == seen
        acks = [message["data"]["id"] for message in alice.seen if message["type"] == "ack"]
        assert acks == ["m1", "m2", "m2"]
    assert notes() == ["n"]


async def test_who_could_not_be_told_finds_the_request_in_the_snapshot_and_over_rest(
    gateway: RunningGateway, gateway_bus: Bus, notes: Callable[[], list[str]]
) -> None:
    session_id = await open_session(gateway_bus, mode="text")
    async with wire(gateway, session_id) as alice:
        await alice.send(type="text", id="m1", content="note it")
        request = (await alice.until("tool_approval_request"))["data"]
    await gateway_bus.calls.command("XTRIM", gateway_bus.keys.of(session_id).log, "MAXLEN", 0)
    async with wire(gateway, session_id, "?after=0") as late:
        snapshot = await late.until("state_snapshot")
        assert snapshot["data"]["state"]["approvals"] == [request]
    async with Voicebus(gateway.url, make_token(SECRET, "alice")) as client:
        (shown,) = (await client.session(session_id)).approvals
        assert asdict(shown) == request
        async with client.connect(session_id) as connection:
            await connection.approve_tool(shown.tool_call_id, approved=False, reason="not now")
            async for event in connection:
                if event.type == "response":
                    break
        assert event.data["content"].endswith("the user denied it, saying: not now")
        assert (await client.session(session_id)).approvals == ()
    assert not notes()
