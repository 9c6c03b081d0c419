"""One WebSocket: read and written until it ends."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic

import orjson
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from voicebus_client.errors import BadFrame, Unauthorized
from voicebus_client.events import Event, parse_frame
from voicebus_client.intake import HoleFound
from voicebus_client.options import Options
from voicebus_client.session import SessionState
from voicebus_client.tokens import Tokens

_PING = '{"type":"ping"}'
_PASSING = ("stt", "thinking", "typing", "waiting", "metric")  # ephemeral, unless they have a seq


@dataclass(frozen=True, slots=True)
class Ending:
    """How a connection ended: its close code (None: none came) and reason; `at_once`: come back without a wait."""

    code: int | None = None
    reason: str = ""
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Signals:
    """How the application's side wakes the loops of the connection."""

    output: asyncio.Event = field(default_factory=asyncio.Event)  # there may be something to send
    room: asyncio.Event = field(default_factory=asyncio.Event)  # an event was taken, or an answer is waited for

    def nudge(self) -> None:
        """Something was given to be sent, and its answer may be waited for."""
        self.output.set()
        self.room.set()


class Link:
    """Brings what comes over this WebSocket to the session's state, and sends what that has to send.

    Behind a slow application it stops reading, so that the server serves from its log. If the application meanwhile
    waits for an answer, reading goes on, what doesn't fit is skipped, and once there is room the client connects
    again from its position.
    """

    def __init__(
        self, connection: ClientConnection, state: SessionState, signals: Signals, tokens: Tokens, options: Options
    ) -> None:
        self._connection = connection
        self._state = state
        self._signals = signals
        self._tokens = tokens
        self._options = options
        self._ping_s = options.ping_interval_s
        self._heard_s = self._pinged_s = asyncio.get_running_loop().time()
        self._skipping = False

    async def run(self) -> Ending:
        """Serves until the connection ends, and closes it."""
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write())
                try:
                    ending = await self._read()
                finally:
                    writer.cancel()
            if ending.code is None:
                self._connection.transport.abort()
            return ending
        finally:
            await self._connection.close()

    def taken(self) -> None:
        """The application took an event."""
        self._signals.room.set()
        if self._skipping and self._state.inbox.low:
            self._connection.transport.abort()

    async def _read(self) -> Ending:
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout_at(self._deadline_s()):
                    frame = await self._connection.recv()
                self._heard_s = now()
                await self._receive(parse_frame(frame, monotonic()))
            except TimeoutError:
                return self._late(now())
            except ConnectionClosed as closed:
                close = closed.rcvd or closed.sent
                return Ending(close.code, close.reason) if close else Ending(at_once=self._skipping)
            except HoleFound:
                return Ending(reason="an event is missing", at_once=True)
            except BadFrame as error:
                return Ending(reason=error.message)
            if self._state.needs_link:
                return Ending(reason="the audio stream can't go on here")

    async def _receive(self, event: Event) -> None:
        if event.type == "welcome":
            self._state.join(event)
            self._ping_s = min(self._ping_s, _seconds(event, "ping_interval_s", self._ping_s))
            return
        if self._state.control(event, asyncio.get_running_loop().time()) or self._skipping:
            return
        if not self._state.linked and event.seq is None:
            return  # too early to be put into the order of things
        if self._state.inbox.full:
            if event.seq is None and event.type in _PASSING:
                return
            await self._room()
            self._skipping = self._state.inbox.full
        if not self._skipping:
            self._state.take(event)

    async def _room(self) -> None:
        """Waits until the application takes events, or waits for an answer that would be stuck behind this one."""
        while self._state.inbox.full and not self._state.waits:
            self._signals.room.clear()
            await self._signals.room.wait()
        self._heard_s = asyncio.get_running_loop().time()

    def _deadline_s(self) -> float:
        if not self._state.linked:
            return self._heard_s + self._options.open_timeout_s
        silent_s = self._heard_s + 2 * self._ping_s
        return silent_s if self._state.drain_at_s is None else min(silent_s, self._state.drain_at_s)

    def _late(self, now_s: float) -> Ending:
        drain_s = self._state.drain_at_s
        if drain_s is not None and now_s >= drain_s:
            return Ending(1012, "draining")
        return Ending(reason="the gateway fell silent")

    async def _write(self) -> None:
        """Sends until the connection ends; the reader sees why."""
        now = asyncio.get_running_loop().time
        try:
            while True:
                self._signals.output.clear()
                if self._state.token_expiring:
                    await self._renew()
                with _as_one(self._connection):
                    while (frame := self._ping(now()) or self._state.next_frame()) is not None:
                        await self._connection.send(frame)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._ping_at_s()):
                        await self._signals.output.wait()
        except ConnectionClosed:
            return

    async def _renew(self) -> None:
        """Sends a fresh token; without one the server closes in time, and then the application is told."""
        self._state.token_expiring = False
        if not self._tokens.can_renew:
            return
        with suppress(Unauthorized):
            message = {"type": "auth", "token": await self._tokens.renew()}
            await self._connection.send(orjson.dumps(message).decode())

    def _ping_at_s(self) -> float | None:
        """When to ping if nothing is heard; not before the welcome."""
        return max(self._heard_s, self._pinged_s) + self._ping_s if self._state.linked else None

    def _ping(self, now_s: float) -> str | None:
        at_s = self._ping_at_s()
        if at_s is None or now_s < at_s:
            return None
        self._pinged_s = now_s
        return _PING


@contextmanager
def _as_one(connection: ClientConnection) -> Iterator[None]:
    """What is sent meanwhile leaves together, where the system can: a stream's last bytes and its stop."""
    _cork(connection, on=True)
    try:
        yield
    finally:
        _cork(connection, on=False)


def _cork(connection: ClientConnection, *, on: bool) -> None:
    tcp = connection.transport.get_extra_info("socket")
    if tcp is not None and hasattr(socket, "TCP_CORK"):
        with suppress(OSError):  # it was closed
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, int(on))


def _seconds(event: Event, name: str, default: float) -> float:
    value = event.data.get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else default
