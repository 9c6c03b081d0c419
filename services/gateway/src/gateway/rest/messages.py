"""`/ai/sessions/{id}/message`: a text for the assistant, and its answer."""

from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BaseModel

from gateway.follower import PatientFollower, following
from gateway.rest.answers import OF_A_BODY, OF_A_SESSION, answer, problems
from gateway.rest.callers import CallerDep, SessionDep
from gateway.rest.named import IdempotencyKey, NamedText
from gateway.rest.near import LIMIT_NEAR, warn
from gateway.state import of
from voicebus.bus.items import EventItem

router = APIRouter()


class NewMessage(NamedText):
    """A text for the assistant; white space alone is none."""


_MESSAGE: Final = {"id": "m1", "content": "What time is it in Tokyo?"}


class MessageAnswer(BaseModel):
    """The ack, and the response's data if it was waited for."""

    id: str | None = None
    seq: int
    turn: int | None = None
    response: dict[str, Any] | None = None


_ACK: Final = {"id": "m1", "seq": 2, "turn": 1, "response": None}
_RESPONSE: Final = {"type": "response", "content": "It is nine in the morning.", "response_id": "r1", "segments": 0}


@router.post(
    "/ai/sessions/{session_id}/message",
    status_code=202,
    summary="Send a text",
    responses={
        200: answer(
            "The turn has ended: with its response.",
            _ACK | {"response": _RESPONSE},
            model=MessageAnswer,
            headers=LIMIT_NEAR,
        ),
        202: answer("The ack.", _ACK, headers=LIMIT_NEAR),
        **problems(
            *(*OF_A_SESSION, *OF_A_BODY, "session_ended", "id_conflict"),
            *("too_many_messages", "overloaded", "bus_full"),
        ),
    },
)
async def send(
    request: Request,
    response: Response,
    session: SessionDep,
    who: CallerDep,
    message: Annotated[NewMessage, Body(openapi_examples={"question": {"value": _MESSAGE}})],
    idempotency_key: IdempotencyKey = None,
    *,
    wait: Annotated[bool, Query(description="Whether to wait for the response.")] = False,
) -> MessageAnswer:
    """Sends a text, which opens a turn. The same `id` again has no further effect, here and on the WebSocket.

    With `wait=true` the answer holds the `data` of the event that ended the turn: `response`, `interrupted` or
    `error`, or of `session_end`. After 30 s, or when the gateway is told to stop, it is the ack alone, status 202.
    """
    gateway = of(request)
    message = message.named(idempotency_key)
    warn(response, await gateway.admission.message(session.session_id, who.sub, message.id, session.mode))
    async with following(gateway.bus, gateway.hub, session.session_id, session.position, speech=False) as follower:
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


async def _response(follower: PatientFollower, seq: int) -> dict[str, Any] | None:
    """The data of the event that ends the turn which the event `seq` opened."""
    turn = None
    while True:
        for item in (await follower.next()).items:
            if not isinstance(item, EventItem):
                continue
            event = orjson.loads(item.body)
            if event["type"] == "session_end":
                return {"type": "session_end", **event["data"]}
            if item.seq == seq:
                turn = event.get("turn")
            elif turn is not None and event.get("turn") == turn and _ends_turn(event):
                return {"type": event["type"], **event["data"]}


def _ends_turn(event: dict[str, Any]) -> bool:
    """A sentence that can't be spoken is an error, but the answer goes on."""
    if event["type"] == "error":
        return bool(event["data"]["code"] != "tts_failed")
    return event["type"] in {"response", "interrupted"}
