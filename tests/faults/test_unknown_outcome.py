"""An agent worker dies while a tool that may not be called twice is at work."""

import asyncio
import json
import random
import sys
from pathlib import Path

import pytest
from faults.comparison import Comparison
from faults.scenario import SEED, Outcome, Record
from faults.stage_workers import environment_of
from integration.agent_models.completions_server import completions_server
from integration.agent_tools.harness import lines
from integration.agent_worker.stage import converse
from support.process_tree import alive, until
from support.processes import WorkerPool

from agent_worker.calls import UNKNOWN
from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings

SERVER = Path(__file__).parent / "effects_server.py"
LATEST_S = 2.5  # in the tool's three seconds of sleep


@pytest.mark.timeout(240)
async def test_the_call_is_not_made_again_and_the_model_is_told_that_its_outcome_is_unknown(
    bus: Bus, bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    talk = await converse(bus)
    after_s = random.Random(SEED).uniform(0, LATEST_S)
    notes = tmp_path / f"{talk.session_id}.note"
    async with completions_server() as model:
        agents = agent_workers(bus_settings, tmp_path, model.base_url)
        try:
            agents.start()
            await asyncio.to_thread(agents.wait_ready)
            await talk.say("note hello")
            await until(lambda: lines(notes) == ["hello"])
            await asyncio.sleep(after_s)
            owner = await bus.calls.command("HGET", bus.keys.of(talk.session_id).session, "agent.owner")
            left = agents.kill(int(owner.rpartition(b"-")[2]))
            events = await talk.until("response")
            await until(lambda: not any(alive(process) for process in left))
        finally:
            agents.stop()
    told, found = model.requests[-1]["messages"][-1]["content"], Comparison()
    results = [event["data"] for event in events if event["type"] == "tool_result"]
    found.check("effects", ["hello"], lines(notes))
    found.check("calls", ["note"], [event["data"]["tool_name"] for event in events if event["type"] == "tool_call"])
    found.check("outcomes", [("unknown", True)], [(result["outcome"], result["is_error"]) for result in results])
    found.check("asked", ["user", "tool"], [request["messages"][-1]["role"] for request in model.requests])
    found.check("told", [True, True], [UNKNOWN in told, UNKNOWN in events[-1]["data"]["content"]])
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "kill -9 of the agent worker while a tool is at work that may not be called twice",
            "a turn with one call",
            f"1 kill, {after_s:.2f} s into the call",
            found.tally,
            remarks="its one effect, and the model is told that the outcome is unknown",
        )
    )


def agent_workers(bus_settings: BusSettings, folder: Path, model_url: str) -> WorkerPool:
    """One to be killed and one that stands by."""
    server = {"command": sys.executable, "args": [str(SERVER), str(folder)]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"effects": server}}))
    return WorkerPool(
        "agent_worker",
        2,
        folder,
        **environment_of(bus_settings),
        REDIS_URL=bus_settings.redis_url,
        LEASE_S="0.6",
        MCP_CONFIG=str(folder / "mcp.json"),
        AGENT_MODEL="openai:note",
        AGENT_BASE_URL=model_url,
        AGENT_TOOLS_READY_S="60",  # on a busy machine too
    )
