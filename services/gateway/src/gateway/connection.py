"""One WebSocket client of the native dialect: what it says goes to the bus, what the session does goes to it."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import orjson
import structlog
from fastapi import WebSocket, WebSocketDisconnect

from gateway import metrics
from gateway.admission import Admission
from gateway.auth import Caller
from gateway.commands import CommandHandler
from gateway.dialects.native import AudioForm, frame
from gateway.drain import Drain
from gateway.follower import Batch, Follower
from gateway.frames import closed_by_protocol, text_frame, write_frames
from gateway.limits import Limits, Near
from gateway.microphone import Microphone
from gateway.problems import problem_data
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from gateway.snapshot import state_of
from gateway.stopwatch import Stopwatch
from voicebus.bus.bus import Bus
from voicebus.bus.items import EventItem, Item
from voicebus.contract import events, payloads
from voicebus.contract.close import Close
from voicebus.contract.codec import dump_event, load_command, message_ref
from voicebus.contract.commands import Audio, AudioStart, Auth, Command, Ping, SetMode, SwitchAgent, Text
from voicebus.contract.errors import BadRequest, BusFull, Refused, VoicebusError
from voicebus.contract.positions import GapRange, Position
from voicebus.contract.sessions import Session

_log = structlog.get_logger(__name__)
_WARN_BEFORE_EXPIRY_S = 60
_TOLD_WITHIN_S = 0.5
E = TypeVar("E", bound=BaseException)


class Closed(Exception):
    """The connection ends with this close code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Connection:
    """Reads and writes one socket until either side ends it."""

    def __init__(
        self,
        socket: WebSocket,
        bus: Bus,
        follower: Follower,
        session: Session,
        caller: Caller,
        *,
        settings: GatewaySettings,
        admit: Callable[[str], Awaitable[Caller]],
        revocations: Revocations,
        limits: Limits,
        admission: Admission,
        audio: AudioForm,
        asked: Position | None,
        drain: Drain,
        near: Near | None,
    ) -> None:
        self._socket = socket
        self._bus = bus
        self._follower = follower
        self._session = session
        self._session_id = session.session_id
        self._agent = session.agent_type
        self._mode = session.mode
        self._caller = caller
        self._caller_changed = asyncio.Event()
        self._settings = settings
        self._admit = admit
        self._revocations = revocations
        self._limits = limits
        self._admission = admission
        self._audio: AudioForm = audio
        self._asked = asked
        self._drain = drain
        self._near = near  # the limit of connections
        self._stopwatch = Stopwatch()
        self._welcomed = asyncio.Event()
        self._microphone = Microphone(
            bus.inbox, self._session_id, uuid4().hex, self._acknowledge_audio, self._complain, self._pay
        )
        self._commands = CommandHandler(bus, self._session_id, self._microphone, agents=settings.agents)

    async def run(self) -> None:
        """Serves until the end, which is a `Closed` or a disconnect."""
        loops = (self._send_on, self._receive_on, self._microphone.run, self._watch_token, self._watch_drain)
        try:
            with self._revocations.watching(self._caller_changed.set):
                async with asyncio.TaskGroup() as tasks:
                    for loop in loops:
                        tasks.create_task(loop())
        except* Closed as group:
            await self._close(_first(group))
        except* WebSocketDisconnect:
            metrics.closed.labels(closed_by_protocol(self._socket) or "client").inc()
        except* VoicebusError as group:
            error = _first(group)
            _log.warning("connection_failed", code=error.code, reason=error.message)
            await self._close(Closed(error.close_code or Close.INTERNAL, error.code))

    async def _close(self, closed: Closed) -> None:
        metrics.closed.labels(int(closed.code)).inc()
        with suppress(RuntimeError, WebSocketDisconnect):  # the client may have gone first
            await self._socket.close(closed.code, closed.reason)

    # Step ⑦: what the session does.

    async def _send_on(self) -> None:
        """The first batch is welcomed, and each that was read in another epoch than the client knows of."""
        epoch = None
        while True:
            batch = await self._follower.next()
            if batch.head is not None and batch.head.epoch != epoch:
                await self._welcome(batch, batch.head, resumed=self._asked is not None or epoch is not None)
                epoch = batch.head.epoch
            await self._send_batch(batch)
            if self._session.status == "ended" and not batch.items:
                raise Closed(Close.ENDED, "session_ended")

    async def _welcome(self, batch: Batch, head: Position, *, resumed: bool) -> None:
        first = next((item.seq for item in batch.items if isinstance(item, EventItem)), head.seq + 1)
        await self._send(
            events.Welcome(
                session_id=self._session_id,
                agent_type=self._agent,
                data=payloads.WelcomeData(
                    epoch=head.epoch,
                    seq=head.seq,
                    speech=head.speech,
                    resumed=resumed,
                    replayed=head.seq + 1 - first,
                    agent_type=self._agent,
                    mode=self._session.mode,
                    ping_interval_s=self._settings.ping_interval_s,
                    token_expires_at=self._caller.expires_at,
                ),
            )
        )
        if resumed:
            metrics.replays.inc()
            metrics.replayed.inc(head.seq + 1 - first)
        self._welcomed.set()

    async def _send_batch(self, batch: Batch) -> None:
        for gap in batch.gaps:
            metrics.gaps.labels(gap.stream, gap.reason).inc()
            await self._send(self._gap(gap))
        if batch.gaps:
            state = await state_of(self._bus, self._session_id)
            await self._send(
                events.StateSnapshot(
                    session_id=self._session_id, agent_type=self._agent, data=payloads.StateSnapshotData(state=state)
                )
            )
        await write_frames(self._socket, [frame(item, self._audio) for item in batch.items])
        metrics.sent.inc(len(batch.items))
        if self._stopwatch.running:
            self._stopwatch.sent(batch.items)
        for item in batch.items:
            self._note(item)

    def _gap(self, gap: GapRange) -> events.Gap:
        data = payloads.GapData(stream=gap.stream, from_=gap.first, to=gap.last, reason=gap.reason)
        return events.Gap(session_id=self._session_id, agent_type=self._agent, data=data)

    def _note(self, item: Item) -> None:
        if isinstance(item, EventItem):
            opening = item.body[:64]
            if b'"type":"agent_switch"' in opening:
                self._agent = orjson.loads(item.body)["agent_type"]
            elif b'"type":"session_end"' in opening:
                raise Closed(Close.ENDED, "session_ended")

    async def _send(self, event: events.Envelope) -> None:
        await write_frames(self._socket, [text_frame(dump_event(event))])

    # Steps ① and ②: what the client says.

    async def _receive_on(self) -> None:
        await self._welcomed.wait()
        await self._warn(self._near)
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            metrics.received.inc()
            self._left_s(self._caller)
            if (data := message.get("bytes")) is not None:
                self._stopwatch.heard(len(data))
                await self._microphone.feed(data)
            else:
                await self._hear(message["text"])
            await asyncio.sleep(0)  # what needed no waiting must not keep the others from their turn

    async def _hear(self, raw: str) -> None:
        ref = None
        try:
            command = load_command(raw, limit=self._settings.message_max)
            ref = getattr(command, "id", None)
            seq = await self._carry_out(command)
        except (BadRequest, Refused, BusFull) as error:
            if error.code == "session_ended":
                raise Closed(Close.ENDED, error.code) from error
            await self._complain(error, ref or message_ref(raw))
            return
        if ref is not None and seq is not None:
            await self._send(
                events.Ack(session_id=self._session_id, agent_type=self._agent, data=payloads.AckData(id=ref, seq=seq))
            )

    async def _carry_out(self, command: Command) -> int | None:
        if isinstance(command, Ping):
            await self._send(events.Pong(session_id=self._session_id, agent_type=self._agent))
            return None
        if isinstance(command, Auth):
            return await self._renew_token(command)
        self._caller.require("sessions:write")
        await self._let_in(command)
        self._stopwatch.command(command)
        seq = await self._commands.handle(command, agent_type=self._agent)
        if isinstance(command, SetMode):
            self._mode = command.mode
        return seq

    async def _let_in(self, command: Command) -> None:
        """Raises `Refused` if there is no room for the command, or too many like it came."""
        sub = self._caller.sub
        if isinstance(command, Text | Audio):
            spoken = isinstance(command, Audio)
            near = await self._admission.message(self._session_id, sub, command.id, self._mode, spoken=spoken)
            await self._warn(near)
        elif isinstance(command, SetMode | SwitchAgent):
            await self._warn(await self._limits.message(self._session_id, sub, command.id))
        elif isinstance(command, AudioStart) and not command.offset:
            self._admission.admit(self._mode, spoken=True)

    async def _acknowledge_audio(self, stream: str, offset: int) -> None:
        data = payloads.AudioAckData(stream=stream, offset=offset)
        await self._send(events.AudioAck(session_id=self._session_id, agent_type=self._agent, data=data))

    async def _pay(self, stream: str, from_ms: int, to_ms: int) -> None:
        await self._warn(await self._limits.audio(self._session_id, self._caller.sub, stream, from_ms, to_ms))

    async def _warn(self, near: Near | None) -> None:
        if near:
            await self._send(events.Warning(session_id=self._session_id, agent_type=self._agent, data=near.problem))

    async def _complain(self, error: VoicebusError, ref: str | None = None) -> None:
        metrics.refused.labels(error.code).inc()
        data = problem_data(error, ref)
        await self._send(events.Error(session_id=self._session_id, agent_type=self._agent, data=data))

    async def _renew_token(self, command: Auth) -> int:
        caller = await self._admit(command.token)
        if caller.sub != self._caller.sub:
            raise Refused("token_invalid", "The token belongs to someone else.")
        for scope in self._caller.scopes:
            caller.require(scope)
        self._caller = caller
        self._caller_changed.set()
        return (await self._bus.sessions.get(self._session_id)).position.seq

    async def _watch_token(self) -> None:
        """Ends the connection when its token expires or is revoked, and says so a minute before it expires."""
        await self._welcomed.wait()
        warned_of: Caller | None = None
        while True:
            caller = self._caller
            left_s = self._left_s(caller)
            if caller.expires_at and left_s <= _WARN_BEFORE_EXPIRY_S and warned_of is not caller:
                data = payloads.TokenExpiringData(expires_at=caller.expires_at)
                with suppress(TimeoutError):  # who doesn't read now is told later, and closed in time all the same
                    async with asyncio.timeout(_TOLD_WITHIN_S):
                        await self._send(events.TokenExpiring(session_id=self._session_id, data=data))
                        warned_of = caller
            ahead_s = -self._settings.jwt_leeway_s if warned_of is caller else _WARN_BEFORE_EXPIRY_S
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left_s - ahead_s, 0.001) if caller.expires_at else None):
                    await self._caller_changed.wait()
            self._caller_changed.clear()

    def _left_s(self, caller: Caller) -> float:
        """How long the token lasts. Raises `Closed` if it isn't valid any more."""
        try:
            self._revocations.admit(caller)
        except Refused as error:
            raise Closed(Close.TOKEN, error.code) from error
        left_s = (caller.expires_at - datetime.now(UTC)).total_seconds() if caller.expires_at else math.inf
        if left_s <= -self._settings.jwt_leeway_s:
            raise Closed(Close.TOKEN, "token_expired")
        return left_s

    async def _watch_drain(self) -> None:
        await self._drain.started.wait()
        await self._welcomed.wait()
        delay_s = self._drain.pick_delay_s()
        data = payloads.DrainData(reconnect_after_ms=int(delay_s * 1000))
        await self._send(events.Drain(session_id=self._session_id, agent_type=self._agent, data=data))
        await asyncio.sleep(delay_s)
        raise Closed(Close.DRAINING, "draining")


def _first(group: BaseExceptionGroup[E]) -> E:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
