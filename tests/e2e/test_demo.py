"""`make demo`, as a new user runs it."""

import asyncio
import os
import re
import sys
import wave
from pathlib import Path

import pytest
from support.processes import RunningGateway

from voicebus_client.client import Voicebus
from voicebus_stack import turn
from voicebus_stack.question import Question
from voicebus_stack.turn import TurnFailed, speak

RECORDINGS = Path(__file__).parents[1] / "data"


async def demo(folder: Path, *arguments: str) -> tuple[int, str]:
    """Runs the demo in this folder; returns its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "voicebus_stack.demo", *arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    async with asyncio.timeout(80):
        output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_the_demo_shows_a_whole_spoken_turn_and_saves_the_answer(tmp_path: Path) -> None:
    code, output = await demo(tmp_path)
    assert code == 0, output
    assert "final: what time is it in new york" in output
    partials = re.search(r"(\d+) partial transcripts before the last frame was sent", output)
    assert partials is not None
    assert int(partials[1]) >= 2
    with wave.open(str(tmp_path / "out" / "answer.wav")) as answer:
        assert answer.getnframes() > answer.getframerate() / 2


async def asked(gateways: list[RunningGateway], token: str, folder: Path, text: str) -> tuple[int, str]:
    """The demo's exit code and words when it asks a stack that runs already."""
    return await demo(folder, "--url", gateways[1].url, "--token", token, "--text", text)


async def test_the_demo_answers_a_written_question(gateways: list[RunningGateway], token: str, tmp_path: Path) -> None:
    code, output = await asked(gateways, token, tmp_path, "please add twenty three and nineteen")
    assert code == 0, output
    assert re.search(r"response .*42", output)


async def test_several_turns_have_medians_and_no_question_interrupts_an_answer(
    gateways: list[RunningGateway], token: str, tmp_path: Path
) -> None:
    code, output = await demo(tmp_path, "--url", gateways[0].url, "--token", token, "--turns", "3")
    assert code == 0, output
    latencies = re.findall(r"final transcript (\S+) ms → first token (\S+) ms → first speech (\S+) ms", output)
    assert len(latencies) == 4
    for transcript, token_ms, speech in latencies:
        assert 0 < float(transcript) < float(token_ms) < float(speech)


async def test_a_question_that_no_tool_answers_is_no_success(
    gateways: list[RunningGateway], token: str, tmp_path: Path
) -> None:
    code, output = await asked(gateways, token, tmp_path, "thank you")
    assert code == 1
    assert "missing: tool call, tool result\n" in output  # and no log: it isn't the demo's own stack


async def test_of_two_questions_the_first_is_answered_and_measured(
    gateways: list[RunningGateway], token: str, tmp_path: Path
) -> None:
    both = str(RECORDINGS / "two-requests.wav")
    code, output = await demo(tmp_path, "--url", gateways[0].url, "--token", token, "--wav", both)
    assert code == 0, output
    assert re.search(r"only the first 1\.\d s of the recording were answered", output)
    latencies = re.search(r"final transcript (\S+) ms → first token (\S+) ms → first speech (\S+) ms", output)
    assert latencies is not None
    assert all(float(latency) > 0 for latency in latencies.groups())


async def test_a_demo_that_fails_says_why_and_leaves_no_session_open(
    gateways: list[RunningGateway], voicebus: Voicebus, token: str, tmp_path: Path
) -> None:
    code, output = await asked(gateways, f"{token}\n", tmp_path, "x" * 100_000)
    assert code == 1
    assert "exceeds limit" in output
    assert (await anext(voicebus.sessions())).status == "ended"


async def test_a_recording_in_which_nothing_is_understood_is_said_so(
    voicebus: Voicebus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "_SILENCE_S", 0.1)
    session = await voicebus.create_session()
    async with voicebus.connect(session.session_id) as connection:
        with pytest.raises(TurnFailed, match="nothing was understood"):
            await speak(connection, Question("silence", bytes(3_200), 16_000, 1), understood_s=0.2)


async def test_a_stack_that_does_not_start_says_which_error_was_in_its_way(tmp_path: Path) -> None:
    servers = tmp_path / "servers.json"
    servers.write_text("{}")
    code, output = await demo(tmp_path, "--mcp", str(servers))
    assert code == 1
    _, failed, error, where = output.splitlines()
    assert failed == "demo: the stack did not start:"
    assert f"{servers}: mcpServers:" in error
    assert where == "see out/demo.log"
