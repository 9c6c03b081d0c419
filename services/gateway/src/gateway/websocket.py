"""`/ai/ws/{session_id}`: lets a client in, or says by a close code why not."""

from contextlib import suppress
from typing import Annotated

import structlog
from fastapi import APIRouter, Query, WebSocket
from pydantic import TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from gateway import metrics
from gateway.auth import SUBPROTOCOL, Caller, bearer, from_subprotocols
from gateway.connection import Connection
from gateway.dialects.native import AudioForm
from gateway.follower import following
from gateway.state import Gateway, of
from voicebus.contract.close import Close
from voicebus.contract.errors import BadRequest, Refused, VoicebusError
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession, Session, SessionId

router = APIRouter()
_log = structlog.get_logger(__name__)
_SESSION_ID: TypeAdapter[str] = TypeAdapter(SessionId)


@router.websocket("/ai/ws/{session_id}")
async def native(
    socket: WebSocket,
    session_id: str,
    epoch: str = "",
    after: Annotated[int | None, Query(ge=0)] = None,
    speech: Annotated[int | None, Query(ge=0)] = None,
    audio: AudioForm = "base64",
    token: str | None = None,
) -> None:
    """The native dialect. A refusal accepts first: before that, browsers only ever see 1006."""
    gateway = of(socket)
    offered = socket.scope.get("subprotocols", [])
    await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
    try:
        with structlog.contextvars.bound_contextvars(session=session_id):
            caller = _admit(gateway, socket, token, offered)
            session = await _session(gateway, session_id, caller)
            position = _position(epoch, after, speech, session)
            await _serve(gateway, socket, session, caller, position, audio)
    except VoicebusError as error:
        metrics.closed.labels(error.close_code or Close.INTERNAL).inc()
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(error.close_code or Close.INTERNAL, error.code)


def _admit(gateway: Gateway, socket: WebSocket, token: str | None, offered: list[str]) -> Caller:
    origin = socket.headers.get("origin")
    if origin is not None and not gateway.settings.allows_origin(origin):
        raise Refused("origin_not_allowed")
    if gateway.drain.started.is_set():
        raise Refused("draining")
    in_query = token if gateway.settings.token_in_query else None
    return gateway.authenticator.caller(
        bearer(socket.headers.get("authorization")) or from_subprotocols(offered) or in_query
    )


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
    if gateway.hub.followers(session_id) >= gateway.settings.connections_per_session:
        raise Refused("too_many_connections")
    return session


def _position(epoch: str, after: int | None, speech: int | None, session: Session) -> Position | None:
    """Where the client stands. One that names no position gets what comes from now on."""
    if after is None and speech is None:
        return None
    try:
        return Position(
            epoch=epoch,
            seq=session.position.seq if after is None else after,
            speech=session.position.speech if speech is None else speech,
        )
    except ValidationError as error:
        raise BadRequest("bad_message", "epoch: not an epoch") from error


async def _serve(
    gateway: Gateway, socket: WebSocket, session: Session, caller: Caller, position: Position | None, audio: AudioForm
) -> None:
    queue_max = gateway.settings.queue_max
    with gateway.drain.client(), metrics.connections.track_inprogress():
        async with following(gateway.bus, gateway.hub, session.session_id, position, queue_max=queue_max) as follower:
            connection = Connection(
                socket,
                gateway.bus,
                follower,
                session,
                caller,
                settings=gateway.settings,
                authenticator=gateway.authenticator,
                audio=audio,
                asked=position,
                drain=gateway.drain,
            )
            await connection.run()
