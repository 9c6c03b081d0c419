"""What processes tell of themselves while something breaks."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx2

_LOOKS_S: Final = 0.05  # between two looks
_PAGE_BYTES: Final = 4_096


async def metric(port: int, name: str) -> float:
    """The value of a series, named with its labels, at `/metrics` on this port of 127.0.0.1."""
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
        page = (await http.get("/metrics")).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
    if found is None:
        raise LookupError(name)
    return float(found[1])


async def seconds_until(port: int, name: str, reached: Callable[[float], bool], *, most_s: float) -> float:
    """How long it took until a series had such a value; no more than `most_s`."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while (took_s := loop.time() - began_s) < most_s and not reached(await metric(port, name)):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(_LOOKS_S)
    return min(took_s, most_s)


def resident_bytes(process: int) -> int:
    """The memory that a process has in RAM."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE_BYTES
