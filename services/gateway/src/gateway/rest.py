"""REST: `/ai/sessions` and what belongs to a session."""

import math
from typing import Annotated, Any
from uuid import UUID, uuid5

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, Field, JsonValue

from gateway.auth import Caller, bearer
from gateway.follower import Follower, following
from gateway.snapshot import conversation
from gateway.state import of
from voicebus.bus.items import EventItem
from voicebus.bus.sessions import Place
from voicebus.contract.commands import MessageId
from voicebus.contract.errors import BadRequest, Refused
from voicebus.contract.sessions import HistoryMessage, NewSession, Session, SessionId

router = APIRouter(prefix="/ai/sessions")
_IDEMPOTENCY = UUID("5a3a2a3e-5d5c-4f0e-9a25-6d1d9f8f6f0e")  # names the ids that are derived from keys
_CONTEXT_MAX = 65_536  # bytes of JSON


async def caller(request: Request) -> Caller:
    """Who calls; the token's scopes allow what the method does."""
    who = await of(request).authenticator.caller(bearer(request.headers.get("authorization")))
    who.require("sessions:read" if request.method in {"GET", "HEAD"} else "sessions:write")
    return who


CallerDep = Annotated[Caller, Depends(caller)]


async def own_session(request: Request, session_id: Annotated[SessionId, Path()], who: CallerDep) -> Session:
    """The session in the path. To those who may not see it, it is not there."""
    session = await of(request).bus.sessions.get(session_id)
    if not session.admits(who.sub):
        raise Refused("session_not_found")
    return session


SessionDep = Annotated[Session, Depends(own_session)]


class SessionPage(BaseModel):
    """Sessions, newest first; `next` is the cursor of the page that follows."""

    sessions: list[Session]
    next: str | None = None


class SessionDetails(Session):
    """A session with its conversation."""

    history: list[HistoryMessage]


class NewMessage(BaseModel):
    """A text for the assistant."""

    id: MessageId | None = None
    content: str = Field(min_length=1, max_length=65_536)


class MessageAnswer(BaseModel):
    """The ack, and the response's data if it was waited for."""

    id: str | None = None
    seq: int
    turn: int | None = None
    response: dict[str, Any] | None = None


@router.post("", status_code=201, response_model=Session)
async def create(
    request: Request,
    response: Response,
    who: CallerDep,
    new: NewSession | None = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=256)] = None,
) -> Session:
    """Creates a session; with the same `Idempotency-Key` again it returns the same one, with status 200."""
    gateway = of(request)
    new = new or NewSession()
    _check_context(new.context)
    if new.agent_type not in gateway.settings.agents:
        raise Refused("unknown_agent")
    mine, _ = await gateway.bus.sessions.of_user(who.sub, limit=1_000)
    session_id = uuid5(_IDEMPOTENCY, f"{who.sub}\0{idempotency_key}").hex if idempotency_key else None
    open_ones = [session for session in mine if session.status == "open" and session.session_id != session_id]
    if len(open_ones) >= gateway.settings.sessions_per_user:
        raise Refused("too_many_sessions")
    session, created = await gateway.bus.sessions.open(new, who.sub, session_id=session_id)
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/ai/sessions/{session.session_id}"
    return session


@router.get("")
async def list_own(
    request: Request,
    who: CallerDep,
    cursor: Annotated[str | None, Query(max_length=128)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> SessionPage:
    """The caller's sessions, newest first."""
    sessions, last = await of(request).bus.sessions.of_user(who.sub, after=_place(cursor), limit=limit)
    return SessionPage(sessions=sessions, next=f"{last.created_s!r}:{last.session_id}" if last else None)


@router.get("/{session_id}")
async def show(request: Request, session: SessionDep) -> SessionDetails:
    """A session's state, history and position."""
    history = await conversation(of(request).bus, session.session_id)
    return SessionDetails(**session.model_dump(), history=history)


@router.delete("/{session_id}", status_code=204)
async def end(request: Request, session: SessionDep) -> None:
    """Ends a session; it stays readable for a while."""
    await of(request).bus.sessions.end(session.session_id, "deleted")


@router.post("/{session_id}/message", status_code=202)
async def send(
    request: Request, response: Response, session: SessionDep, message: NewMessage, *, wait: bool = False
) -> MessageAnswer:
    """Sends a text. With `wait=true` the answer holds the response; after 30 s it is the ack alone, status 202.

    The ack alone comes also when the gateway is told to stop.
    """
    gateway = of(request)
    async with following(gateway.bus, gateway.hub, session.session_id, session.position) as follower:
        accepted = await gateway.bus.inbox.submit(
            session.session_id, message.content, agent_type=session.agent_type, message_id=message.id
        )
        answer = MessageAnswer(id=message.id, seq=accepted.seq, turn=accepted.turn)
        if not wait:
            return answer
        if accepted.repeated:
            follower.rewind(session.position.model_copy(update={"seq": accepted.seq - 1}))
        try:
            async with gateway.drain.patience(gateway.settings.wait_s):
                answer.response = await _response(follower, accepted.seq)
                response.status_code = 200
        except TimeoutError:
            pass
        return answer


async def _response(follower: Follower, seq: int) -> dict[str, Any] | None:
    """The data of the event that ends the turn which the event `seq` opened."""
    turn = None
    while True:
        for item in (await follower.next()).items:
            if not isinstance(item, EventItem):
                continue
            event = orjson.loads(item.body)
            if item.seq == seq:
                turn = event.get("turn")
            elif turn is not None and event.get("turn") == turn and _ends_turn(event):
                return {"type": event["type"], **event["data"]}


def _ends_turn(event: dict[str, Any]) -> bool:
    """A sentence that can't be spoken is an error, but the answer goes on."""
    if event["type"] == "error":
        return bool(event["data"]["code"] != "tts_failed")
    return event["type"] in {"response", "interrupted"}


def _check_context(context: dict[str, JsonValue]) -> None:
    try:
        size = len(orjson.dumps(context))
    except orjson.JSONEncodeError as error:  # lone surrogates, integers of more than 64 bits, too many levels
        raise BadRequest("bad_message", f"context: {error}") from error
    if size > _CONTEXT_MAX:
        raise BadRequest("message_too_big", f"The context is larger than {_CONTEXT_MAX} bytes.")


def _place(cursor: str | None) -> Place | None:
    if not cursor:
        return None
    created_s, _, session_id = cursor.partition(":")
    try:
        seconds = float(created_s)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise BadRequest("bad_query", "cursor: not one of ours")
    return Place(seconds, session_id)
