"""`/ai/sessions/{id}/events`: a session's log, as pages of JSON or as a stream."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from gateway.follower import read_events
from gateway.rest.answers import OF_A_SESSION, problems
from gateway.rest.callers import CallerDep, SessionDep
from gateway.rest.log_page import EventPageTail, LogPosition
from gateway.rest.negotiation import EVENT_STREAM, JSON, chosen
from gateway.rest.stream import EventStream
from gateway.state import of
from voicebus.bus.items import EventItem
from voicebus.contract.errors import BadRequest
from voicebus.contract.payloads import GapData
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session

router = APIRouter()
_COUNT_MAX: Final = 2**53
_PAGE: Final = 256  # events
_PAGE_MAX: Final = 1_000
_EVENT_ID: Final = r"^([0-9a-f]{1,64}:[0-9]{1,15})?$"


async def asked_for(
    after: Annotated[int | None, Query(ge=0, le=_COUNT_MAX, description="The `seq` behind which to begin.")] = None,
    epoch: Annotated[str, Query(max_length=64, description="In which `after` is valid; without it: now.")] = "",
    last_event_id: Annotated[
        str | None,
        Header(
            pattern=_EVENT_ID,
            description="`<epoch>:<seq>`, as the stream's ids are; counts instead of `after` and `epoch`.",
            openapi_examples={"behind 42": {"value": "5f3c9a1e:42"}},
        ),
    ] = None,
) -> Position | None:
    """Where the caller stands; None if it doesn't say."""
    if last_event_id:
        epoch, _, seq = last_event_id.partition(":")
        return Position(epoch=epoch, seq=int(seq))
    if after is None and epoch:
        raise BadRequest("bad_query", "epoch: says nothing without after")
    return None if after is None else Position(epoch=epoch, seq=after)


_EVENT: Final = {
    "seq": 2,
    "turn": 1,
    "type": "user",
    "session_id": "0b0c4f4e8a3f4d6c9f0e6a1f2b3c4d5e",
    "agent_type": "personal",
    "timestamp": "2026-01-01T00:00:00.000Z",
    "metadata": {},
    "data": {"content": "What time is it in Tokyo?", "input": "text", "id": "m1"},
}
_PLACE: Final = {"epoch": "5f3c9a1e", "seq": 2}
_READ: Final[dict[str, Any]] = {
    "description": "A page of events, or the stream.",
    "content": {
        JSON: {
            "schema": {
                "allOf": [{"$ref": "#/components/schemas/EventPageTail"}],
                "type": "object",
                "required": ["events"],
                "properties": {"events": {"type": "array", "items": {"$ref": "#/components/schemas/Event"}}},
            },
            "example": {"events": [_EVENT], "position": _PLACE, "head": _PLACE, "gaps": []},
        },
        EVENT_STREAM: {
            "schema": {"type": "string"},
            "example": 'id: 5f3c9a1e:2\ndata: {"seq":2,"type":"user","turn":1}\n\n',
        },
    },
}


@router.get(
    "/ai/sessions/{session_id}/events",
    summary="Read or follow a session's events",
    responses={
        200: _READ,
        204: {"description": "The stream of a session that has ended and was read to its end: do not come back."},
        **problems(*OF_A_SESSION, "too_many_connections", "draining"),
    },
    response_class=Response,
)
async def read(
    request: Request,
    session: SessionDep,
    who: CallerDep,
    asked: Annotated[Position | None, Depends(asked_for)],
    limit: Annotated[int, Query(ge=1, le=_PAGE_MAX, description="Most events of a page of JSON.")] = _PAGE,
) -> Response:
    """The session's durable events, oldest first.

    As JSON: a page from `after` on, by default from the first event that is kept. A page holds about 1 MiB at most.

    With `Accept: text/event-stream`: server-sent events. First what is kept behind `Last-Event-ID` or `after`, then
    live; without either only what comes from now on. A range that can't be replayed is announced by a `gap`, followed
    by a `state_snapshot`. The stream ends with the session, with the token (after an `error`), and when the gateway
    goes (after a `drain`). Speech is left out: it is for WebSockets.
    """
    gateway = of(request)
    if chosen(request, (JSON, EVENT_STREAM)) == EVENT_STREAM:
        start = asked or session.position
        if session.status == "ended" and _at_end(start, session):
            return Response(status_code=204)
        if gateway.drain.started.is_set():
            raise BadRequest("draining")
        return EventStream(gateway, session, who, start)
    page = await read_events(gateway.bus, session.session_id, asked or Position(), most=limit)
    tail = EventPageTail(
        position=_log_position(page.position),
        head=_log_position(page.head),
        gaps=[GapData(stream=gap.stream, from_=gap.first, to=gap.last, reason=gap.reason) for gap in page.gaps],
    )
    bodies = b",".join(item.body for item in page.items if isinstance(item, EventItem))
    rest = tail.model_dump_json(by_alias=True).encode()
    return Response(b'{"events":[' + bodies + b"]," + rest[1:], media_type=JSON)


def _at_end(position: Position, session: Session) -> bool:
    return position.epoch in {"", session.position.epoch} and position.seq == session.position.seq


def _log_position(position: Position) -> LogPosition:
    return LogPosition(epoch=position.epoch, seq=position.seq)
