"""Errors of REST as problem details (RFC 9457), with the codes that the WebSocket has."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from voicebus.contract.errors import VoicebusError

_CODES = {400: "bad_json", 404: "not_found", 413: "message_too_big"}  # of what the framework raises


def problem(error: VoicebusError) -> JSONResponse:
    """The error as an answer."""
    body = {
        "type": f"urn:voicebus:error:{error.code}",
        "title": error.message,
        "status": error.status,
        "code": error.code,
        "temporary": error.temporary,
    }
    headers = {}
    if error.retry_after_ms is not None:
        body["retry_after_ms"] = error.retry_after_ms
        headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body, status_code=error.status, headers=headers, media_type="application/problem+json")


def install_problem_handlers(app: FastAPI) -> None:
    """Every error of the application leaves it as problem details."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return problem(error) if isinstance(error, VoicebusError) else problem(VoicebusError("internal"))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            return problem(VoicebusError("internal"))
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return problem(VoicebusError("bad_json"))
        part_of_request, *path = first["loc"]
        if part_of_request == "path":  # no session has such a name
            return problem(VoicebusError("session_not_found"))
        where = ".".join(str(part) for part in path).encode(errors="replace").decode()  # keys may hold lone surrogates
        code = "bad_query" if part_of_request == "query" else "bad_message"
        return problem(VoicebusError(code, f"{where or 'body'}: {first['msg']}"))

    async def http(_: Request, error: Exception) -> JSONResponse:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status in _CODES:
            return problem(VoicebusError(_CODES[status]))
        title = str(error.detail) if isinstance(error, HTTPException) else "Internal error"
        return JSONResponse(
            {"type": "about:blank", "title": title, "status": status, "code": "http_error"},
            status_code=status,
            media_type="application/problem+json",
        )

    app.add_exception_handler(VoicebusError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, known)
