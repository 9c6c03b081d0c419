"""A session's events as server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them.

Each durable event has the id `<epoch>:<seq>`; who comes back with it as `Last-Event-ID` goes on behind it. Ephemeral
events and this stream's own (`gap`, `drain`, `error`) have none. Speech is left out: it is for WebSockets.
"""

import asyncio
import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import metrics
from gateway.auth import Caller
from gateway.follower import Batch, PatientFollower, following
from gateway.limits import Near
from gateway.problems import problem_data
from gateway.rest.negotiation import EVENT_STREAM
from gateway.snapshot import state_of
from gateway.state import Gateway
from voicebus.bus.items import EventItem, Item, SpeechItem
from voicebus.contract import events, payloads
from voicebus.contract.codec import dump_event
from voicebus.contract.errors import Refused, VoicebusError
from voicebus.contract.positions import GapRange, Position
from voicebus.contract.sessions import Session

_TOGETHER: Final = 64  # events that are written at once; behind them the client's socket is waited for
_TAKEN_WITHIN: Final = 2  # keep-alive intervals in which a client must take something
_LAST_WORDS_S: Final = 1.0
E = TypeVar("E", bound=BaseException)


class Over(Exception):
    """The stream ends, and the client knows why."""


class Gone(Exception):
    """The client is not there any more, or takes nothing."""


class EventStream(Response):
    """Replays from a position, then goes on live until the session's end, the token's, or the gateway's.

    A client that reads slowly is served from the log at its own pace, without ephemeral events.
    """

    media_type = EVENT_STREAM

    def __init__(self, gateway: Gateway, session: Session, caller: Caller, start: Position) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # proxies pass it on at once
        self._gateway = gateway
        self._session = session
        self._session_id = session.session_id
        self._caller = caller
        self._start = start
        self._alive_every_s = gateway.settings.ping_interval_s

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; what is refused before it begins is raised."""
        gateway, sub = self._gateway, self._caller.sub
        queue_max = gateway.settings.queue_max
        with gateway.drain.client():
            async with (
                gateway.limits.connection(self._session_id, sub) as near,
                following(
                    gateway.bus, gateway.hub, self._session_id, self._start, queue_max=queue_max, speech=False
                ) as follower,
            ):
                self._send = send
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                with metrics.streams.track_inprogress():
                    await self._run(receive, follower, near)

    async def _run(self, receive: Receive, follower: PatientFollower, near: Near | None) -> None:
        last, there = None, True
        sending = self._send_on(follower, near)
        try:
            async with asyncio.TaskGroup() as tasks:
                for loop in (self._listen(receive), sending, self._watch_token(), self._watch_drain()):
                    tasks.create_task(loop)
        except* Gone:
            there = False
        except* Over:
            pass
        except* VoicebusError as group:
            last = self._error(_first(group))
        if there:
            await self._end(last)

    async def _end(self, last: events.Envelope | None) -> None:
        chunk = _message(dump_event(last)) if last else b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": False})

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        raise Gone

    async def _send_on(self, follower: PatientFollower, near: Near | None) -> None:
        """First of all the client is told where it stands: it may have to come back before there is an event."""
        if near:
            await self._write(_message(dump_event(self._warning(near))))
        batch = await follower.next()
        await self._write(_place(_begin(batch, follower)))
        while True:
            await self._send_batch(batch, follower)
            if self._session.status == "ended" and not batch.items:
                raise Over
            batch = await self._next(follower)

    async def _next(self, follower: PatientFollower) -> Batch:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._alive_every_s):
                    return await follower.next()
            await self._write(b":\n\n")

    async def _send_batch(self, batch: Batch, follower: PatientFollower) -> None:
        for gap in batch.gaps:
            metrics.gaps.labels(gap.stream, gap.reason).inc()
            await self._write(_message(dump_event(self._gap(gap))))
        if batch.gaps:
            data = payloads.StateSnapshotData(state=await state_of(self._gateway.bus, self._session_id))
            snapshot = events.StateSnapshot(session_id=self._session_id, agent_type=self._session.agent_type, data=data)
            await self._write(_message(dump_event(snapshot), _begin(batch, follower)))
        for at in range(0, len(batch.items), _TOGETHER):
            await self._write(b"".join(map(_of_item, batch.items[at : at + _TOGETHER])))
        metrics.sent.count += len(batch.items)
        if any(isinstance(item, EventItem) and b'"type":"session_end"' in item.body[:64] for item in batch.items):
            raise Over

    async def _write(self, chunk: bytes) -> None:
        """Waits while the client doesn't read, but not for ever."""
        try:
            async with asyncio.timeout(_TAKEN_WITHIN * self._alive_every_s):
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        except TimeoutError as error:
            raise Gone from error

    async def _watch_token(self) -> None:
        revoked = asyncio.Event()
        with self._gateway.revocations.watching(revoked.set), suppress(TimeoutError):
            async with asyncio.timeout(self._left_s()):
                while True:
                    self._gateway.revocations.admit(self._caller)
                    await revoked.wait()
                    revoked.clear()
        raise Refused("token_expired")

    def _left_s(self) -> float | None:
        expires_at = self._caller.expires_at
        if expires_at is None:
            return None
        return max((expires_at - datetime.now(UTC)).total_seconds() + self._gateway.settings.jwt_leeway_s, 0)

    async def _watch_drain(self) -> None:
        drain = self._gateway.drain
        await drain.started.wait()
        delay_s = drain.pick_delay_s()
        data = payloads.DrainData(reconnect_after_ms=math.ceil(delay_s * 1000))
        leaving = events.Drain(session_id=self._session_id, agent_type=self._session.agent_type, data=data)
        await self._write(_message(dump_event(leaving)))
        await asyncio.sleep(delay_s)
        raise Over

    def _gap(self, gap: GapRange) -> events.Gap:
        data = payloads.GapData(stream=gap.stream, from_=gap.first, to=gap.last, reason=gap.reason)
        return events.Gap(session_id=self._session_id, agent_type=self._session.agent_type, data=data)

    def _warning(self, near: Near) -> events.Warning:
        return events.Warning(session_id=self._session_id, agent_type=self._session.agent_type, data=near.problem)

    def _error(self, error: VoicebusError) -> events.Error:
        data = problem_data(error)
        return events.Error(session_id=self._session_id, agent_type=self._session.agent_type, data=data)


def _begin(batch: Batch, follower: PatientFollower) -> Position:
    """Where the client stands before the batch's events."""
    first = next((item.seq for item in batch.items if isinstance(item, EventItem)), follower.sent.seq + 1)
    return follower.sent.model_copy(update={"seq": first - 1})


def _place(position: Position) -> bytes:
    """An id without data: browsers note it and dispatch nothing."""
    return f"id: {position.epoch}:{position.seq}\n\n".encode()


def _message(event: bytes, position: Position | None = None) -> bytes:
    """The event is JSON in one line."""
    named = f"id: {position.epoch}:{position.seq}\n".encode() if position else b""
    return b"%bdata: %b\n\n" % (named, event)


def _of_item(item: Item) -> bytes:
    if isinstance(item, SpeechItem):
        return b""
    if isinstance(item, EventItem):
        return b"id: %b:%d\ndata: %b\n\n" % (item.epoch.encode(), item.seq, item.body)
    return b"data: %b\n\n" % item.body


def _first(group: BaseExceptionGroup[E]) -> E:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
