"""What the kernel tells of processes."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from voicebus.chassis.forks import ForkServer


def pid(server: ForkServer) -> int:
    """The process that forks."""
    assert server._process is not None
    return server._process.pid


def children(process: int) -> list[int]:
    """The running child processes of a process; none if it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def descendants(process: int) -> list[int]:
    """Its children, theirs, and so on."""
    return [each for child in children(process) for each in (child, *descendants(child))]


def alive(process: int) -> bool:
    """Whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def soon(condition: Callable[[], bool], *, timeout_s: float = 5.0) -> bool:
    """As `until`; whether it came to be so in time."""
    try:
        await until(condition, timeout_s=timeout_s)
    except TimeoutError:
        return False
    return True


async def until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    """Wait until something outside of this process is so."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - the kernel tells nobody when another process's child ends
            await asyncio.sleep(0.005)
