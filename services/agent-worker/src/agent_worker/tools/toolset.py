"""All MCP servers of a worker as one set of tools."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from mcp import MCPError
from mcp.types import Tool
from pydantic import ValidationError

from agent_worker.tools.config import ServerConfig, ToolOptions
from agent_worker.tools.names import offered_names, qualified
from agent_worker.tools.outcome import OutcomeKind, ToolOutcome, bounded, from_result
from agent_worker.tools.server import CallLostError, ToolServer

if TYPE_CHECKING:
    from pydantic_ai.tools import ToolDefinition

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServerStatus:
    """Whether a server can be called now."""

    name: str
    up: bool
    tools: int
    error: str | None  # why it is down


@dataclass(frozen=True)
class Annotations:
    """What calling a tool twice does."""

    read_only: bool
    idempotent: bool

    @property
    def repeatable(self) -> bool:
        """Whether a call whose outcome is unknown may be made again."""
        return self.read_only or self.idempotent


@dataclass(frozen=True)
class _Entry:
    server: ToolServer
    tool: Tool
    options: ToolOptions

    @property
    def annotations(self) -> Annotations:
        hints, own = self.tool.annotations, self.options
        return Annotations(
            bool(hints and hints.read_only_hint) if own.read_only is None else own.read_only,
            bool(hints and hints.idempotent_hint) if own.idempotent is None else own.idempotent,
        )


class Toolset:
    """The tools of every server, under names that a model accepts.

    A name that several servers use becomes `server__tool` for all of them. `call` and `annotations` understand
    `server__tool` for every tool, and a shared plain name as the first server's.
    """

    def __init__(self, servers: Iterable[ToolServer], timeout_s: float) -> None:
        self._servers = tuple(servers)
        self._timeout_s = timeout_s
        self._listings: tuple[int, ...] = ()
        self._offered: dict[str, _Entry] = {}
        self._known: dict[str, _Entry] = {}
        self._definitions: dict[tuple[bool, ...], list[ToolDefinition]] = {}  # by which servers are up

    def status(self) -> list[ServerStatus]:
        """The state of each server, in the order of the configuration."""
        return [ServerStatus(s.config.name, s.up, len(s.tools), s.last_error) for s in self._servers]

    def definitions(self) -> "list[ToolDefinition]":
        """What the model is told: the enabled tools of the servers that are up."""
        self._refresh()
        up = tuple(server.up for server in self._servers)
        if up not in self._definitions:
            entries = self._offered.items()
            self._definitions = {up: [_definition(name, entry) for name, entry in entries if entry.server.up]}
        return self._definitions[up]

    def knows(self, name: str) -> bool:
        """Whether there is such a tool."""
        return self._find(name) is not None

    def annotations(self, name: str) -> Annotations:
        """What a second call of the tool does; the careful answer for one that is not known."""
        entry = self._find(name)
        return entry.annotations if entry else Annotations(read_only=False, idempotent=False)

    def needs_approval(self, name: str) -> bool:
        """Whether a person must approve each call of the tool; `call` says what is wrong with an unknown one."""
        entry = self._find(name)
        return entry is not None and entry.options.approval

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        sub: str,
        session_id: str,
        call_id: str,
        approved: bool = False,
    ) -> ToolOutcome:
        """Call a tool; whatever goes wrong is told by the outcome. Cancelling this cancels the call at the server."""
        began = time.monotonic()
        entry = self._find(name)
        if entry is None:
            names = ", ".join(definition.name for definition in self.definitions())
            return _without_result(f"there is no tool named {name!r}; there are: {names}", "error", began)
        if entry.options.approval and not approved:  # its server came up after the approval was asked about
            return _without_result("the call needs an approval, and nobody was asked for it; try again", "error", began)
        meta = {
            "voicebus/sub": sub,
            "voicebus/session_id": session_id,
            "voicebus/call_id": call_id,
        }
        return await self._attempt(entry, arguments, meta, began)

    async def _attempt(
        self, entry: _Entry, arguments: Mapping[str, Any], meta: Mapping[str, object], began: float
    ) -> ToolOutcome:
        annotations = entry.annotations
        timeout_s = entry.options.timeout_s or entry.server.config.voicebus.timeout_s or self._timeout_s
        unanswered: OutcomeKind = "error" if annotations.read_only else "unknown"
        try:
            async with asyncio.timeout(timeout_s):
                result = await entry.server.call(
                    entry.tool.name, arguments, repeatable=annotations.repeatable, meta=meta
                )
            return from_result(result, _since(began))
        except TimeoutError:
            entry.server.doubt()
            return _without_result(f"no answer within {timeout_s:g} s", unanswered, began)
        except CallLostError as error:
            return _without_result(str(error), unanswered if error.sent else "error", began)
        except (MCPError, RuntimeError, ValidationError) as error:
            return _without_result(str(error), "error", began)
        except Exception as error:  # noqa: BLE001 - what a server makes of the protocol must not end the turn
            _log.exception("tool_call_failed", mcp_server=entry.server.config.name, tool=entry.tool.name)
            return _without_result(f"the call failed: {error}", unanswered, began)

    def _find(self, name: str) -> _Entry | None:
        self._refresh()
        return self._offered.get(name) or self._known.get(name)

    def _refresh(self) -> None:
        """Name the tools anew if a server listed its own anew."""
        listings = tuple(server.listings for server in self._servers)
        if listings == self._listings:
            return
        entries = [
            _Entry(server, tool, options)
            for server in self._servers
            for tool in server.tools.values()
            if (options := server.config.options(tool.name)).enabled
        ]
        names = offered_names([(entry.server.config.name, entry.tool.name) for entry in entries])
        self._listings, self._offered = listings, dict(zip(names, entries, strict=True))
        self._known, self._definitions = {}, {}
        for entry in entries:
            self._known.setdefault(qualified(entry.server.config.name, entry.tool.name), entry)
            self._known.setdefault(entry.tool.name, entry)


@asynccontextmanager
async def open_toolset(
    configs: Iterable[ServerConfig], *, timeout_s: float, ready_within_s: float
) -> AsyncGenerator[Toolset]:
    """Run the clients of all servers; wait at most `ready_within_s` until each was reached or failed once.

    `timeout_s` bounds a tool call where the configuration says nothing else. A server that is down does not
    hinder the others; its tools appear when it comes up.
    """
    servers = [ToolServer(config) for config in configs]
    async with asyncio.TaskGroup() as tasks:
        owners = [tasks.create_task(server.run()) for server in servers]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ready_within_s):
                    for server in servers:
                        await server.tried.wait()
            yield Toolset(servers, timeout_s)
        finally:
            for owner in owners:
                owner.cancel()


def _definition(name: str, entry: _Entry) -> "ToolDefinition":
    from pydantic_ai.tools import ToolDefinition  # noqa: PLC0415 - it is loaded while servers start

    tool = entry.tool
    annotations = tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else {}
    return ToolDefinition(
        name=name,
        description=tool.description or tool.title,
        parameters_json_schema=tool.input_schema,
        metadata={
            "server": entry.server.config.name,
            "tool": tool.name,
            "title": tool.title or annotations.get("title"),
            "annotations": annotations,
        },
    )


def _without_result(message: str, outcome: OutcomeKind, began: float) -> ToolOutcome:
    return ToolOutcome(content=bounded(message), is_error=True, outcome=outcome, duration_ms=_since(began))


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
