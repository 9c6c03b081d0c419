"""The tests' own tools, served over HTTP by a process that several tests share."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from integration.agent_tools.harness import TOOL_SERVER, lines

from agent_worker.tools.config import HttpServer, ServerOptions, ToolOptions

START_S = 60.0  # the longest that a busy machine may take


@dataclass(frozen=True)
class HttpTools:
    """The server, and the folder in which its tools leave their traces."""

    folder: Path
    port: int

    def config(self, options: ServerOptions | None = None) -> HttpServer:
        url = f"http://127.0.0.1:{self.port}/mcp"
        return HttpServer(name="tools", url=url, voicebus=options or ServerOptions())

    def guarded(self, **tools: ToolOptions) -> HttpServer:
        """With a tool, `note`, that needs an approval."""
        return self.config(ServerOptions(tools={"note": ToolOptions(approval=True), **tools}))

    def lines(self, name: str) -> list[str]:
        return lines(self.folder / name)

    def touch(self, name: str) -> None:
        """Opens a gate."""
        (self.folder / name).touch()

    def shut(self, name: str) -> None:
        """Shuts a gate."""
        (self.folder / name).unlink()

    def clear(self) -> None:
        """Forgets all calls and shuts the gates."""
        for path in self.folder.iterdir():
            path.unlink()


@contextmanager
def running_http_tools(folder: Path) -> Iterator[HttpTools]:
    """In a process of its own while inside."""
    process = subprocess.Popen([sys.executable, TOOL_SERVER, "http", str(folder)])
    try:
        deadline = time.monotonic() + START_S
        while not (port := lines(folder / "port")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield HttpTools(folder, int(port[0]))
    finally:
        process.kill()
        process.wait()
