"""One tree of errors: what REST answers as a problem document, and the WebSocket as `error` or close code."""

from collections.abc import Mapping
from typing import Any

import orjson


class VoicebusError(Exception):
    """The root. `code` is stable, the message is for people.

    `temporary` says whether the same request may succeed later, `retry_after_ms` when. `status` is the HTTP status
    that goes with the code, None for what happens in the client only.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        temporary: bool = False,
        status: int | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message or code
        self.temporary = temporary
        self.status = status
        self.retry_after_ms = retry_after_ms


class Unauthorized(VoicebusError):
    """The token is missing, wrong or expired, and no other one could be had."""


class Forbidden(VoicebusError):
    """The session belongs to someone else, or this origin may not connect."""


class SessionNotFound(VoicebusError):
    """There is no such session, or not any more."""


class SessionEnded(VoicebusError):
    """The session has ended; it takes no input."""


class TooMany(VoicebusError):
    """A limit is reached: connections, sessions, or work that waits."""


class TooBig(VoicebusError):
    """A message is larger than the receiver allows."""


class AudioRefused(VoicebusError):
    """The microphone stream can't be opened or go on."""


class Unreachable(VoicebusError):
    """No gateway answered within the time given."""


class Closed(VoicebusError):
    """The application closed the connection while something still waited."""


class OutboxFull(VoicebusError):
    """Too many messages wait for their acknowledgement."""


class BadFrame(VoicebusError):
    """The peer sent something that is not of this protocol."""


_CLASSES: dict[str, type[VoicebusError]] = {
    "token_missing": Unauthorized,
    "token_invalid": Unauthorized,
    "token_expired": Unauthorized,
    "token_revoked": Unauthorized,
    "origin_not_allowed": Forbidden,
    "not_member": Forbidden,
    "scope_missing": Forbidden,
    "session_not_found": SessionNotFound,
    "session_ended": SessionEnded,
    "too_many_connections": TooMany,
    "too_many_sessions": TooMany,
    "too_many_messages": TooMany,
    "too_much_audio": TooMany,
    "too_many_attempts": TooMany,
    "overloaded": TooMany,
    "message_too_big": TooBig,
    "audio_busy": AudioRefused,
    "audio_not_open": AudioRefused,
    "audio_taken_over": AudioRefused,
    "audio_gap": AudioRefused,
    "audio_unsupported": AudioRefused,
    "audio_invalid": AudioRefused,
    "unreachable": Unreachable,
    "closed": Closed,
    "outbox_full": OutboxFull,
    "bad_frame": BadFrame,
}


def make_error(
    code: str,
    message: str = "",
    *,
    temporary: bool = False,
    status: int | None = None,
    retry_after_ms: int | None = None,
) -> VoicebusError:
    """The error with this code, as the class of the tree that stands for it."""
    kind = _CLASSES.get(code, VoicebusError)
    return kind(code, message, temporary=temporary, status=status, retry_after_ms=retry_after_ms)


def error_from_data(data: Mapping[str, Any], *, status: int | None = None) -> VoicebusError:
    """The error in an `error` event's data or in a problem document."""
    retry = data.get("retry_after_ms")
    text = data.get("message") or data.get("detail") or data.get("title") or ""
    return make_error(
        str(data.get("code") or "http_error"),
        str(text),
        temporary=bool(data.get("temporary", False)),
        status=status,
        retry_after_ms=retry if isinstance(retry, int) else None,
    )


def error_from_response(status: int, body: bytes) -> VoicebusError:
    """The error in a refusing HTTP answer: an RFC 9457 document, or whatever a proxy in between wrote."""
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        return error_from_data(problem, status=status)
    code = {401: "token_invalid", 403: "not_member"}.get(status, "http_error")
    return make_error(code, f"The server answered {status}.", temporary=is_passing(status), status=status)


def is_passing(status: int) -> bool:
    """Whether an HTTP status without further explanation speaks of something that passes."""
    return status in (408, 425, 429) or status >= 500
