"""Errors of REST as problem details (RFC 9457), with the codes that the WebSocket has."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from gateway import metrics
from voicebus.contract.errors import ERRORS, VoicebusError
from voicebus.contract.payloads import ProblemData

PROBLEM_TYPE: Final = "application/problem+json"
_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_CODES: Final = {  # of what the framework raises
    400: "bad_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "message_too_big",
}


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457)."""

    type: str  # urn:voicebus:error:<code>
    title: str
    status: int
    detail: str | None = None  # about this request, where there is more to say than the title does
    code: str  # one of the protocol's table
    temporary: bool  # whether the same request may succeed later
    retry_after_ms: int | None = Field(default=None, ge=0)


def problem_of(error: VoicebusError) -> Problem:
    """The error as a document."""
    title = ERRORS[error.code].text
    return Problem(
        type=f"urn:voicebus:error:{error.code}",
        title=title,
        status=error.status,
        detail=None if error.message == title else error.message,
        code=error.code,
        temporary=error.temporary,
        retry_after_ms=error.retry_after_ms,
    )


def problem(error: VoicebusError) -> JSONResponse:
    """The error as an answer."""
    metrics.refused.labels(error.code).inc()
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = problem_of(error).model_dump(exclude_none=True)
    return JSONResponse(body, status_code=error.status, headers=headers, media_type=PROBLEM_TYPE)


def problem_data(error: VoicebusError, ref: str | None = None) -> ProblemData:
    """What an `error` event says of it; `ref` is the id of the message that it answers."""
    return ProblemData(
        code=error.code,
        message=error.message,
        temporary=error.temporary,
        retry_after_ms=error.retry_after_ms,
        ref=ref,
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Every error of the application leaves it as problem details."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return problem(error) if isinstance(error, VoicebusError) else problem(VoicebusError("internal"))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            return problem(VoicebusError("internal"))
        return problem(_invalid(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        answer = problem(VoicebusError(_CODES.get(status, "internal")))
        if status == 405:
            answer.headers["Allow"] = ", ".join(sorted(_methods(request)))
        return answer

    app.add_exception_handler(VoicebusError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, known)


def _invalid(error: RequestValidationError) -> VoicebusError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return VoicebusError("bad_json")
    part_of_request, *path = first["loc"]
    if part_of_request == "path":  # no session has such a name
        return VoicebusError("session_not_found")
    where = ".".join(str(part) for part in path).encode(errors="replace").decode()  # keys may hold lone surrogates
    code = "bad_message" if part_of_request == "body" else "bad_query"
    return VoicebusError(code, f"{where or 'body'}: {first['msg']}")


def _methods(request: Request) -> set[str]:
    """What the path knows, of all its routes: the framework names those of the first one."""
    routes: list[BaseRoute] = request.app.routes
    return {
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    }
