"""The agent worker as the process that it is in production."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from integration.agent_tools.harness import TOOL_SERVER
from integration.agent_worker.stage import converse
from support.processes import service

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_stack.ports import free_port


@pytest.fixture
def environment(bus_settings: BusSettings, tmp_path: Path) -> dict[str, str]:
    """Settings of a worker on the test's own keys, with the tests' own tools."""
    server = {"command": "${PYTHON}", "args": [TOOL_SERVER, "stdio", str(tmp_path)]}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"tools": server}}))
    return {
        "REDIS_URL": bus_settings.redis_url,
        "REDIS_PREFIX": bus_settings.prefix,
        "PARTITIONS": str(bus_settings.partitions),
        "HEALTH_PORT": str(free_port()),
        "LEASE_S": "0.6",
        "DRAIN_S": "3",
        "MCP_CONFIG": str(tmp_path / "mcp.json"),
        "AGENT_TOOLS_READY_S": "60",  # on a busy machine too
        "PYTHON": sys.executable,
    }


async def test_it_answers_with_a_tool_and_leaves_on_sigterm(bus: Bus, environment: dict[str, str]) -> None:
    talk = await converse(bus)
    with service("agent_worker", int(environment["HEALTH_PORT"]), **environment) as process:
        await talk.say("please add twenty and twenty two")
        events = await talk.until("response")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    (result,) = [event["data"] for event in events if event["type"] == "tool_result"]
    assert (result["tool_name"], result["result"]) == ("add", 42)
    assert "42" in events[-1]["data"]["content"]
    assert events[-1]["data"]["intent"] == "add"
    assert events[-1]["data"]["confidence"] > 0


def test_what_is_configured_wrongly_ends_it_with_the_reason(environment: dict[str, str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "agent_worker"],
        env=os.environ | environment | {"MCP_CONFIG": "/nowhere/mcp.json"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 1
    assert "/nowhere/mcp.json: No such file or directory" in finished.stderr
    assert "Traceback" not in finished.stderr
