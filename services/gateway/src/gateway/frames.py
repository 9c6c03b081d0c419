"""The server's frames, ready to be written. They are not masked, so the same bytes can go to any number of clients."""

import struct
from typing import Final

_SHORT: Final = struct.Struct(">BB")
_MEDIUM: Final = struct.Struct(">BBH")
_LONG: Final = struct.Struct(">BBQ")
_CODE: Final = struct.Struct(">H")
_REASON_MOST: Final = 123  # bytes: a control frame has 125


def text_frame(payload: bytes) -> bytes:
    """UTF-8 text as one frame."""
    length = len(payload)
    if 125 < length < 1 << 16:  # nearly always
        return _MEDIUM.pack(0x81, 126, length) + payload
    return _header(0x81, length) + payload


def binary_frame(payload: bytes) -> bytes:
    """Bytes as one frame."""
    return _header(0x82, len(payload)) + payload


def ping_frame(payload: bytes) -> bytes:
    """A ping; at most 125 bytes."""
    return _header(0x89, len(payload)) + payload


def pong_frame(payload: bytes) -> bytes:
    """The answer to a ping with this payload."""
    return _header(0x8A, len(payload)) + payload


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame, or without a code the empty one; a reason that is too long loses its end."""
    if code is None:
        return _header(0x88, 0)
    words = reason.encode()[:_REASON_MOST].decode(errors="ignore").encode()
    return _header(0x88, 2 + len(words)) + _CODE.pack(code) + words


def _header(first: int, length: int) -> bytes:
    if length < 126:
        return _SHORT.pack(first, length)
    if length < 1 << 16:
        return _MEDIUM.pack(first, 126, length)
    return _LONG.pack(first, 127, length)
