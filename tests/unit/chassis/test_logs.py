"""Logs: one JSON object a line, with what was bound, and one canonical line at the end of a piece of work."""

import json
import subprocess
import sys

from voicebus.chassis.logs import trace_id

SCRIPT = """
import logging, structlog
from voicebus.chassis.logs import canonical_line, configure_logs
configure_logs("a-service", output="json")
with canonical_line("turn", session_id="s1", turn=3, stage="agent") as line:
    structlog.get_logger().info("inside")
    line["tokens"] = 7
logging.getLogger("somebody.else").warning("from a library")
try:
    with canonical_line("turn", session_id="s1", turn=4, stage="agent"):
        raise ValueError("no")
except ValueError:
    pass
structlog.get_logger().info("outside")
"""


def test_lines_are_json_with_session_turn_and_trace_while_they_are_bound() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    inside, turn, library, failed, outside = (json.loads(line) for line in ran.stderr.splitlines())
    bound = {"service": "a-service", "session": "s1", "turn": 3, "trace": trace_id("s1", 3)}
    assert bound.items() <= inside.items()
    assert (bound | {"event": "turn", "tokens": 7, "outcome": "ok", "stage": "agent"}).items() <= turn.items()
    assert turn["duration_ms"] >= 0
    assert (library["event"], library["level"]) == ("from a library", "warning")
    assert failed["outcome"] == "ValueError"
    assert "session" not in outside


def test_a_turns_trace_is_the_same_everywhere_and_its_own() -> None:
    assert trace_id("s1", 3) == trace_id("s1", 3)
    assert len({trace_id("s1", 3), trace_id("s1", 4), trace_id("s2", 3)}) == 3
    assert len(trace_id("s1", 3)) == 32
