"""An MCP server with the tools that the tests need: `python tool_server.py stdio|http|http-json FOLDER [PORT]`.

What a tool does to the world is to append a line to a file in FOLDER, so that a test can count its effects. Over HTTP
the port is written to FOLDER/port.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import (
    AudioContent,
    CallToolResult,
    ImageContent,
    ResourceLink,
    TextContent,
    ToolAnnotations,
)
from pydantic import BaseModel

READ_ONLY = ToolAnnotations(read_only_hint=True)
IDEMPOTENT = ToolAnnotations(idempotent_hint=True)

transport, folder = sys.argv[1], Path(sys.argv[2])
server = MCPServer("test tools", log_level="CRITICAL")


class Weather(BaseModel):
    city: str
    celsius: float


def append(name: str, line: str) -> None:
    with (folder / name).open("a") as file:
        file.write(f"{line}\n")


def lines(name: str) -> list[str]:
    path = folder / name
    return path.read_text().splitlines() if path.exists() else []


@server.tool(annotations=READ_ONLY, structured_output=False)
def whoami() -> str:
    return f"{os.getpid()} {sorted(os.environ)}"


@server.tool(annotations=READ_ONLY)
def add(a: int, b: int) -> int:
    return a + b


@server.tool(annotations=READ_ONLY)
def weather(city: str) -> Weather:
    return Weather(city=city, celsius=21.5)


@server.tool()
def fail() -> str:
    raise ValueError("the kettle is empty")


@server.tool(annotations=READ_ONLY)
def huge(size: int) -> str:
    return "x" * size


@server.tool()
def everything() -> CallToolResult:
    return CallToolResult(
        content=[
            TextContent(text="see for yourself"),
            ImageContent(data="AAAA", mime_type="image/png"),
            AudioContent(data="AAAAAAAA", mime_type="audio/wav"),
            ResourceLink(uri="file:///notes.txt", name="notes", description="what was said"),
        ]
    )


@server.tool(annotations=READ_ONLY)
def who(ctx: Context) -> dict[str, Any]:
    meta = ctx.request_context.meta or {}
    return {key: value for key, value in meta.items() if key.startswith("voicebus/")}


@server.tool(annotations=READ_ONLY)
async def echo_later(text: str, gate: str) -> str:
    """Answers once the file named `gate` exists."""
    append("started", text)
    while not (folder / gate).exists():  # noqa: ASYNC110 - another process makes it
        await asyncio.sleep(0.01)
    return text


@server.tool()
async def echo_once(text: str, gate: str) -> str:
    """As `echo_later`, but not to be called twice."""
    return await echo_later(text, gate)


@server.tool()
async def note(text: str) -> str:
    """Not idempotent: each call adds a line, and the answer is kept back until the file `go` exists."""
    append("notes", text)
    return await hold(text)


@server.tool(annotations=IDEMPOTENT)
async def put(text: str) -> str:
    """Idempotent: the first call is kept back, later ones answer at once."""
    append("puts", text)
    return await hold(text) if len(lines("puts")) == 1 else text


async def hold(text: str) -> str:
    try:
        while not (folder / "go").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        append("cancelled", text)
        raise
    return text


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Adds a tool and says so."""
    server.add_tool(add, name=name)
    await ctx.notify_tools_changed()
    return name


def serve_http(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    (folder / "port").write_text(str(listener.getsockname()[1]))
    app = server.streamable_http_app(json_response=transport == "http-json")
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    sys.stderr.write(f"{transport} server starts\n")
    if transport == "stdio":
        server.run("stdio")
    else:
        serve_http(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
