"""The connection that listens at one server.

A probe, published through the connection that writes, shows a deaf one.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from voicebus.bus import metrics
from voicebus.bus.calls import Calls
from voicebus.bus.server import Server
from voicebus.bus.servers import Servers
from voicebus.bus.slots import slot_of_key
from voicebus.bus.wire import Reply, ReplyError, Wire, WireLost, open_wire, pack
from voicebus.contract.errors import VoicebusError

_log = structlog.get_logger(__name__)
_PAUSES_S = (0.05, 0.2, 0.5, 1.0)
_MESSAGES = {b"message", b"smessage"}


class Head(Protocol):
    """Whom an ear tells. All methods must return at once."""

    def heard(self, channel: bytes, payloads: Sequence[bytes]) -> None:
        """Messages, in their order."""

    def confirmed(self, channel: bytes) -> None:
        """From now on everything on the channel is heard."""

    def lost(self, channels: Iterable[bytes]) -> None:
        """Nothing is heard on these until they are confirmed again."""

    def moved(self, channels: Iterable[bytes]) -> None:
        """The server doesn't serve these: they are no longer this ear's."""


class Ear:
    """Listens to its channels at one server. `run` must be running."""

    def __init__(
        self, server: Server, servers: Servers, calls: Calls, head: Head, *, probe_stem: str, probe_s: float
    ) -> None:
        self.server = server
        self.deaf = True
        self._servers = servers
        self._calls = calls
        self._head = head
        prefix = b"S" if servers.sharded else b""
        self._subscribe, self._unsubscribe = prefix + b"SUBSCRIBE", prefix + b"UNSUBSCRIBE"
        self._channels: dict[bytes, None] = {}  # in the order in which they came
        self._asked: Counter[bytes] = Counter()  # SUBSCRIBEs on their way; only the last one's reply counts
        self._wire: Wire | None = None
        self._cut = asyncio.Event()
        self._probe_stem = probe_stem
        self._probe = servers.channel_at(server, probe_stem)
        self._probe_s = probe_s
        self._probe_heard = asyncio.Event()

    def add(self, channels: Iterable[bytes]) -> None:
        """Subscribes; without a connection, as soon as there is one."""
        fresh = [channel for channel in channels if channel not in self._channels]
        self._channels.update(dict.fromkeys(fresh))
        self._ask(fresh)

    def remove(self, channel: bytes) -> None:
        """Unsubscribes."""
        if channel in self._channels:
            del self._channels[channel]
            if self._wire is not None:
                self._wire.send([pack(self._unsubscribe, channel)])

    def settle(self) -> None:
        """Slots have moved: the probe must be this server's."""
        if self._servers.of_channel(self._probe) != self.server:
            if self._wire is not None:
                self._wire.send([pack(self._unsubscribe, self._probe)])
            self._probe = self._servers.channel_at(self.server, self._probe_stem)
            self._ask([self._probe])

    async def run(self) -> None:
        """Listens, until cancelled; reconnects when the connection drops or turns out deaf."""
        losses = 0
        try:
            while True:
                reason = await self._listen()
                losses = losses + 1 if self.deaf else 0
                self.deaf = True
                metrics.subscriptions_lost.inc()
                _log.warning("subscription_lost", server=self.server.name, reason=reason)
                self._servers.doubt(self.server, answers=False)
                await asyncio.sleep(_PAUSES_S[min(losses, len(_PAUSES_S) - 1)])
        finally:
            self._close()

    async def _listen(self) -> str:
        """Listens until the connection is lost; returns why."""
        self._close()
        self._cut.clear()
        self._head.lost(self._channels)
        try:
            self._wire = await open_wire(self.server.pool, self._hear, self._cut.set)
        except WireLost as error:
            return str(error)
        self._asked.clear()
        self._ask([self._probe, *self._channels])
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self._probe_on())
            await self._cut.wait()
            probing.cancel()
        return "the connection was closed, or nothing comes over it"

    def _ask(self, channels: list[bytes]) -> None:
        if self._wire is None or not channels:
            return
        self._asked.update(channels)
        if self._servers.sharded:  # one command must not name channels of several slots
            self._wire.send([pack(self._subscribe, channel) for channel in channels])
        else:
            self._wire.send([pack(self._subscribe, *channels)])

    def _close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _hear(self, replies: list[Reply]) -> None:
        """Hands on together what came together on a channel."""
        came: dict[bytes, list[bytes]] = {}
        for reply in replies:
            if isinstance(reply, ReplyError) or reply[0] not in _MESSAGES:
                self._hand_on(came)
                came = {}
                self._note(reply)
                continue
            _, channel, payload = reply
            if (payloads := came.get(channel)) is None:
                came[channel] = [payload]
            else:
                payloads.append(payload)
        self._hand_on(came)

    def _hand_on(self, came: Mapping[bytes, Sequence[bytes]]) -> None:
        for channel, payloads in came.items():
            if channel in self._channels:
                self._head.heard(channel, payloads)
            elif channel == self._probe:
                self._probe_heard.set()

    def _note(self, reply: Reply) -> None:
        """What is no message."""
        if isinstance(reply, ReplyError):
            self._refused(reply)
            return
        kind, channel, _ = reply
        if kind in {b"subscribe", b"ssubscribe"}:
            self._asked[channel] -= 1
            if self._asked[channel] <= 0:
                del self._asked[channel]
                if channel in self._channels:
                    self._head.confirmed(channel)
        elif kind == b"sunsubscribe" and not self._asked[channel]:
            # Nobody asked for it, if the channel is still wanted: its slot has gone to another server.
            self._gone([channel])

    def _refused(self, error: ReplyError) -> None:
        if error.kind != "MOVED":
            _log.warning("subscription_refused", server=self.server.name, reason=str(error))
            self._cut.set()
            return
        slot = int(str(error).split()[1])
        gone = [channel for channel in (self._probe, *self._channels) if slot_of_key(channel) == slot]
        for channel in gone:
            del self._asked[channel]
        self._gone(gone)

    def _gone(self, channels: list[bytes]) -> None:
        mine = [channel for channel in channels if channel in self._channels]
        for channel in mine:
            del self._channels[channel]
        if mine:
            self._head.moved(mine)
        if mine or self._probe in channels:
            self._servers.doubt(self.server, answers=True)

    async def _probe_on(self) -> None:
        """Publishes to itself now and then; cuts the connection if that is not heard twice in a row.

        If it is heard after it was not once, what came in between may be lost.
        """
        misses = 0
        while misses < 2:
            self._probe_heard.clear()
            try:
                await self._calls.command(self._servers.publish, self._probe, b"?")
                async with asyncio.timeout(self._probe_s):
                    await self._probe_heard.wait()
                if misses:
                    self._head.lost(self._channels)
                    for channel in tuple(self._channels):
                        self._head.confirmed(channel)
                self.deaf = False
                misses = 0
            except TimeoutError:
                misses += 1
                self.deaf = True
            except VoicebusError:
                self.deaf = True
            await asyncio.sleep(self._probe_s)
        self._cut.set()
