"""One MCP server: a task that owns its connection, and calls that survive the connection.

The owner connects (again and again, with back-off), lists the tools, and lists them anew when the server says that
they changed or when somebody doubts the connection. Calls go straight to the connection of the moment. When it
breaks, a call that the server did not take is sent again; one that it may have executed is sent again, once, only if
it is repeatable.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import structlog
from mcp import Client, MCPError
from mcp.client.session import IncomingMessage
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.types import (
    CallToolResult,
    Implementation,
    RequestParamsMeta,
    Tool,
    ToolListChangedNotification,
)
from structlog.typing import FilteringBoundLogger

from agent_worker import metrics
from agent_worker.tools.config import HttpServer, ServerConfig
from agent_worker.tools.listing import drop_bad_tools
from agent_worker.tools.streams import Message, Streams, watched
from agent_worker.tools.transport_http import Trouble, http_streams, trouble
from agent_worker.tools.transport_stdio import stdio_streams

FIRST_BACK_OFF_S: Final = 0.1
LAST_BACK_OFF_S: Final = 30.0
STEADY_AFTER_S: Final = 10.0  # a connection that lived so long starts the back-off anew
CHECK_EVERY_S: Final = 60.0  # an HTTP server that left is noticed even if nobody calls it
RECONNECT_WAIT_S: Final = 10.0  # how long a call waits for a server that is down
MAX_ATTEMPTS: Final = 4  # to send a call that the server never took
MAX_PAGES: Final = 100  # of one listing

_CLIENT_INFO: Final = Implementation(name="voicebus", version="0.1.0")


class CallLostError(Exception):
    """A call without an answer; `sent` tells whether the server may have executed it."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class _ConnectionEndedError(Exception):
    pass


@dataclass
class _Link:
    """One connection, from its first listing to its end."""

    client: Client
    wake: asyncio.Event  # the owner should look: the connection ended, is doubted, or the tools changed
    version: str = ""  # of the protocol, once it is negotiated
    ended: bool = False
    calls: int = 0  # in flight


class _BackOff:
    def __init__(self) -> None:
        self._next_s = FIRST_BACK_OFF_S

    def note(self, began: float) -> None:
        """What began at this time.monotonic() has ended; if it was steady, waiting starts anew."""
        if time.monotonic() - began > STEADY_AFTER_S:
            self._next_s = FIRST_BACK_OFF_S

    async def wait(self) -> None:
        await asyncio.sleep(self._next_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads attempts, keeps no secret
        self._next_s = min(2 * self._next_s, LAST_BACK_OFF_S)


class ToolServer:
    """The client of one MCP server. `run` owns the connection; everything else may be used from any task."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.tools: Mapping[str, Tool] = {}  # by the server's own names; the last listing, kept while it is down
        self.listings = 0  # how often the tools were listed
        self.last_error: str | None = None
        self.tried = asyncio.Event()  # the first attempt to connect and list has succeeded or failed
        self._bad_tools: dict[str, str] = {}  # what is wrong with those that the server lists and nobody gets
        self._link: _Link | None = None
        self._listed = asyncio.Event()  # a new one after each listing
        self._log: FilteringBoundLogger = structlog.get_logger().bind(mcp_server=config.name)

    @property
    def up(self) -> bool:
        """Whether it is connected and its tools are known."""
        return self._link is not None

    async def run(self) -> None:
        """Connect, and again whenever the connection ends, until cancelled."""
        back_off = _BackOff()
        while True:
            began = time.monotonic()
            try:
                await self._live_once()
            except Exception as error:  # noqa: BLE001 - whatever a server does, it is tried again
                self._down(_reason(error))
            back_off.note(began)
            await back_off.wait()

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, repeatable: bool, meta: Mapping[str, object]
    ) -> CallToolResult:
        """Call a tool by the server's own name for it. Cancelling this cancels the call at the server.

        Raises:
            CallLostError: there is no answer.
            MCPError: the server refused the call.
            RuntimeError: the answer contradicts the schema that the server gave for it.
        """
        seen, lost = 0, False
        for _ in range(MAX_ATTEMPTS):
            link = await self._connected(seen, lost=lost)
            link.calls += 1
            try:
                return await link.client.call_tool(tool, dict(arguments), meta=cast("RequestParamsMeta", dict(meta)))
            except MCPError as error:
                why = trouble(error)
                if why is None:
                    raise
                sent = why is Trouble.LOST
                if sent and (lost or not repeatable):
                    raise CallLostError(error.message, sent=True) from error
                lost = lost or sent
            finally:
                link.calls -= 1
            seen = self.listings + 1
            self.doubt()
        raise CallLostError("the server can't be reached", sent=lost)

    def doubt(self) -> None:
        """Have the connection checked, for example because a call timed out."""
        if self._link is not None:
            self._link.wake.set()

    async def _connected(self, listing: int, *, lost: bool) -> _Link:
        """The connection, once it has listed the tools for at least the `listing`th time."""
        try:
            async with asyncio.timeout(RECONNECT_WAIT_S):
                while self._link is None or self.listings < listing:
                    await self._listed.wait()
        except TimeoutError:
            raise CallLostError(f"the server is down: {self.last_error}", sent=lost) from None
        return self._link

    async def _live_once(self) -> None:
        """One connection, from its start to its end, which always comes as an exception."""
        wake = asyncio.Event()

        async def on_notification(message: IncomingMessage) -> None:
            if isinstance(message, ToolListChangedNotification):
                wake.set()

        def on_message(message: Message) -> None:
            if link.version:
                drop_bad_tools(message, link.version, self._bad_tool)

        def on_end() -> None:
            link.ended = True
            if self._link is link:
                self._down("the server ended the connection")
            wake.set()

        client = Client(
            watched(self._transport(), on_message, on_end),
            message_handler=on_notification,
            client_info=_CLIENT_INFO,
            cache=None,
        )
        link = _Link(client, wake)
        async with asyncio.timeout(self.config.voicebus.connect_timeout_s) as starting, client:
            link.version = client.protocol_version
            await self._list(link)
            starting.reschedule(None)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_subscribe(client, wake))
                    await self._watch(link)
            except asyncio.CancelledError:
                self._link = None  # we leave: that the connection now ends is no news
                raise

    def _transport(self) -> AbstractAsyncContextManager[Streams]:
        if isinstance(self.config, HttpServer):
            return http_streams(self.config, self.config.voicebus.connect_timeout_s)
        return stdio_streams(self.config, self._log)

    async def _watch(self, link: _Link) -> None:
        """List the tools again whenever there is a reason to, until the connection has to be left."""
        back_off = _BackOff()
        while True:
            if self._link is link:
                back_off = _BackOff()
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY_S if isinstance(self.config, HttpServer) else None):
                        await link.wake.wait()
            else:
                await back_off.wait()
            link.wake.clear()
            if link.ended:
                raise _ConnectionEndedError(self.last_error)
            try:
                async with asyncio.timeout(self.config.voicebus.connect_timeout_s):
                    await self._list(link)
            except TimeoutError:
                if not link.calls:  # otherwise it may merely be busy with them
                    self._down("the server does not respond")
                    raise _ConnectionEndedError(self.last_error) from None
            except MCPError as error:
                if link.ended:
                    raise _ConnectionEndedError(self.last_error) from error
                if trouble(error) not in {Trouble.UNREACHABLE, Trouble.LOST}:
                    raise
                self._down(error.message)  # over HTTP other calls may still be served: keep what they use

    def _down(self, reason: str) -> None:
        if reason != self.last_error:
            self._log.warning("mcp_server_down", error=reason)
        self._link, self.last_error = None, reason
        metrics.tool_server_up.labels(self.config.name).set(0)
        self.tried.set()

    def _bad_tool(self, name: str, fault: str) -> None:
        if self._bad_tools.get(name) != fault:
            self._log.warning("mcp_tool_dropped", tool=name, error=fault)
        self._bad_tools[name] = fault

    async def _list(self, link: _Link) -> None:
        """Fetch the tools and announce them.

        Raises:
            MCPError: the server refuses, or the connection broke.
        """
        tools: dict[str, Tool] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES if link.client.server_capabilities.tools else 0):
            page = await link.client.list_tools(cursor=cursor)
            tools |= {tool.name: tool for tool in page.tools}
            cursor = page.next_cursor
            if cursor is None:
                break
        if link.ended:
            raise _ConnectionEndedError("the server ended the connection")
        if self._link is None or tools.keys() != self.tools.keys():
            self._log.info("mcp_server_up", tools=sorted(tools), protocol=link.client.protocol_version)
        self.tools, self._link, self.last_error = tools, link, None
        metrics.tool_server_up.labels(self.config.name).set(1)
        self.listings += 1
        listed, self._listed = self._listed, asyncio.Event()
        listed.set()
        self.tried.set()


async def _subscribe(client: Client, wake: asyncio.Event) -> None:
    """Set `wake` when the tools change, where only subscribers are told (MCP 2026-07-28)."""
    offers = client.server_capabilities.tools
    if not (offers and offers.list_changed):
        return
    back_off = _BackOff()
    while True:
        began = time.monotonic()
        try:
            async with client.listen(tools_list_changed=True) as changes:
                wake.set()  # what changed since the first listing
                async for _ in changes:
                    wake.set()
        except ListenNotSupportedError:
            return  # an older one: it sends a notification, which the client's message handler gets
        except (MCPError, SubscriptionLost):
            wake.set()  # a reason to look whether the server is still there
        back_off.note(began)
        await back_off.wait()


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
