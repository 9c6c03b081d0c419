"""`make run`, as a user starts it twice."""

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

from voicebus_stack.redis_server import free_port


async def run(data: Path) -> Process:
    arguments = ("--data", str(data), "--port", str(free_port()), "--engines", "instant")
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voicebus_stack.run", *arguments, stdout=PIPE, stderr=STDOUT
    )


async def test_a_second_stack_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    first = await run(tmp_path)
    try:
        assert first.stdout is not None
        async with asyncio.timeout(30):
            await first.stdout.readline()  # a process was started
            second = await run(tmp_path)
            output, _ = await second.communicate()
        assert second.returncode == 1
        assert output.decode() == (
            f"run: another stack runs in {tmp_path}; stop it, or name another folder with --data\n"
        )
    finally:
        first.terminate()
        await first.communicate()
    third = await run(tmp_path)
    assert third.stdout is not None
    line = await third.stdout.readline()
    third.terminate()
    await third.communicate()
    assert b"started" in line
