"""WAV files of all kinds, and recordings."""

import struct
from pathlib import Path

RECORDINGS = Path(__file__).parents[2] / "data"
QUESTION = Path(__file__).parents[3] / "stack" / "src" / "voicebus_stack" / "audio" / "question.wav"

_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2)


def fmt(*, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, extensible: bool = False) -> bytes:
    frame_bytes = channels * bits // 8
    body = struct.pack("<HHIIHH", tag, channels, rate, rate * frame_bytes, frame_bytes, bits)
    if extensible:
        body = struct.pack("<H", 0xFFFE) + body[2:] + struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", tag) + _TAIL
    return chunk(b"fmt ", body)


def wav(*chunks: bytes, data: bytes = b"", size: int | None = None) -> bytes:
    """A file with these chunks in front of the samples; `size` is what its header says of them."""
    body = b"WAVE" + b"".join(chunks) + struct.pack("<4sI", b"data", len(data) if size is None else size) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data in pieces of these sizes, over and over."""
    pieces, at, i = [], 0, 0
    while at < len(data):
        size = sizes[i % len(sizes)]
        pieces.append(data[at : at + size])
        at, i = at + size, i + 1
    return pieces
