"""`make run`, as a user starts and stops it."""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import pytest

from voicebus_client.client import Voicebus
from voicebus_stack.ports import free_port
from voicebus_stack.run import own_folder


async def run(data: Path) -> Process:
    arguments = ("--data", str(data), "--port", str(free_port()), "--engines", "instant")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voicebus_stack.run", *arguments, stdout=PIPE, stderr=STDOUT
    )


async def reads(process: Process, pattern: str) -> str:
    """The group of the pattern in the first line that has it."""
    assert process.stdout is not None
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if found := re.search(pattern, line.decode()):
                return found[1]
    raise AssertionError(f"it never said {pattern}")


async def told_to_stop(process: Process, number: int = signal.SIGTERM) -> str:
    """What it says until it has ended, with all that it started: they hold its output open."""
    process.send_signal(number)
    async with asyncio.timeout(30):
        output, _ = await process.communicate()
    return output.decode()


async def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = await run(tmp_path)
    assert first.stdout is not None
    await first.stdout.readline()  # a process was started
    second = await run(tmp_path)
    output, _ = await second.communicate()
    assert second.returncode == 1
    assert output.decode() == f"run: another stack runs in {tmp_path}; stop it, or name another folder with --data\n"
    assert "Traceback" not in await told_to_stop(first)


async def test_told_to_stop_while_it_starts_it_leaves_nothing_behind(tmp_path: Path) -> None:
    process = await run(tmp_path)
    assert process.stdout is not None
    line = await process.stdout.readline()
    said = await told_to_stop(process)
    assert b" started" in line
    assert "Traceback" not in said
    with own_folder(tmp_path):  # the folder is free
        pass


@pytest.mark.parametrize("way", ["nobody reads", "the terminal is closed"])
async def test_a_stack_that_nobody_watches_stops(tmp_path: Path, way: str) -> None:
    process = await run(tmp_path)
    assert process.stdout is not None
    await process.stdout.readline()
    if way == "nobody reads":
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    else:
        process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(30):
        await process.wait()
    with own_folder(tmp_path):  # no process of the stack is left
        pass


async def test_ctrl_c_with_a_client_stops_redis_when_nobody_needs_it_any_more(tmp_path: Path) -> None:
    process = await run(tmp_path)
    url, token = await reads(process, r"\| url +(\S+)"), await reads(process, r"\| token +(\S+)")
    async with Voicebus(url, token) as voicebus:
        session = await voicebus.create_session()
        async with voicebus.connect(session.session_id):
            said = await told_to_stop(process, signal.SIGINT)
    assert process.returncode == 0
    assert "gateway_draining" in said
    for unwanted in ("SIGKILL", "warning", "subscription_lost", "\033"):  # nor colours: no terminal reads it
        assert unwanted not in said


async def test_a_service_that_is_killed_ends_the_stack_with_its_signal(tmp_path: Path) -> None:
    process = await run(tmp_path)
    os.kill(int(await reads(process, r"tts started \(pid=(\d+)\)")), signal.SIGKILL)
    async with asyncio.timeout(30):
        await process.communicate()
    assert process.returncode == 128 + signal.SIGKILL
