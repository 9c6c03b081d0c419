"""An MCP server whose tools leave a trace: `python effects_server.py FOLDER`.

Each effect is a line in FOLDER/<session id>.<tool>, so that a test can count the effects of one conversation; a call
that was called off leaves one in FOLDER/<session id>.<tool>.cancelled.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

WORK_S = 0.1  # between a tool's effect and its answer
NOTE_S = 3.0
HOLD = "hold"  # while FOLDER has a file of this name, tools do not answer: the one that it names, or all
CANCELLED = "cancelled"


def make_server(folder: Path) -> MCPServer:
    """The server that leaves its traces in this folder."""
    server = MCPServer("effects", log_level="CRITICAL")

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    async def current_time(city: str, ctx: Context) -> str:
        """Tells what time it is in a city."""
        path = _trace(folder, ctx, "current_time")
        with _telling(path):
            if city not in lines(path):
                append(path, city)
            await _work(folder, "current_time")
        return _told(f"It is noon in {city.title()}")

    @server.tool()
    async def add(a: int, b: int, ctx: Context) -> str:
        """Adds two numbers."""
        path = _trace(folder, ctx, "add")
        with _telling(path):
            append(path, f"{a} {b}")
            await _work(folder, "add")
        return _told(f"The sum is {a + b}")

    @server.tool()
    async def note(text: str, ctx: Context) -> str:
        """Writes a note down, and takes its time."""
        append(_trace(folder, ctx, "note"), text)
        await asyncio.sleep(NOTE_S)
        return "noted"

    return server


def _trace(folder: Path, ctx: Context, tool: str) -> Path:
    meta = dict(ctx.request_context.meta or {})
    return folder / f"{meta['voicebus/session_id']}.{tool}"


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        append(path.with_name(f"{path.name}.{CANCELLED}"), CANCELLED)
        raise


async def _work(folder: Path, tool: str) -> None:
    await asyncio.sleep(WORK_S)
    while _held(folder / HOLD, tool):  # noqa: ASYNC110 - another process removes it
        await asyncio.sleep(0.01)


def _held(hold: Path, tool: str) -> bool:
    return hold.exists() and hold.read_text() in ("", tool)


def _told(beginning: str) -> str:
    """Several sentences, so that an answer has a middle to be cut in."""
    return (
        f"{beginning}. The clock on the tower agrees with that. A small bird sits on its longer hand. "
        "Nobody in the street looks up to it. It waits there for another minute. Then it flies away over the roofs."
    )


def append(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(f"{line}\n")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    make_server(Path(sys.argv[1])).run("stdio")
