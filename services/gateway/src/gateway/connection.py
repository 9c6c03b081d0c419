"""One WebSocket client of the native dialect, from its welcome to its end."""

import asyncio
from datetime import UTC, datetime
from typing import Final

from gateway import metrics
from gateway.auth import Caller
from gateway.client import GONE, Client, Closed
from gateway.dialects.native import AudioForm
from gateway.follower import Batch
from gateway.incoming import Incoming
from gateway.limits import Entry
from gateway.link import Link
from gateway.outgoing import Outgoing
from gateway.state import Gateway
from voicebus.bus.items import EventItem
from voicebus.contract import events, payloads
from voicebus.contract.close import Close
from voicebus.contract.errors import Refused
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session

_WARN_BEFORE_EXPIRY_S: Final = 60
_LOOK_S: Final = 60  # so often the wall clock is looked at: it may have been set
_TOLD_AGAIN_S: Final = 0.5  # when the client did not read: so long later it is tried again


class Connection:
    """Joins a client to its session. Between `join` and its end nothing waits for it but timers and callbacks."""

    __slots__ = (
        *("_client", "_entry", "_gateway", "_incoming", "_mode", "_outgoing", "_timer", "_warned_of", "_welcomed"),
    )

    def __init__(
        self,
        gateway: Gateway,
        link: Link,
        session: Session,
        caller: Caller,
        *,
        asked: Position | None,
        audio: AudioForm,
        address: str,
    ) -> None:
        self._gateway = gateway
        self._mode = session.mode
        self._client = client = Client(link, gateway.connections, session, caller, self._ended)
        self._outgoing = Outgoing(
            client,
            gateway.bus,
            gateway.connections,
            session,
            asked,
            audio=audio,
            queue_max=gateway.settings.queue_max,
            welcome=self._welcome,
        )
        self._incoming = Incoming(
            client, gateway, self._outgoing, mode=session.mode, address=address, renewed=self._renewed
        )
        self._entry: Entry | None = None  # where the connection counts
        self._welcomed = False
        self._timer: asyncio.TimerHandle | None = None  # for the token
        self._warned_of: Caller | None = None

    async def join(self) -> None:
        """Counts the client in and lets it hear; what it asked for follows by itself.

        Raises:
            VoicebusError: there are too many connections, or the bus is away.
        """
        gateway, client = self._gateway, self._client
        gateway.drain.enter()
        metrics.connections.inc()
        try:
            self._entry = await gateway.limits.enter(client.session_id, client.caller.sub)
            await gateway.hub.add(client.session_id, self._outgoing.follower)
        except BaseException:
            client.is_over = True
            self._ended()
            raise
        metrics.opened.inc()
        self._outgoing.start()
        client.link.listen(self)

    # What the link tells.

    def heard(self, message: str | bytes) -> None:
        """A message of the client."""
        self._incoming.heard(message)

    def roomy(self) -> None:
        """The client takes more again."""
        self._client.roomy()
        self._outgoing.roomy()

    def gone(self, code: int | None) -> None:
        """The connection is over."""
        self._client.end(GONE if code is None else code)

    # Its course.

    async def _welcome(self, batch: Batch, head: Position, resumed: bool) -> None:
        """Tells the client where it stands, and from the first time on hears what it says."""
        client = self._client
        first = next((item.seq for item in batch.items if isinstance(item, EventItem)), head.seq + 1)
        replayed = head.seq + 1 - first
        data = payloads.WelcomeData(
            epoch=head.epoch,
            seq=head.seq,
            speech=head.speech,
            resumed=resumed,
            replayed=replayed,
            agent_type=client.agent,
            mode=self._mode,
            ping_interval_s=self._gateway.settings.ping_interval_s,
            token_expires_at=client.caller.expires_at,
        )
        await client.tell(events.Welcome, data)
        if resumed:
            metrics.replays.inc()
            metrics.replayed.inc(replayed)
        if not self._welcomed:
            self._welcomed = True
            self._gateway.connections.add(self)
            self._gateway.revocations.watch(self._check_token)
            self._check_token()
            self._incoming.begin(self._entry.near if self._entry else None)

    def leave(self) -> None:
        """The gateway goes: the client is told when to leave, and is sent away then."""
        self._client.start(self._leave(self._gateway.drain.pick_delay_s()))

    async def _leave(self, delay_s: float) -> None:
        await self._client.tell(events.Drain, payloads.DrainData(reconnect_after_ms=int(delay_s * 1000)))
        await asyncio.sleep(delay_s)
        raise Closed(Close.DRAINING, "draining")

    def _ended(self) -> None:
        """Takes the connection out of all lists. It may have got into none."""
        gateway, client = self._gateway, self._client
        gateway.connections.remove(self)
        gateway.revocations.unwatch(self._check_token)
        gateway.hub.remove(client.session_id, self._outgoing.follower)
        if self._timer is not None:
            self._timer.cancel()
        if self._entry is not None:
            gateway.connections.start(gateway.limits.leave(self._entry))
        metrics.connections.dec()
        gateway.drain.left()

    # The token.

    def _renewed(self, caller: Caller) -> None:
        self._client.caller = caller
        self._check_token()

    def _check_token(self) -> None:
        """Ends the connection when its token has expired or is revoked, and says so a minute before it expires."""
        if self._client.is_over:  # its last words were a new token
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        caller = self._client.caller
        try:
            self._gateway.revocations.admit(caller)
        except Refused as error:
            self._client.close(Close.TOKEN, error.code)
            return
        if caller.expires_at is None:
            return
        left_s = (caller.expires_at - datetime.now(UTC)).total_seconds()
        over_s = left_s + self._gateway.settings.jwt_leeway_s
        if over_s <= 0:
            self._client.close(Close.TOKEN, "token_expired")
            return
        if left_s > _WARN_BEFORE_EXPIRY_S:
            next_s = left_s - _WARN_BEFORE_EXPIRY_S
        elif self._warned_of is caller:
            next_s = over_s
        elif self._client.link.blocked:  # who doesn't read now is told later, and closed in time all the same
            next_s = min(_TOLD_AGAIN_S, over_s)
        else:
            self._warned_of = caller
            self._client.start(
                self._client.tell(events.TokenExpiring, payloads.TokenExpiringData(expires_at=caller.expires_at))
            )
            next_s = over_s
        self._timer = asyncio.get_running_loop().call_later(min(max(next_s, 0.001), _LOOK_S), self._check_token)
