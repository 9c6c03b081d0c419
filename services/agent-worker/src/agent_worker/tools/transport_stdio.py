"""An MCP server as a child process: messages over its stdin and stdout, its stderr into our log.

It gets a minimal environment (HOME, PATH, USER and the like) and what its configuration says. It is asked to leave by
the end of its stdin, which it also sees when this process is killed; failing that, its process group is terminated.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TextIO

from mcp.client.stdio import StdioServerParameters, stdio_client
from structlog.typing import FilteringBoundLogger

from agent_worker.tools.config import StdioServer
from agent_worker.tools.streams import Streams

MAX_LINE_BYTES = 4096  # of stderr; longer lines are cut into several
LAST_WORDS_S = 0.5  # how long stderr is still read once the process is gone


@asynccontextmanager
async def stdio_streams(server: StdioServer, log: FilteringBoundLogger) -> AsyncGenerator[Streams]:
    """Start the server; its streams of messages.

    Raises:
        OSError: the command can't be started.
    """
    parameters = StdioServerParameters(
        command=server.command,
        args=list(server.args),
        env=server.env,
        cwd=server.cwd,
        encoding_error_handler="replace",
    )
    async with AsyncExitStack() as stack:
        child_end = await stack.enter_async_context(_logged_pipe(log))
        with child_end:  # the child has its own copy; ours would keep the pipe open
            streams = await stack.enter_async_context(stdio_client(parameters, errlog=child_end))
        yield streams


@asynccontextmanager
async def _logged_pipe(log: FilteringBoundLogger) -> AsyncGenerator[TextIO]:
    """The end of a pipe for a child to write to; each line of it becomes a log entry."""
    reading, writing = os.pipe()
    child_end = os.fdopen(writing, "w")
    lines = _LineLog(log)
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: lines, os.fdopen(reading, "rb", 0))
    try:
        yield child_end
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await lines.ended.wait()
    finally:
        child_end.close()
        pipe.close()


class _LineLog(asyncio.Protocol):
    def __init__(self, log: FilteringBoundLogger) -> None:
        self.ended = asyncio.Event()
        self._log = log
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest[:MAX_LINE_BYTES])
            self._rest = self._rest[MAX_LINE_BYTES:]
        for line in lines:
            self._write(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._write(self._rest)
        self.ended.set()

    def _write(self, line: bytes) -> None:
        if text := line[:MAX_LINE_BYTES].decode(errors="replace").rstrip():
            self._log.info("mcp_server_stderr", line=text)
