"""`/ai/dead-letters`: mail that failed too often, for administrators."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, JsonValue

from gateway.rest.answers import answer, problems
from gateway.rest.callers import administrator
from gateway.state import of
from voicebus.bus.dead_letters import DeadLetter, LetterId
from voicebus.contract.errors import BadRequest, Refused
from voicebus.contract.keys import Stage
from voicebus.contract.payloads import ProblemData, Timestamp

router = APIRouter(dependencies=[Depends(administrator)])
_CURSOR: Final = r"^(stt|agent|tts)-[0-9]{1,9}-[0-9]{1,19}-[0-9]{1,19}$"
_ID: Final = "agent-12-1790000000000-0"
_LETTER: Final = {
    "id": _ID,
    "stage": "agent",
    "session_id": "0b0c4f4e8a3f4d6c9f0e6a1f2b3c4d5e",
    "turn": 3,
    "died_at": "2026-09-21T14:13:20.000Z",
    "error": {"code": "agent_failed", "message": "It failed too often and was given up.", "temporary": False},
}
_MAIL: Final = {"kind": "user", "turn": 0, "id": "m-17", "content": "What time is it in Tokyo?", "input": "text"}
_NOT_FOUND: Final = problems("dead_letter_not_found")


class DeadLetterInfo(BaseModel):
    """Mail that was given up."""

    id: str
    stage: Stage
    session_id: str
    turn: int | None  # none where nobody's turn had begun: speech
    died_at: Timestamp
    error: ProblemData  # what the session was told


class DeadLetterDetails(DeadLetterInfo):
    """The mail itself, as it was sent; null for speech."""

    mail: JsonValue


class DeadLetterPage(BaseModel):
    """Dead letters, newest first; `next` is the cursor of the page that follows."""

    dead_letters: list[DeadLetterInfo]
    next: str | None = None


class RetriedDeadLetter(BaseModel):
    """The turn in which the mail is worked at again, and the head of the session's log then."""

    seq: int
    turn: int | None


async def letter_of(letter_id: Annotated[str, Path(description="The dead letter.", examples=[_ID])]) -> LetterId:
    """The id in the path."""
    if (parsed := LetterId.parse(letter_id)) is None:
        raise Refused("dead_letter_not_found")
    return parsed


LetterDep = Annotated[LetterId, Depends(letter_of)]


@router.get(
    "/ai/dead-letters",
    summary="List dead letters",
    responses={200: answer("A page of dead letters.", {"dead_letters": [_LETTER], "next": None}), **problems()},
)
async def list_all(
    request: Request,
    stage: Annotated[Stage | None, Query(description="Of this stage only.")] = None,
    cursor: Annotated[
        str | None, Query(max_length=64, pattern=_CURSOR, description="`next` of the page before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="Most dead letters of a page.")] = 50,
) -> DeadLetterPage:
    """Everybody's dead letters, newest first."""
    after = LetterId.parse(cursor) if cursor is not None else None
    if cursor is not None and after is None:
        raise BadRequest("bad_query", "cursor: not one of ours")
    letters, last = await of(request).bus.dead_letters.page(stage=stage, after=after, limit=limit)
    return DeadLetterPage(
        dead_letters=[_info(letter) for letter in letters],
        next=str(last) if last else None,
    )


@router.get(
    "/ai/dead-letters/{letter_id}",
    summary="Show a dead letter",
    responses={200: answer("The dead letter and its mail.", _LETTER | {"mail": _MAIL}), **_NOT_FOUND},
)
async def show(request: Request, letter_id: LetterDep) -> DeadLetterDetails:
    """A dead letter with its mail."""
    letter = await of(request).bus.dead_letters.get(letter_id)
    return DeadLetterDetails(**_info(letter).model_dump(), mail=letter.mail)


@router.post(
    "/ai/dead-letters/{letter_id}/retry",
    summary="Retry a dead letter",
    responses={
        200: answer("It is mail again.", {"seq": 12, "turn": 4}),
        **problems(
            *("dead_letter_not_found", "retry_impossible", "session_not_found", "session_ended"),
            *("overloaded", "bus_full"),
        ),
    },
)
async def retry(request: Request, letter_id: LetterDep) -> RetriedDeadLetter:
    """Makes the mail its session's again, with all attempts before it.

    What opened a turn opens a new one; a sentence is spoken from its start, in its own turn. Speech can't be retried:
    its audio is not kept. Nor can a sentence that was interrupted, or whose answer was begun anew.
    """
    retried = await of(request).bus.dead_letters.retry(letter_id)
    return RetriedDeadLetter(seq=retried.seq, turn=retried.turn)


@router.delete(
    "/ai/dead-letters/{letter_id}",
    status_code=204,
    summary="Drop a dead letter",
    responses={204: {"description": "It is gone."}, **_NOT_FOUND},
)
async def drop(request: Request, letter_id: LetterDep) -> None:
    """Deletes a dead letter for good."""
    await of(request).bus.dead_letters.drop(letter_id)


def _info(letter: DeadLetter) -> DeadLetterInfo:
    return DeadLetterInfo(
        id=str(letter.id),
        stage=letter.id.stage,
        session_id=letter.session_id,
        turn=letter.turn or None,
        died_at=letter.id.died_at,
        error=letter.error,
    )
