"""A configuration that can't work is told in one line, whatever was started before."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AGENT_MODEL", "no-such-model", "no-such-model"),
        ("AGENT_INSTRUCTIONS_FILE", "no-such-file", "no-such-file"),
        ("MCP_CONFIG", "no-such-config.json", "no-such-config.json"),
    ],
)
def test_what_is_wrong_with_the_configuration_is_one_line_and_no_traceback(
    redis_url: str, tmp_path: Path, variable: str, value: str, words: str
) -> None:
    environment = os.environ | {"REDIS_URL": redis_url, "HEALTH_PORT": "0", "LOG_FORMAT": "json", variable: value}
    ended = subprocess.run(
        [sys.executable, "-m", "agent_worker"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (ended.stdout + ended.stderr).splitlines()
    assert ended.returncode == 1, said
    last = json.loads(said[-1])
    assert last["event"] == "service_unusable"
    assert words in last["reason"]
    assert not any("Traceback" in line for line in said)
