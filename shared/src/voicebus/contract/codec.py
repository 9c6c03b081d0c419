"""The one codec: events, commands and mail to bytes and back.

The script that appends a durable event writes its `seq` (and, where it opens a turn, the turn's number) in front of
the serialised rest, so nobody parses the event again: `{"seq":42,` + the rest. Speech chunks are serialised in two
halves, between which the script writes the chunk's offset.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from voicebus.contract.commands import AnyCommand, Command
from voicebus.contract.errors import BadRequest
from voicebus.contract.events import AnyEvent, AudioAck, Envelope, Event, Token
from voicebus.contract.mail import AnyMail, AudioChunk, Mail
from voicebus.contract.payloads import AudioAckData, TokenData, TtsData, now

_EVENTS: TypeAdapter[Event] = TypeAdapter(AnyEvent)
_COMMANDS: TypeAdapter[Command] = TypeAdapter(AnyCommand)
_MAIL: TypeAdapter[Mail] = TypeAdapter(AnyMail)
_SOME_TIME = "2000-01-01T00:00:00.000Z"
_UNKNOWN_TAG = {"union_tag_invalid", "union_tag_not_found"}


def dump_event(event: Envelope) -> bytes:
    """The event as it goes to a client."""
    # What `model_dump_json` calls, without the str that it makes of the bytes.
    return event.__pydantic_serializer__.to_json(event, exclude_none=True, by_alias=True)


def event_body(event: Envelope) -> bytes:
    """The event without its opening brace and `seq`: the script puts both in front.

    Without `turn` either if it is None: then a script that opens a turn writes that too.
    """
    return dump_event(event if event.seq is None else event.model_copy(update={"seq": None}))[1:]


class AudioAckBodies:
    """The acknowledgements of one stream, as `dump_event` gives them: of each only the offset and the time are new."""

    def __init__(self, stream: str, **envelope: Any) -> None:
        placed = dump_event(AudioAck(**envelope, timestamp=_SOME_TIME, data=AudioAckData(stream=stream, offset=0)))
        before, stamp, rest = placed.partition(b'"timestamp":"%b"' % _SOME_TIME.encode())
        quote = stamp[-1:]
        self._before = before + stamp.removesuffix(_SOME_TIME.encode() + quote)
        self._between = quote + rest.removesuffix(b"0}}")

    def of(self, offset: int) -> bytes:
        """The event that says now that all below this offset is safe."""
        return b"".join((self._before, now().encode(), self._between, b"%d}}" % offset))


class TokenBodies:
    """The tokens of one response, as `event_body` gives them: of each only the text and the time are new."""

    def __init__(self, response_id: str, **envelope: Any) -> None:
        placed = event_body(Token(**envelope, timestamp=_SOME_TIME, data=TokenData(token="", response_id=response_id)))
        before, stamp, rest = placed.partition(b'"timestamp":"%b"' % _SOME_TIME.encode())
        between, empty, after = rest.partition(b'"data":{"token":""')
        quote = stamp[-1:]
        self._before = before + stamp.removesuffix(_SOME_TIME.encode() + quote)
        self._between, self._after = quote + between + empty[:-2], after

    def of(self, text: str) -> bytes:
        """The body of a token that says this now."""
        return b"".join((self._before, now().encode(), self._between, orjson.dumps(text), self._after))


def load_event(raw: bytes | str) -> Event:
    """The event in these bytes.

    Raises:
        ValidationError: it is not an event of the contract.
    """
    return _EVENTS.validate_json(raw)


def speech_halves(
    event: Envelope, *, segment: int, sample_rate: int, is_last: bool, response_id: str, text: str | None
) -> tuple[bytes, bytes]:
    """A chunk's header in two halves: the script writes `"n":N,"after_seq":S,` between them.

    The gateway adds `format` and, for base64 clients, `audio` before the two closing braces.
    """
    data = TtsData(
        n=0,
        after_seq=0,
        segment=segment,
        codec="pcm16",
        sample_rate=sample_rate,
        is_last=is_last,
        text=text,
        response_id=response_id,
        format="binary",
    )
    head = event.model_dump_json(exclude_none=True, exclude={"seq", "type", "data"}).encode()
    tail = data.model_dump_json(exclude_none=True, exclude={"n", "after_seq", "format"}).encode()
    return b'{"type":"tts",' + head[1:-1] + b',"data":{', tail[1:] + b"}"


def load_command(raw: bytes | str, *, limit: int = 65_536) -> Command:
    """The client message in a text frame. A bare `{"content": "…"}` is taken as text.

    Raises:
        BadRequest: `message_too_big`, `bad_encoding`, `bad_json`, `unknown_type` or `bad_message`; its `ref`
            attribute holds the message's id where it has one.
    """
    if len(raw) > limit:
        raise BadRequest("message_too_big")
    try:
        message = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        code = "bad_encoding" if "utf-8" in str(error).lower() or "surrogate" in str(error).lower() else "bad_json"
        raise BadRequest(code) from error
    if not isinstance(message, dict):
        raise BadRequest("bad_message", "A message is a JSON object.")
    if "type" not in message and "content" in message:
        message["type"] = "text"
    return parse_command(message)


def parse_command(message: Mapping[str, Any]) -> Command:
    """The client message in this mapping. Raises as `load_command` does."""
    try:
        return _COMMANDS.validate_python(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        unknown = first["type"] in _UNKNOWN_TAG
        where = ".".join(str(part) for part in first["loc"][1:])
        text = None if unknown else f"{where or 'message'}: {first['msg']}"
        raise BadRequest("unknown_type" if unknown else "bad_message", text) from error


def message_ref(raw: bytes | str) -> str | None:
    """The id of a client message that was refused, for the `ref` of the error; None if it can't be told."""
    try:
        ref = orjson.loads(raw).get("id")
    except (orjson.JSONDecodeError, AttributeError):
        return None
    return ref if isinstance(ref, str) and 0 < len(ref) <= 64 else None


def mail_body(mail: Mail) -> bytes:
    """The mail without its opening brace and turn, which the script may write."""
    return mail.model_dump_json(exclude_none=True).encode()


def load_mail(fields: Mapping[bytes, bytes]) -> Mail:
    """The mail in the fields of a mailbox entry.

    Raises:
        ValidationError: it is not mail of the contract.
    """
    body = fields.get(b"d", b"")
    if fields.get(b"k") == b"audio":
        return AudioChunk(stream=fields[b"s"].decode(), offset=int(fields[b"o"]), data=body)
    mail = _MAIL.validate_json(body)
    turn = int(fields.get(b"t", b"0"))
    return mail.model_copy(update={"turn": turn}) if turn and hasattr(mail, "turn") else mail
