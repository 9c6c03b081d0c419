"""`make demo`, as a new user runs it."""

import asyncio
import os
import re
import sys
import wave
from pathlib import Path

from support.processes import RunningGateway


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
    assert "missing: tool call, tool result" in output


async def test_a_recording_that_is_none_is_said_so(tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not a recording")
    code, output = await demo(tmp_path, "--wav", str(bad))
    assert code == 1
    assert "demo: " in output
    assert "Traceback" not in output
