"""Reads the header of a WAV stream as its bytes come in."""

import struct
from dataclasses import dataclass, replace
from typing import Literal

from voicebus.contract.errors import BadRequest

SampleType = Literal["u8", "s16", "s24", "s32", "f32"]

HEADER_MAX = 64 * 1024  # bytes before the samples: tags and pictures may stand there

_PCM, _FLOAT, _EXTENSIBLE = 0x0001, 0x0003, 0xFFFE
_SUBFORMAT_TAIL = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")
_SAMPLE_TYPES: dict[tuple[int, int], SampleType] = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16",
    (_PCM, 24): "s24",
    (_PCM, 32): "s32",
    (_FLOAT, 32): "f32",
}
_UNKNOWN_SIZES = {0, 0xFFFFFFFF}


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What the header says."""

    sample_type: SampleType
    rate: int  # hertz
    channels: int
    start: int = 0  # byte offset of the first sample
    end: int | None = None  # byte offset behind the last one; None if the writer didn't know its length


class WavHeader:
    """Walks over the chunks in front of the samples; remembers where it stands between two looks."""

    def __init__(self) -> None:
        self._at = 0
        self._format: WavFormat | None = None

    def read(self, data: bytes | bytearray) -> WavFormat | None:
        """Looks at all bytes of the stream so far; None means that more are needed.

        Raises:
            BadRequest: `audio_invalid` if this is no WAV file, `audio_unsupported` for an encoding that
                can't be read.
        """
        if not self._at:
            if len(data) < 12:
                return None
            if data[:4] not in {b"RIFF", b"RF64"} or data[8:12] != b"WAVE":
                raise BadRequest("audio_invalid", "The stream doesn't begin with a WAV header.")
            self._at = 12
        while len(data) >= self._at + 8:
            name, size = struct.unpack_from("<4sI", data, self._at)
            body = self._at + 8
            if name == b"data":
                return self._samples(body, size)
            behind = body + size + size % 2
            if behind > HEADER_MAX:
                raise BadRequest("audio_invalid", f"The WAV header is longer than {HEADER_MAX} bytes.")
            if len(data) < behind:
                return None
            if name == b"fmt ":
                self._format = _format(bytes(data[body : body + size]))
            self._at = behind
        return None

    def _samples(self, start: int, size: int) -> WavFormat:
        found = self._format
        if found is None:
            raise BadRequest("audio_invalid", "The WAV header doesn't name its encoding.")
        return replace(found, start=start, end=None if size in _UNKNOWN_SIZES else start + size)


def _format(fmt: bytes) -> WavFormat:
    if len(fmt) < 16:
        raise BadRequest("audio_invalid", "The WAV header's format is cut short.")
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", fmt)
    if tag == _EXTENSIBLE:
        if len(fmt) < 40:
            raise BadRequest("audio_invalid", "The WAV header's format is cut short.")
        tag = struct.unpack_from("<H", fmt, 24)[0] if fmt[26:40] == _SUBFORMAT_TAIL else _EXTENSIBLE
    sample_type = _SAMPLE_TYPES.get((tag, bits))
    if sample_type is None:
        raise BadRequest("audio_unsupported", f"WAV encoding 0x{tag:04x} with {bits} bits can't be read.")
    if frame_bytes != channels * bits // 8:
        raise BadRequest("audio_invalid", f"{frame_bytes} bytes can't hold {channels} samples of {bits} bits.")
    return WavFormat(sample_type, rate, channels)
