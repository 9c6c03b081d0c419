"""Who calls, and the session that the path names."""

from typing import Annotated

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer

from gateway.auth import Caller, bearer
from gateway.state import address_of, of
from voicebus.contract.errors import Refused
from voicebus.contract.sessions import Session, SessionId

_BEARER = HTTPBearer(  # tells the OpenAPI document; `caller` does the work
    bearerFormat="JWT",
    scheme_name="bearer",
    description="A JSON Web Token: `sub` names the user, `scope` what the token allows.",
    auto_error=False,
)


async def admitted(request: Request, _: Annotated[object, Security(_BEARER)]) -> Caller:
    """Who calls, whatever the token's scopes allow.

    Pages of other origins are refused, as on the WebSocket: where no token is needed, any page could call.
    """
    origin = request.headers.get("origin")
    if origin is not None and not of(request).settings.allows_origin(origin):
        raise Refused("origin_not_allowed")
    return await of(request).admit(bearer(request.headers.get("authorization")), address_of(request))


AdmittedDep = Annotated[Caller, Depends(admitted)]


async def caller(request: Request, who: AdmittedDep) -> Caller:
    """Who calls; the token's scopes allow what the method does."""
    who.require("sessions:read" if request.method in {"GET", "HEAD"} else "sessions:write")
    return who


async def administrator(who: AdmittedDep) -> None:
    """Lets nobody pass whose token has no scope `admin`."""
    who.require("admin")


CallerDep = Annotated[Caller, Depends(caller)]
SessionPath = Annotated[SessionId, Path(description="The session.", examples=["0b0c4f4e8a3f4d6c9f0e6a1f2b3c4d5e"])]


async def own_session(request: Request, session_id: SessionPath, who: CallerDep) -> Session:
    """The session in the path. To those who may not see it, it is not there."""
    session = await of(request).bus.sessions.get(session_id)
    if not session.admits(who.sub):
        raise Refused("session_not_found")
    return session


SessionDep = Annotated[Session, Depends(own_session)]
