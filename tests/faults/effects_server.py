"""An MCP server whose tools leave a trace: `python effects_server.py FOLDER`.

Each effect is a line in FOLDER/<session id>.<tool>, so that a test can count the effects of one conversation.
"""

import asyncio
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

WORK_S = 0.1  # between a tool's effect and its answer
NOTE_S = 3.0
HOLD = "hold"  # while FOLDER has a file of this name, tools do not answer

folder = Path(sys.argv[1])
server = MCPServer("effects", log_level="CRITICAL")


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
async def current_time(city: str, ctx: Context) -> str:
    """Tells what time it is in a city."""
    path = _trace(ctx, "current_time")
    if city not in lines(path):
        append(path, city)
    await _work()
    return _told(f"It is noon in {city.title()}")


@server.tool()
async def add(a: int, b: int, ctx: Context) -> str:
    """Adds two numbers."""
    append(_trace(ctx, "add"), f"{a} {b}")
    await _work()
    return _told(f"The sum is {a + b}")


@server.tool()
async def note(text: str, ctx: Context) -> str:
    """Writes a note down, and takes its time."""
    append(_trace(ctx, "note"), text)
    await asyncio.sleep(NOTE_S)
    return "noted"


def _trace(ctx: Context, tool: str) -> Path:
    meta = dict(ctx.request_context.meta or {})
    return folder / f"{meta['voicebus/session_id']}.{tool}"


async def _work() -> None:
    await asyncio.sleep(WORK_S)
    while (folder / HOLD).exists():  # noqa: ASYNC110 - another process removes it
        await asyncio.sleep(0.01)


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
    server.run("stdio")
