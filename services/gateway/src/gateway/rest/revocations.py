"""`/ai/revocations`: makes tokens void before they expire, for administrators."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Body, Depends, Request
from fastapi.openapi.models import Example
from pydantic import BaseModel, ConfigDict, Field

from gateway.rest.answers import OF_A_BODY, answer, problems
from gateway.rest.callers import administrator
from gateway.state import of
from voicebus.bus.revocations import Kind
from voicebus.contract.payloads import Timestamp

router = APIRouter(dependencies=[Depends(administrator)])
_EXAMPLES: Final[dict[str, Example]] = {
    "user": {"summary": "All of a user's", "value": {"user": "alice"}},
    "login": {"summary": "Those of one login", "value": {"login": "08a5019c-17e1-4977-8f42-65a12843ea02"}},
}
_Name = Annotated[str, Field(min_length=1, max_length=256)]


class OfUser(BaseModel):
    """All tokens of a user (`sub`)."""

    model_config = ConfigDict(extra="forbid")
    user: _Name


class OfLogin(BaseModel):
    """The tokens of one login at the issuer (`sid`)."""

    model_config = ConfigDict(extra="forbid")
    login: _Name


class RevocationTaken(BaseModel):
    """Tokens that were issued up to this moment are void; those without `iat` are, too."""

    issued_until: Timestamp


@router.post(
    "/ai/revocations",
    status_code=201,
    summary="Revoke tokens",
    responses={201: answer("They are void.", {"issued_until": "2026-09-21T14:13:20.000Z"}), **problems(*OF_A_BODY)},
)
async def revoke(
    request: Request, revocation: Annotated[OfUser | OfLogin, Body(openapi_examples=_EXAMPLES)]
) -> RevocationTaken:
    """Makes a user's or a login's tokens void at every gateway; open connections are closed with 4401."""
    gateway = of(request)
    kind: Kind = "user" if isinstance(revocation, OfUser) else "login"
    name = revocation.user if isinstance(revocation, OfUser) else revocation.login
    until_s = await gateway.bus.revocations.revoke(kind, name, keep_s=gateway.settings.revocations_remembered_s)
    return RevocationTaken(issued_until=datetime.fromtimestamp(until_s, UTC))
