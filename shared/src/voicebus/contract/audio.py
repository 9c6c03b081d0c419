"""Audio formats of the microphone and of speech."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

InputFormat = Literal["pcm16", "wav", "opus", "webm", "mulaw"]
SpeechCodec = Literal["pcm16"]


class AudioSpec(BaseModel):
    """How the bytes of a microphone stream are to be read. A container's own header has the last word."""

    model_config = ConfigDict(frozen=True)

    format: InputFormat
    sample_rate: int = Field(default=16_000, ge=8_000, le=192_000)  # hertz
    channels: int = Field(default=1, ge=1, le=8)  # interleaved
