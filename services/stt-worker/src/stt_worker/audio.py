"""From the bytes of a microphone stream to 16 kHz mono: encodings, resampling, and positions in the stream."""

from typing import Self

import numpy as np
import numpy.typing as npt
import soxr
from pydantic import BaseModel, ConfigDict

from stt_worker.wav import SampleType, WavFormat
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import BadRequest

RATE = 16_000  # hertz; what VAD and recognisers listen to
FRAME = 512  # samples: 32 ms; what is either speech or not
RATES = range(8_000, 192_001)  # hertz
CHANNELS = range(1, 9)

Samples = npt.NDArray[np.float32]  # mono, -1 to 1

_SAMPLE_BYTES: dict[SampleType, int] = {"u8": 1, "s16": 2, "s24": 3, "s32": 4, "f32": 4}


class Encoding(BaseModel):
    """How a stream's bytes from `start` on are to be read: interleaved frames of little-endian samples."""

    model_config = ConfigDict(frozen=True)

    sample_type: SampleType
    rate: int  # hertz
    channels: int
    start: int = 0  # byte offset of the first frame
    end: int | None = None  # byte offset behind the last one, where it is known

    @classmethod
    def of_spec(cls, spec: AudioSpec) -> Self | None:
        """The encoding that a client announced; None if the stream's own header tells.

        Raises:
            BadRequest: `audio_unsupported`.
        """
        if spec.format == "wav":
            return None
        if spec.format != "pcm16":
            raise BadRequest("audio_unsupported", f"The format {spec.format} can't be transcribed; pcm16 and wav can.")
        return cls._supported(cls(sample_type="s16", rate=spec.sample_rate, channels=spec.channels))

    @classmethod
    def of_wav(cls, found: WavFormat) -> Self:
        """The encoding that a WAV header tells.

        Raises:
            BadRequest: `audio_unsupported`.
        """
        encoding = cls(
            sample_type=found.sample_type, rate=found.rate, channels=found.channels, start=found.start, end=found.end
        )
        return cls._supported(encoding)

    @classmethod
    def _supported(cls, encoding: Self) -> Self:
        if encoding.rate not in RATES or encoding.channels not in CHANNELS:
            raise BadRequest(
                "audio_unsupported", f"{encoding.rate} Hz with {encoding.channels} channels can't be read."
            )
        return encoding

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame: a sample of each channel."""
        return _SAMPLE_BYTES[self.sample_type] * self.channels

    def mono(self, frames: bytes) -> Samples:
        """The mean of the channels; `frames` holds whole frames."""
        samples = _floats(frames, self.sample_type)
        if self.channels > 1:
            samples = samples.reshape(-1, self.channels).mean(axis=1, dtype=np.float32)
        return samples

    def time_ms(self, offset: int) -> float:
        """When the frame at this byte sounds, in milliseconds since the start of the stream."""
        return (offset - self.start) / self.frame_bytes * 1000 / self.rate


class Checkpoint(BaseModel):
    """A cut point: whoever decodes the stream from here on gets what its last reader would have got.

    Attributes:
        offset: the byte at which decoding begins, on a frame boundary.
        encoding: how to read from there; None as long as the stream's header was not seen (then `offset` is 0).
        carry: bytes from `offset` on that nobody else keeps any more: a piece of a frame or of the header.
    """

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    offset: int = 0
    encoding: Encoding | None = None
    carry: bytes = b""

    @property
    def needs_from(self) -> int:
        """The byte from which the stream has to be read again."""
        return self.offset + len(self.carry)

    @classmethod
    def at_start(cls, spec: AudioSpec) -> Self:
        """Where a new stream begins.

        Raises:
            BadRequest: `audio_unsupported`.
        """
        return cls(encoding=Encoding.of_spec(spec))

    @classmethod
    def behind_hole(cls, encoding: Encoding | None, offset: int) -> Self:
        """The first frame at or behind this byte, in a stream that has lost what was before.

        Raises:
            BadRequest: `audio_invalid` if the stream's header is lost too.
        """
        if encoding is None:
            raise BadRequest("audio_invalid", "The stream's header is missing.")
        return cls(offset=offset + (encoding.start - offset) % encoding.frame_bytes, encoding=encoding)


class Resampler:
    """One stretch of mono audio, from any rate to 16 kHz. Its output doesn't depend on how the input is cut.

    soxr holds up to 60 ms back until `flush`. Its quickest filter is enough: what it loses lies above 6.4 kHz.
    """

    def __init__(self, rate: int) -> None:
        self._soxr = None if rate == RATE else soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="LQ")

    def push(self, samples: Samples) -> Samples:
        """The 16 kHz samples that are ready now."""
        return samples if self._soxr is None else self._soxr.resample_chunk(samples)

    def flush(self) -> Samples:
        """What was held back; nothing can be pushed afterwards."""
        rest = np.empty(0, np.float32)
        return rest if self._soxr is None else self._soxr.resample_chunk(rest, last=True)


def pcm16(samples: Samples) -> bytes:
    """The samples as s16le; what lies outside -1 to 1 is clipped."""
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes()


def _floats(data: bytes, sample_type: SampleType) -> Samples:
    match sample_type:
        case "u8":
            return (np.frombuffer(data, np.uint8).astype(np.float32) - np.float32(128)) / np.float32(128)
        case "s16":
            return np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
        case "s24":
            padded = np.zeros((len(data) // 3, 4), np.uint8)
            padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            return padded.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
        case "s32":
            return np.frombuffer(data, "<i4").astype(np.float32) / np.float32(2**31)
        case "f32":
            samples: Samples = np.frombuffer(data, "<f4").astype(np.float32)
            return np.nan_to_num(samples, nan=0, posinf=1, neginf=-1).clip(-1, 1)
