"""The tools of `effects_server`, served over HTTP to all agent workers."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.effects_server import CANCELLED, HOLD, lines, make_server
from faults.served import served


@dataclass(frozen=True)
class Effects:
    """Where they leave their traces, and what agent workers have to be told to find them."""

    folder: Path
    environment: Mapping[str, str]

    def of(self, session_id: str, tool: str) -> list[str]:
        """The lines that the session's calls of the tool have left."""
        return lines(self.folder / f"{session_id}.{tool}")

    def called_off(self, session_id: str, tool: str) -> int:
        """How many of the calls were told to stop."""
        return len(lines(self.folder / f"{session_id}.{tool}.{CANCELLED}"))

    def hold(self, tool: str = "") -> None:
        """From now on calls of the tool (or of all) have their effect and do not answer."""
        (self.folder / HOLD).write_text(tool)

    def release(self) -> None:
        """They answer."""
        (self.folder / HOLD).unlink(missing_ok=True)


@asynccontextmanager
async def effects(folder: Path) -> AsyncIterator[Effects]:
    """They are at work."""
    traces, config = folder / "effects", folder / "mcp.json"
    traces.mkdir()
    async with served(make_server(traces).streamable_http_app()) as port:
        config.write_text(json.dumps({"mcpServers": {"effects": {"url": f"http://127.0.0.1:{port}/mcp"}}}))
        # On a busy machine it takes longer until they are found.
        made = Effects(traces, {"MCP_CONFIG": str(config), "AGENT_TOOLS_READY_S": "60"})
        try:
            yield made
        finally:
            made.release()
