"""`/ai/sessions/{id}/say`: a text that the assistant is to say, without the model."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel

from gateway.rest.answers import OF_A_BODY, OF_A_SESSION, answer, problems
from gateway.rest.callers import CallerDep, SessionDep
from gateway.rest.named import IdempotencyKey, NamedText
from gateway.rest.near import LIMIT_NEAR, warn
from gateway.state import of
from voicebus.contract.payloads import OnBusy

router = APIRouter()
_ERRORS = (*OF_A_SESSION, *OF_A_BODY, "session_ended", "id_conflict", "too_many_messages", "overloaded", "bus_full")
_EXAMPLE = {"id": "m-17", "content": "Dinner is ready.", "on_busy": "queue"}


class NewSaying(NamedText):
    """A text for the assistant to say; white space alone is none."""

    on_busy: OnBusy = "queue"


class SayingAccepted(BaseModel):
    """The ack; of a message that was sent before, the turn is not told again."""

    id: str | None = None
    seq: int
    turn: int | None = None


@router.post(
    "/ai/sessions/{session_id}/say",
    status_code=202,
    summary="Say a text",
    responses={
        202: answer("It will be said.", {"id": "m-17", "seq": 12, "turn": 3}, headers=LIMIT_NEAR),
        **problems(*_ERRORS),
    },
)
async def say(
    request: Request,
    response: Response,
    session: SessionDep,
    who: CallerDep,
    saying: Annotated[NewSaying, Body(examples=[_EXAMPLE])],
    idempotency_key: IdempotencyKey = None,
) -> SayingAccepted:
    """Makes the assistant say a text as it is, in a turn of its own.

    It waits for its turn, or takes the place of what is answered and heard. In text mode it is written, not spoken.
    """
    gateway = of(request)
    saying = saying.named(idempotency_key)
    warn(response, await gateway.admission.message(session.session_id, who.sub, saying.id, session.mode))
    accepted = await gateway.bus.inbox.say(
        session.session_id,
        saying.content,
        agent_type=session.agent_type,
        message_id=saying.id,
        on_busy=saying.on_busy,
    )
    return SayingAccepted(id=saying.id, seq=accepted.seq, turn=accepted.turn)
