"""Every message that a client of the native dialect can send as JSON text. Audio comes as binary frames."""

from typing import Annotated, Literal

from pydantic import Field

from voicebus.contract.audio import AudioSpec, InputFormat
from voicebus.contract.payloads import Frozen, Mode, OnBusy

MessageId = Annotated[str, Field(min_length=1, max_length=64)]
StreamId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
_COUNT_MAX = 2**53  # as far as Lua and JavaScript count exactly


class Text(Frozen):
    """The user says something in writing. Empty content is ignored."""

    type: Literal["text"] = "text"
    id: MessageId | None = None
    content: str = Field(max_length=65_536)
    on_busy: OnBusy = "queue"


class AudioStart(Frozen):
    """Opens a microphone stream, or takes it over from `offset` on. Bytes follow as binary frames."""

    type: Literal["audio.start"] = "audio.start"
    id: MessageId | None = None
    stream: StreamId
    format: InputFormat
    sample_rate: int = Field(default=16_000, ge=8_000, le=192_000)  # hertz
    channels: int = Field(default=1, ge=1, le=8)
    offset: int = Field(default=0, ge=0, le=_COUNT_MAX)  # bytes

    @property
    def spec(self) -> AudioSpec:
        """How the stream's bytes are to be read."""
        return AudioSpec(format=self.format, sample_rate=self.sample_rate, channels=self.channels)


class AudioStop(Frozen):
    """Ends the open stream: what was said so far is transcribed at once."""

    type: Literal["audio.stop"] = "audio.stop"
    id: MessageId | None = None
    stream: StreamId


class Audio(Frozen):
    """One whole clip, base64."""

    type: Literal["audio"] = "audio"
    id: MessageId | None = None
    content: str
    format: InputFormat = "wav"
    sample_rate: int = Field(default=16_000, ge=8_000, le=192_000)  # hertz
    channels: int = Field(default=1, ge=1, le=8)


class Played(Frozen):
    """How much of a segment was really heard."""

    type: Literal["played"] = "played"
    turn: int = Field(ge=1, le=_COUNT_MAX)
    segment: int = Field(ge=0, le=_COUNT_MAX)
    ms: int = Field(ge=0, le=_COUNT_MAX)


class Interrupt(Frozen):
    """Stops the named turn, by default the active or audible one."""

    type: Literal["interrupt"] = "interrupt"
    id: MessageId | None = None
    turn: int | None = Field(default=None, ge=1, le=_COUNT_MAX)
    played_ms: int | None = Field(default=None, ge=0, le=_COUNT_MAX)


class SetMode(Frozen):
    """Whether answers are spoken."""

    type: Literal["mode"] = "mode"
    id: MessageId | None = None
    mode: Mode


class ToolApproval(Frozen):
    """A person's word on a waiting tool call."""

    type: Literal["tool_approval"] = "tool_approval"
    id: MessageId | None = None
    tool_call_id: str = Field(min_length=1, max_length=128)
    approved: bool
    reason: str = Field(default="", max_length=1_024)


class SwitchAgent(Frozen):
    """Another agent shall go on."""

    type: Literal["agent_switch"] = "agent_switch"
    id: MessageId | None = None
    agent_type: str = Field(min_length=1, max_length=64)


class Auth(Frozen):
    """A new token for this connection."""

    type: Literal["auth"] = "auth"
    id: MessageId | None = None
    token: str = Field(max_length=16_384)


class Ping(Frozen):
    """Answered by `pong`."""

    type: Literal["ping"] = "ping"


Command = (
    Text | AudioStart | AudioStop | Audio | Played | Interrupt | SetMode | ToolApproval | SwitchAgent | Auth | Ping
)
AnyCommand = Annotated[Command, Field(discriminator="type")]
