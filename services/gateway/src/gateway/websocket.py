"""`/ai/ws/{session_id}`: lets a client in, or says by a close code why not."""

from contextlib import suppress
from functools import partial

import structlog
from fastapi import APIRouter, WebSocket
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from gateway import metrics
from gateway.auth import SUBPROTOCOL, Caller, bearer, from_subprotocols
from gateway.connection import Connection
from gateway.dialects.native import AudioForm
from gateway.follower import following
from gateway.problems import problem_data
from gateway.rest.negotiation import named_twice
from gateway.state import Gateway, address_of, of
from voicebus.contract.close import Close
from voicebus.contract.codec import dump_event
from voicebus.contract.errors import BadRequest, Refused, VoicebusError
from voicebus.contract.events import Error
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession, Session, SessionId

router = APIRouter()
_SESSION_ID: TypeAdapter[str] = TypeAdapter(SessionId)


class JoinQuery(BaseModel):
    """What the address of a connection says: where the client stands, and how it wants speech."""

    epoch: str = Field(default="", max_length=64)
    after: int | None = Field(default=None, ge=0, le=2**53)
    speech: int | None = Field(default=None, ge=0, le=2**53)
    audio: AudioForm = "base64"

    def position(self, session: Session) -> Position | None:
        """Where to go on; None for a client that names no position: it gets what comes from now on."""
        if self.after is None and self.speech is None:
            return None
        heads = session.position
        return Position(
            epoch=self.epoch,
            seq=heads.seq if self.after is None else self.after,
            speech=heads.speech if self.speech is None else self.speech,
        )


@router.websocket("/ai/ws/{session_id}")
async def native(
    socket: WebSocket,
    session_id: str,
) -> None:
    """The native dialect. A refusal accepts first: before that, browsers only ever see 1006."""
    gateway = of(socket)
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        with structlog.contextvars.bound_contextvars(session=session_id):
            caller = await _admit(gateway, socket, offered)
            session = await _session(gateway, session_id, caller)
            await _serve(gateway, socket, session, caller, _query(socket))
    except VoicebusError as error:
        metrics.refused.labels(error.code).inc()
        metrics.closed.labels(int(error.close_code or Close.INTERNAL)).inc()
        with suppress(RuntimeError, WebSocketDisconnect):
            if error.retry_after_ms is not None:  # a close can't say when to come back
                last = Error(session_id=session_id[:64], data=problem_data(error))
                await socket.send_text(dump_event(last).decode())
            await socket.close(error.close_code or Close.INTERNAL, error.code)


def _query(socket: WebSocket) -> JoinQuery:
    if (twice := named_twice(socket.query_params)) is not None:
        raise BadRequest("bad_query", f"{twice[:64]}: given more than once")
    try:
        return JoinQuery.model_validate(dict(socket.query_params))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadRequest("bad_query", f"{first['loc'][0]}: {first['msg']}") from error


async def _admit(gateway: Gateway, socket: WebSocket, offered: list[str]) -> Caller:
    origin = socket.headers.get("origin")
    if origin is not None and not gateway.settings.allows_origin(origin):
        raise Refused("origin_not_allowed")
    if gateway.drain.started.is_set():
        raise Refused("draining")
    in_query = socket.query_params.get("token") if gateway.settings.token_in_query else None
    token = bearer(socket.headers.get("authorization")) or from_subprotocols(offered) or in_query
    caller = await gateway.admit(token, address_of(socket))
    caller.require("sessions:read")
    return caller


async def _session(gateway: Gateway, session_id: str, caller: Caller) -> Session:
    try:
        _SESSION_ID.validate_python(session_id)
    except ValidationError as error:
        raise Refused("session_not_found") from error
    try:
        session = await gateway.bus.sessions.get(session_id)
    except Refused:
        if not gateway.settings.dev_mode:
            raise
        session, _ = await gateway.bus.sessions.open(NewSession(), caller.sub, session_id=session_id)
    if not session.admits(caller.sub):
        raise Refused("not_member")
    return session


async def _serve(gateway: Gateway, socket: WebSocket, session: Session, caller: Caller, query: JoinQuery) -> None:
    asked = query.position(session)
    start = asked or session.position  # what happened since the session was looked at is not missed
    queue_max = gateway.settings.queue_max
    with gateway.drain.client(), metrics.connections.track_inprogress():
        async with (
            gateway.limits.connection(session.session_id, caller.sub) as near,
            following(gateway.bus, gateway.hub, session.session_id, start, queue_max=queue_max) as follower,
        ):
            connection = Connection(
                socket,
                gateway.bus,
                follower,
                session,
                caller,
                settings=gateway.settings,
                admit=partial(gateway.admit, address=address_of(socket)),
                revocations=gateway.revocations,
                limits=gateway.limits,
                admission=gateway.admission,
                audio=query.audio,
                asked=asked,
                drain=gateway.drain,
                near=near,
            )
            metrics.opened.inc()
            await connection.run()
