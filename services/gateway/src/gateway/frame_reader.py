"""Reads the frames of one client (RFC 6455, section 5). Pure: bytes in, messages out.

No extension is negotiated, so a frame says nothing that is not handled here. Whatever a client does wrong ends in one
`Violation`, behind which nothing is read.
"""

import struct
from dataclasses import dataclass
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this machine
    from websockets.utils import apply_mask

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
_LENGTH_16: Final = struct.Struct(">H")
_LENGTH_64: Final = struct.Struct(">Q")
_MIDDLING: Final = b"\x82\xfe"  # begins a whole binary message whose length has 16 bits
_CODE: Final = struct.Struct(">H")
_SENT_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
NO_CODE: Final = 1005  # stands for a close frame without one


@dataclass(frozen=True, slots=True)
class Ping:
    """The client asks whether the server is there."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """The client is there."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Closing:
    """The client closes, or answers that the server does; 1005 stands for no code."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Violation:
    """The client broke the protocol; the code to close with."""

    code: int
    reason: str


Incoming = str | bytes | Ping | Pong | Closing | Violation  # text, binary, control frames


class FrameReader:
    """Of one connection. A message may have `limit` bytes."""

    __slots__ = ("_buffer", "_limit", "_needed", "_opcode", "_over", "_pieces", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer: bytearray | None = None  # the start of a frame whose rest is not here
        self._needed = 0  # bytes that the buffer must have before it is worth a look
        self._opcode = 0  # of the message of which pieces came
        self._pieces: list[bytes] | None = None
        self._size = 0  # of the pieces
        self._over = False

    def feed(self, data: bytes) -> list[Incoming]:
        """What these bytes complete, in order. A `Violation` or a `Closing` is the last of all."""
        if self._buffer is None and self._pieces is None and data[:2] == _MIDDLING and not self._over:
            length = _LENGTH_16.unpack_from(data, 2)[0] if len(data) > 8 else 0
            if len(data) == length + 8 and length <= self._limit:
                return [apply_mask(data[8:], data[4:8])]  # a microphone's frame, nearly always
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            data, self._buffer = bytes(self._buffer), None
        messages: list[Incoming] = []
        at = 0
        while at < len(data) and not self._over:
            if not (end := self._frame(data, at, messages)):
                self._buffer = bytearray(data[at:])
                self._needed -= at
                break
            at = end
        return messages

    def _frame(self, data: bytes, at: int, messages: list[Incoming]) -> int:
        """Reads the frame that begins there; returns where it ends, 0 if its end is not here."""
        have = len(data) - at
        if have < 2:
            return self._wait(at + 2)
        first, second = data[at], data[at + 1]
        length, start = second & 0x7F, at + 6
        if length == 126:
            if have < 4:
                return self._wait(at + 4)
            length, start = _LENGTH_16.unpack_from(data, at + 2)[0], at + 8
        elif length == 127:
            if have < 10:
                return self._wait(at + 10)
            length, start = _LENGTH_64.unpack_from(data, at + 2)[0], at + 14
        if violation := self._violation(first, second, length):
            self._end_with(violation, messages)
            return len(data)
        if (end := start + length) > len(data):
            return self._wait(end)
        payload = apply_mask(data[start:end], data[start - 4 : start])
        opcode = first & 0x0F
        if opcode >= _CLOSE:
            self._control(opcode, payload, messages)
        else:
            self._data(opcode, payload, first & 0x80, messages)
        return end

    def _wait(self, needed: int) -> int:
        self._needed = needed
        return 0

    def _violation(self, first: int, second: int, length: int) -> Violation | None:
        """What is wrong with a frame that begins like this."""
        opcode = first & 0x0F
        if first & 0x70:
            return Violation(1002, "reserved bits must be 0")
        if not second & 0x80:
            return Violation(1002, "incorrect masking")
        if _BINARY < opcode < _CLOSE or opcode > _PONG:
            return Violation(1002, "invalid opcode")
        if opcode >= _CLOSE:
            whole = first & 0x80 and length <= 125
            return None if whole else Violation(1002, "control frame too long or in pieces")
        if self._size + length > self._limit:
            return Violation(1009, f"message exceeds limit of {self._limit} bytes")
        if (opcode == _CONTINUATION) != (self._pieces is not None):
            return Violation(1002, "unexpected continuation frame" if not opcode else "expected a continuation frame")
        return None

    def _data(self, opcode: int, payload: bytes, is_last: int, messages: list[Incoming]) -> None:
        if self._pieces is None:
            if is_last:
                self._message(opcode, payload, messages)
                return
            self._opcode, self._pieces = opcode, []
        if payload:  # empty pieces are not kept: no limit bounds their number
            self._pieces.append(payload)
            self._size += len(payload)
        if is_last:
            whole = b"".join(self._pieces)
            self._pieces, self._size = None, 0
            self._message(self._opcode, whole, messages)

    def _message(self, opcode: int, payload: bytes, messages: list[Incoming]) -> None:
        if opcode == _BINARY:
            messages.append(payload)
            return
        try:
            messages.append(payload.decode())
        except UnicodeDecodeError:
            self._end_with(Violation(1007, "invalid UTF-8"), messages)

    def _control(self, opcode: int, payload: bytes, messages: list[Incoming]) -> None:
        if opcode == _PING:
            messages.append(Ping(payload))
        elif opcode == _PONG:
            messages.append(Pong(payload))
        else:
            self._end_with(_closing(payload), messages)

    def _end_with(self, last: Incoming, messages: list[Incoming]) -> None:
        messages.append(last)
        self._over = True
        self._pieces = self._buffer = None


def _closing(payload: bytes) -> Closing | Violation:
    if not payload:
        return Closing(NO_CODE, "")
    if len(payload) == 1:
        return Violation(1002, "close frame too short")
    code = _CODE.unpack_from(payload)[0]
    if code not in _SENT_CODES and not 3000 <= code < 5000:
        return Violation(1002, "invalid close code")
    try:
        return Closing(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Violation(1007, "invalid UTF-8")
