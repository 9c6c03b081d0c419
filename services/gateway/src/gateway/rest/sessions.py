"""`/ai/sessions`: makes, lists, shows and ends sessions."""

from typing import Annotated, Final
from uuid import UUID, uuid4, uuid5

import orjson
from fastapi import APIRouter, Body, Header, Query, Request, Response
from pydantic import BaseModel, JsonValue

from gateway.rest.answers import OF_A_BODY, OF_A_SESSION, answer, header, problems
from gateway.rest.callers import CallerDep, SessionDep
from gateway.rest.near import LIMIT_NEAR, warn
from gateway.snapshot import conversation
from gateway.state import of
from voicebus.bus.sessions import Place
from voicebus.contract.errors import BadRequest, Refused
from voicebus.contract.sessions import HistoryMessage, NewSession, Session

router = APIRouter()
_IDEMPOTENCY = UUID("5a3a2a3e-5d5c-4f0e-9a25-6d1d9f8f6f0e")  # names the ids that are derived from keys
_CONTEXT_MAX = 65_536  # bytes of JSON
_CURSOR: Final = r"^[0-9]{1,12}(\.[0-9]{1,9})?:[A-Za-z0-9_.:-]{1,64}$"  # seconds since 1970, and a session's id


class SessionPage(BaseModel):
    """Sessions, newest first; `next` is the cursor of the page that follows."""

    sessions: list[Session]
    next: str | None = None


class SessionDetails(Session):
    """A session with its conversation."""

    history: list[HistoryMessage]


_ID: Final = "0b0c4f4e8a3f4d6c9f0e6a1f2b3c4d5e"
_NEW: Final = {"mode": "text", "context": {"city": "Oslo"}, "members": ["bob"], "ttl_s": 3600}
_SESSION: Final = {
    "session_id": _ID,
    "owner": "alice",
    "members": ["bob"],
    "agent_type": "personal",
    "mode": "text",
    "status": "open",
    "context": {"city": "Oslo"},
    "created_at": "2026-01-01T00:00:00.000Z",
    "ttl_s": 3600,
    "turn": 1,
    "active_turn": 1,
    "approvals": [],
    "position": {"epoch": "5f3c9a1e", "seq": 9, "speech": 0},
}
_HISTORY: Final = [
    {"role": "user", "content": "What time is it in Tokyo?", "turn": 1},
    {"role": "assistant", "content": "It is nine in the morning.", "turn": 1},
]
_LOCATION: Final = {"Location": header("The session's path.")}


@router.post(
    "/ai/sessions",
    status_code=201,
    response_model=Session,
    summary="Create a session",
    responses={
        200: answer("The session that the same key has made before.", _SESSION, model=Session, headers=_LOCATION),
        201: answer("The new session.", _SESSION, headers=_LOCATION | LIMIT_NEAR),
        **problems(*OF_A_BODY, "unknown_agent", "not_member", "too_many_sessions", "bus_full"),
    },
)
async def create(
    request: Request,
    response: Response,
    who: CallerDep,
    new: Annotated[NewSession | None, Body(openapi_examples={"text": {"value": _NEW}})] = None,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=256, description="One session per user and key.")
    ] = None,
) -> Session:
    """Creates a session of the caller's; with the same `Idempotency-Key` again it returns the same one, status 200.

    The `members` are other users who may join: they see the session in their list, and may do all that the owner may.
    The `context` is told to the model. Without input for `ttl_s` seconds the session ends by itself.
    """
    gateway = of(request)
    new = new or NewSession()
    _check_context(new.context)
    if new.agent_type not in gateway.settings.agents:
        raise Refused("unknown_agent")
    session_id = uuid5(_IDEMPOTENCY, f"{who.sub}\0{idempotency_key}").hex if idempotency_key else uuid4().hex
    if not idempotency_key or not await gateway.bus.sessions.exists(session_id):
        warn(response, await gateway.limits.session(who.sub, session_id))
    session, created = await gateway.bus.sessions.open(new, who.sub, session_id=session_id)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/ai/sessions/{session.session_id}"
    return session


@router.get(
    "/ai/sessions",
    summary="List sessions",
    responses={200: answer("A page of sessions.", {"sessions": [_SESSION], "next": None}), **problems()},
)
async def list_own(
    request: Request,
    who: CallerDep,
    cursor: Annotated[
        str | None, Query(max_length=128, pattern=_CURSOR, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Most sessions of a page.")] = 50,
) -> SessionPage:
    """The sessions that the caller owns or is a member of, newest first.

    A page may hold fewer than `limit`, where sessions are gone; there are more as long as `next` is there.
    """
    sessions, last = await of(request).bus.sessions.of_user(who.sub, after=_place(cursor), limit=limit, shared=True)
    return SessionPage(sessions=sessions, next=f"{last.created_s!r}:{last.session_id}" if last else None)


@router.get(
    "/ai/sessions/{session_id}",
    summary="Show a session",
    responses={
        200: answer("The session and its conversation.", _SESSION | {"history": _HISTORY}),
        **problems(*OF_A_SESSION),
    },
)
async def show(request: Request, session: SessionDep) -> SessionDetails:
    """A session's state, its conversation, the tool calls that wait for approval, and the heads of log and speech."""
    history = await conversation(of(request).bus, session.session_id)
    return SessionDetails(**session.model_dump(), history=history)


@router.delete(
    "/ai/sessions/{session_id}",
    status_code=204,
    summary="End a session",
    responses={204: {"description": "The session has ended, now or before."}, **problems(*OF_A_SESSION)},
)
async def end(request: Request, session: SessionDep) -> None:
    """Ends a session: its clients get `session_end`, and it takes no more input. It stays readable for 24 hours."""
    await of(request).bus.sessions.end(session.session_id, "deleted")


def _check_context(context: dict[str, JsonValue]) -> None:
    try:
        size = len(orjson.dumps(context))
    except orjson.JSONEncodeError as error:  # lone surrogates, integers of more than 64 bits, too many levels
        raise BadRequest("bad_message", f"context: {error}") from error
    if size > _CONTEXT_MAX:
        raise BadRequest("message_too_big", f"The context is larger than {_CONTEXT_MAX} bytes.")


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    created_s, _, session_id = cursor.partition(":")
    return Place(float(created_s), session_id)
