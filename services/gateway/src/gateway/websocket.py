"""`/ai/ws/{session_id}`: lets a client in, or says by a close code why not."""

import re
from typing import Final, cast

import structlog
from fastapi import FastAPI
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from gateway import metrics
from gateway.auth import SUBPROTOCOL, Caller, bearer, from_subprotocols
from gateway.connection import Connection
from gateway.dialects.native import AudioForm
from gateway.frames import text_frame
from gateway.handshake import Endpoint, Opening
from gateway.link import Link
from gateway.problems import problem_data
from gateway.rest.negotiation import named_twice
from gateway.state import Gateway
from voicebus.contract.close import Close
from voicebus.contract.codec import dump_event
from voicebus.contract.errors import BadRequest, Refused, VoicebusError
from voicebus.contract.events import Error
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession, Session, SessionId

_PATH: Final = re.compile(r"/ai/ws/([^/]+)")
_CROWD_RETRY_MS: Final = 5_000
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


def endpoint(app: FastAPI) -> Endpoint:
    """The native dialect's, of an application that is running once somebody connects."""

    def serve(link: Link, opening: Opening, path: re.Match[str]) -> None:
        gateway = cast("Gateway", app.state.gateway)
        connections = gateway.connections
        if not connections.let_in(
            lambda: link.is_open, lambda: connections.start(_serve(gateway, link, opening, path[1]))
        ):
            _refuse(link, path[1], Refused("overloaded", retry_after_ms=_CROWD_RETRY_MS))

    return Endpoint(_PATH, SUBPROTOCOL, serve)


async def _serve(gateway: Gateway, link: Link, opening: Opening, session_id: str) -> None:
    """Joins the client to the session, or says why not."""
    with structlog.contextvars.bound_contextvars(session=session_id):
        try:
            address = await gateway.proxies.address_of(opening)
            caller = await _admit(gateway, opening, address)
            session = await _session(gateway, session_id, caller)
            asked = _query(opening)
            position, audio = asked.position(session), asked.audio
            connection = Connection(gateway, link, session, caller, asked=position, audio=audio, address=address)
            await connection.join()
        except VoicebusError as error:
            _refuse(link, session_id, error)
        except Exception:
            link.close(Close.INTERNAL)
            raise


def _refuse(link: Link, session_id: str, error: VoicebusError) -> None:
    metrics.refused.labels(error.code).inc()
    metrics.closed.labels(int(error.close_code or Close.INTERNAL)).inc()
    if error.retry_after_ms is not None:  # a close can't say when to come back
        last = Error(session_id=session_id[:64], data=problem_data(error))
        link.write(text_frame(dump_event(last)))
    link.close(error.close_code or Close.INTERNAL, error.code)


def _query(opening: Opening) -> JoinQuery:
    if (twice := named_twice(opening.query)) is not None:
        raise BadRequest("bad_query", f"{twice[:64]}: given more than once")
    try:
        return JoinQuery.model_validate(dict(opening.query))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadRequest("bad_query", f"{first['loc'][0]}: {first['msg']}") from error


async def _admit(gateway: Gateway, opening: Opening, address: str) -> Caller:
    origin = opening.header(b"origin")
    if origin is not None and not gateway.settings.allows_origin(origin):
        raise Refused("origin_not_allowed")
    if gateway.drain.started.is_set():
        raise Refused("draining")
    in_query = opening.query.get("token") if gateway.settings.token_in_query else None
    token = bearer(opening.header(b"authorization")) or from_subprotocols(opening.subprotocols) or in_query
    caller = await gateway.admit(token, address)
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
