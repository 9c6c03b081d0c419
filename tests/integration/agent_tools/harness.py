"""What the tests of the MCP client share: servers to start, a relay to break connections, waiting for conditions."""

import asyncio
import socket
import struct
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from agent_worker.tools.config import HttpServer, ServerConfig, StdioServer
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.tools.toolset import Toolset, open_toolset

HERE = Path(__file__).parent
TOOL_SERVER = str(HERE / "tool_server.py")
LEGACY_SERVER = str(HERE / "legacy_server.py")
ODD_SERVER = str(HERE / "odd_server.py")
DEADLINE_S = 20.0


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds.

    Raises:
        TimeoutError: it does not within 20 s.
    """
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what is awaited happens in other processes
            await asyncio.sleep(0.005)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def stdio(folder: Path, name: str = "tools", **fields: Any) -> StdioServer:
    folder.mkdir(exist_ok=True)
    return StdioServer(name=name, command=sys.executable, args=(TOOL_SERVER, "stdio", str(folder)), **fields)


@asynccontextmanager
async def toolset(*servers: ServerConfig, timeout_s: float = 15, ready_within_s: float = 15) -> AsyncGenerator[Toolset]:
    async with open_toolset(servers, timeout_s=timeout_s, ready_within_s=ready_within_s) as tools:
        yield tools


async def call(tools: Toolset, tool: str, /, **arguments: Any) -> ToolOutcome:
    return await tools.call(tool, arguments, sub="ada", session_id="s1", call_id="c1")


class HttpProcess:
    """A server process behind HTTP that can be killed and started again on the same port."""

    def __init__(self, script: str, transport: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._command = [sys.executable, script, transport, str(folder)]
        self._port_file = folder / "port"
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    async def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        port = [str(self.port)] if self.port else []
        self._process = await asyncio.create_subprocess_exec(*self._command, *port)
        await eventually(lambda: bool(lines(self._port_file)))
        self.port = int(self._port_file.read_text())

    async def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def config(self, name: str = "web", port: int = 0, **fields: Any) -> HttpServer:
        return HttpServer(name=name, url=f"http://127.0.0.1:{port or self.port}/mcp", **fields)


@asynccontextmanager
async def http(folder: Path, transport: str = "http", script: str = TOOL_SERVER) -> AsyncGenerator[HttpProcess]:
    process = HttpProcess(script, transport, folder)
    try:
        await process.start()
        yield process
    finally:
        await process.kill()


class Relay:
    """A TCP relay to a port on loopback that can cut single connections by RST."""

    def __init__(self) -> None:
        self.port = 0
        self._open: dict[asyncio.StreamWriter, bytearray] = {}

    async def carry(self, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = self._open[writer] = bytearray()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        with suppress(ExceptionGroup, OSError):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, far_writer, seen))
                tasks.create_task(_pump(far_reader, writer, None))
        self._open.pop(writer, None)
        writer.close()
        far_writer.close()

    def reset(self, containing: bytes) -> int:
        """Cut the connections over which these bytes were sent to the server; how many there were."""
        cut = [writer for writer, seen in self._open.items() if containing in seen and not writer.is_closing()]
        for writer in cut:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        return len(cut)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray | None) -> None:
    while data := await reader.read(65536):
        if seen is not None:
            seen += data
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def relay(target: int) -> AsyncGenerator[Relay]:
    cutter = Relay()
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(lambda r, w: cutter.carry(target, r, w), "127.0.0.1", 0)
        stack.push_async_callback(server.wait_closed)
        stack.callback(server.close)
        stack.callback(cutter.reset, b"")
        cutter.port = server.sockets[0].getsockname()[1]
        yield cutter


def pid(outcome: ToolOutcome) -> int:
    return int(str(outcome.content).split()[0])


def now() -> float:
    return time.monotonic()
