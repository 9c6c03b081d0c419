"""One tree of errors, and the table of their codes.

Every error that a client can see has a stable `code`. REST answers carry it in a problem document (RFC 9457),
the WebSocket in an `error` message or as the reason of a close.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """What a code means on the wire.

    `temporary` says whether the same request may succeed later. `status` is the HTTP status. `close` is the
    WebSocket close code if the connection ends with it.
    """

    code: str
    text: str
    status: int
    temporary: bool = False
    close: int | None = None


ERRORS = {
    row.code: row
    for row in (
        ErrorCode("bad_json", "The message is not JSON.", 400),
        ErrorCode("bad_encoding", "The message is not UTF-8.", 400),
        ErrorCode("unknown_type", "There is no message of this type.", 400),
        ErrorCode("bad_message", "A field of the message is missing or wrong.", 422),
        ErrorCode("message_too_big", "The message is larger than allowed.", 413, close=1009),
        ErrorCode("bad_query", "A parameter of the address, or a header, is wrong.", 422, close=4400),
        ErrorCode("id_conflict", "This id was used before with other content.", 409),
        ErrorCode("token_missing", "No token was sent.", 401, close=4401),
        ErrorCode("token_invalid", "The token is not valid.", 401, close=4401),
        ErrorCode("token_expired", "The token has expired.", 401, close=4401),
        ErrorCode("token_revoked", "The token was revoked.", 401, close=4401),
        ErrorCode("keys_unavailable", "The keys of the tokens' issuer can't be read.", 503, True, close=1011),
        ErrorCode("scope_missing", "The token does not allow this.", 403, close=4403),
        ErrorCode("origin_not_allowed", "Pages of this origin may not connect.", 403, close=4003),
        ErrorCode("not_member", "The session belongs to someone else.", 403, close=4403),
        ErrorCode("session_not_found", "There is no such session.", 404, close=4001),
        ErrorCode("session_ended", "The session has ended.", 410, close=4510),
        ErrorCode("too_many_connections", "The session or its user has too many connections.", 429, True, close=4429),
        ErrorCode("too_many_sessions", "The user has too many sessions.", 429, True),
        ErrorCode("too_many_messages", "Messages come faster than allowed.", 429, True),
        ErrorCode("too_much_audio", "More audio comes than allowed.", 429, True),
        ErrorCode("too_many_attempts", "Too many requests from this address were not authenticated.", 429, True, 4429),
        ErrorCode("limit_near", "The limit is near.", 429, True),
        ErrorCode("overloaded", "Too much waits for its work already.", 429, True),
        ErrorCode("too_slow", "The client fell behind what is kept.", 409, True, close=4508),
        ErrorCode("draining", "This gateway is going away; another one serves on.", 503, True, close=1012),
        ErrorCode("bus_unavailable", "The bus can't be reached.", 503, True, close=1011),
        ErrorCode("bus_full", "The bus is out of memory or disk space.", 507, True),
        ErrorCode("internal", "Something failed inside.", 500, True, close=1011),
        ErrorCode("audio_busy", "Another audio stream is open in this session.", 409, True),
        ErrorCode("audio_not_open", "No audio stream is open on this connection.", 409),
        ErrorCode("audio_taken_over", "Another connection took the audio stream over.", 409),
        ErrorCode("audio_gap", "The offset is ahead of what was received.", 409),
        ErrorCode("audio_unsupported", "This audio format, rate or channel count is not supported.", 415),
        ErrorCode("audio_invalid", "The audio can't be decoded.", 422),
        ErrorCode("unknown_agent", "There is no agent of this type.", 422),
        ErrorCode("unknown_approval", "No approval with this id is waiting.", 404),
        ErrorCode("dead_letter_not_found", "There is no such dead letter.", 404),
        ErrorCode("retry_impossible", "What the dead letter needs is not there any more.", 409),
        ErrorCode("stt_failed", "The speech could not be transcribed.", 502, True),
        ErrorCode("agent_failed", "The agent could not answer.", 502, True),
        ErrorCode("model_unavailable", "The language model can't be reached.", 502, True),
        ErrorCode("too_many_steps", "The agent took more steps than allowed.", 502),
        ErrorCode("tts_failed", "The answer could not be spoken.", 502, True),
        ErrorCode("not_found", "There is nothing at this path.", 404),
        ErrorCode("method_not_allowed", "This path does not know the method.", 405),
        ErrorCode("not_acceptable", "The answer comes in none of the accepted media types.", 406),
        ErrorCode("unsupported_media_type", "A request's body must be JSON, and say so.", 415),
        ErrorCode("timeout", "The answer took longer than the caller waits.", 504, True),
    )
}


class VoicebusError(Exception):
    """The root of the tree. `code` is stable and a key of `ERRORS`; the text is for people."""

    def __init__(self, code: str, message: str | None = None, *, retry_after_ms: int | None = None) -> None:
        row = ERRORS[code]
        super().__init__(message or row.text)
        self.code = code
        self.message = message or row.text
        self.temporary = row.temporary
        self.status = row.status
        self.close_code = row.close
        self.retry_after_ms = retry_after_ms


class BadRequest(VoicebusError):
    """The client sent something that can't be accepted as it is."""


class Refused(VoicebusError):
    """The request is well formed, but not allowed, or not now."""


class BusUnavailable(VoicebusError):
    """Redis did not answer within the deadline. What was sent may or may not have been applied."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__("bus_unavailable", message)


class BusFull(VoicebusError):
    """Redis is at its memory limit, or can't write to its disk; nothing was applied."""

    def __init__(self) -> None:
        super().__init__("bus_full")


class StageFailed(VoicebusError):
    """An engine, a model or a tool failed for good; the turn ends with this code, the session goes on."""


class LeaseLost(Exception):
    """This worker no longer owns the session's stage: drop all that was read, write nothing more."""


class TurnCancelled(Exception):
    """The turn was interrupted: its events, speech and mail are refused from now on."""
