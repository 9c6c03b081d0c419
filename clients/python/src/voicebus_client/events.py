"""Events and their frames: JSON as text, or in a binary frame a header and raw audio. Pure."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from voicebus_client.errors import BadFrame

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the server.

    `seq` is the number of a durable event, None for everything else. `data` are the fields of its type, without
    `audio`: that is here, decoded, whichever way it came.
    """

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)
    seq: int | None = None
    turn: int | None = None
    session_id: str = ""
    agent_type: str = ""
    timestamp: str = ""  # ISO 8601, UTC, the producer's clock
    metadata: Mapping[str, Any] = field(default_factory=dict)
    audio: bytes = field(default=b"", repr=False)  # `tts`: PCM, 16 bit little-endian, mono, at data["sample_rate"]
    raw: str | bytes = field(default="", repr=False, compare=False)  # the frame as it came
    received_s: float = field(default=0.0, repr=False, compare=False)  # time.monotonic() when it came

    def number(self, name: str) -> int:
        """The non-negative integer in this field of `data`.

        Raises:
            BadFrame: there is none.
        """
        value = self.data.get(name)
        if not _is_count(value):
            raise BadFrame("bad_frame", f"{self.type}.{name} is not a number")
        return int(value)  # type: ignore[arg-type] # _is_count saw an int


def parse_frame(frame: str | bytes, received_s: float = 0.0) -> Event:
    """The event in a text frame, or in a binary one: 4 bytes big-endian header length, JSON header, raw audio.

    Raises:
        BadFrame: it is not a frame of this protocol.
    """
    if isinstance(frame, str):
        return _event(_object(frame), b"", frame, received_s)
    length = int.from_bytes(frame[:_LENGTH_BYTES], "big")
    start = _LENGTH_BYTES + length
    if len(frame) < _LENGTH_BYTES or len(frame) < start:
        raise BadFrame("bad_frame", "a binary frame is cut short")
    return _event(_object(frame[_LENGTH_BYTES:start]), frame[start:], frame, received_s)


def pack_frame(header: Mapping[str, Any], audio: bytes) -> bytes:
    """The binary frame with this header (an event without `audio`) and raw audio."""
    packed = orjson.dumps(header)
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed + audio


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadFrame("bad_frame", f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise BadFrame("bad_frame", "not a JSON object")
    return message


def _event(message: dict[str, Any], audio: bytes, raw: str | bytes, received_s: float) -> Event:
    kind, seq, turn = message.get("type"), message.get("seq"), message.get("turn")
    data = message.get("data", {})
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise BadFrame("bad_frame", "not an event: it has no type, or its data is no object")
    if (seq is not None and not _is_count(seq)) or (turn is not None and not _is_count(turn)):
        raise BadFrame("bad_frame", "not an event: seq or turn is not a number")
    encoded = data.pop("audio", None)
    return Event(
        type=kind,
        data=data,
        seq=seq,
        turn=turn,
        session_id=str(message.get("session_id", "")),
        agent_type=str(message.get("agent_type", "")),
        timestamp=str(message.get("timestamp", "")),
        metadata=message.get("metadata") or {},
        audio=audio if encoded is None else _decoded(encoded),
        raw=raw,
        received_s=received_s,
    )


def _decoded(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise BadFrame("bad_frame", "audio is not text")
    try:
        return b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise BadFrame("bad_frame", f"audio is not base64: {error}") from error


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
