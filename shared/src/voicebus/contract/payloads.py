"""What events say: the `data` of each, and the types that all wire models share."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer


def _to_milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_to_milliseconds),
    PlainSerializer(lambda t: t.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")),
]
# The same as text: there are many events, and nobody here reads their time.
Clock = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]
Mode = Literal["text", "voice"]
OnBusy = Literal["queue", "interrupt"]  # what a text does while a turn goes on
ToolOutcomeName = Literal["ok", "error", "unknown", "cancelled"]


def now() -> str:
    """The wall clock as a `Clock`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Frozen(BaseModel):
    """Base of all wire models: immutable; unknown fields are left alone so that versions can differ."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, allow_inf_nan=False)


class WelcomeData(Frozen):
    """Where the session stands when a connection joins it."""

    epoch: str
    seq: int  # head of the log
    speech: int  # head of the speech stream
    resumed: bool
    replayed: int  # events and speech chunks that follow before anything live
    agent_type: str
    mode: Mode
    ping_interval_s: float
    token_expires_at: Timestamp | None = None


class SessionStartData(Frozen):
    """The session begins."""

    agent_type: str
    mode: Mode


class SessionEndData(Frozen):
    """The session is over; nothing follows."""

    reason: str  # deleted, idle


class SttData(Frozen):
    """A transcript; times in milliseconds since the start of the audio stream."""

    text: str
    is_final: bool
    confidence: float | None = None  # 0 to 1
    start_ms: int | None = None
    end_ms: int | None = None


class UserData(Frozen):
    """What the user said; opens a turn."""

    content: str
    input: Literal["text", "voice"]
    id: str


class StatusData(Frozen):
    """What the assistant is busy with."""

    status: str
    message: str = ""


class TokenData(Frozen):
    """One token or more of an answer."""

    token: str
    response_id: str


class Usage(Frozen):
    """Tokens that the language model counted for the whole turn."""

    input_tokens: int = 0
    output_tokens: int = 0


class ResponseData(Frozen):
    """The whole answer of a turn."""

    content: str
    response_id: str
    intent: str | None = None
    confidence: float | None = None  # 0 to 1
    usage: Usage | None = None
    segments: int = 0  # sentences that are spoken: speech ends with the last chunk of segment `segments - 1`


class ResponseRestartedData(Frozen):
    """A cut answer begins anew: forget its tokens from `discard_from_seq` on."""

    response_id: str
    discard_from_seq: int


class ToolCallData(Frozen):
    """The agent calls a tool."""

    tool_call_id: str
    tool_name: str
    parameters: dict[str, JsonValue]


class ToolResultData(Frozen):
    """A tool call ended."""

    tool_call_id: str
    tool_name: str
    result: JsonValue = None
    is_error: bool
    outcome: ToolOutcomeName
    duration_ms: int


class ToolApprovalRequestData(Frozen):
    """A tool call waits for a person's word."""

    tool_call_id: str
    tool_name: str
    parameters: dict[str, JsonValue]
    expires_at: Timestamp


class TtsData(Frozen):
    """A chunk of speech. In binary frames the raw audio follows the header, and `audio` is absent."""

    n: int  # offset in the speech stream
    after_seq: int  # the last event before it
    segment: int  # sentence of the turn, from 0
    codec: Literal["pcm16"]
    sample_rate: int  # hertz
    is_last: bool  # of its segment
    text: str | None = None  # on a segment's first chunk
    response_id: str
    format: Literal["base64", "binary"]
    audio: str | None = None


class AgentSwitchData(Frozen):
    """Another agent goes on with the conversation."""

    from_: str = Field(alias="from")
    to: str
    reason: str = ""


class InterruptedData(Frozen):
    """A turn was cut short; its speech, all with a lower `n` than `speech_next`, is void.

    `joined`: the user goes on speaking, and the next turn holds this one's text, too.
    """

    turn: int
    heard: str
    joined: bool = False
    speech_next: int


class StateSnapshotData(Frozen):
    """The session's whole state."""

    state: dict[str, JsonValue]


class StateDeltaData(Frozen):
    """A change of the state as RFC 6902 patch operations."""

    delta: list[dict[str, JsonValue]]


class ActivityData(Frozen):
    """Something that happens beside the conversation."""

    activity_type: str
    content: JsonValue = None


class MetricData(Frozen):
    """A measured latency of a turn, in milliseconds."""

    name: Literal["ttfb_ms", "stt_final_ms", "first_token_ms", "first_speech_ms", "turn_ms"]
    value: float


class GapData(Frozen):
    """A range, both ends included, that can't be replayed."""

    stream: Literal["events", "speech"]
    from_: int = Field(alias="from")
    to: int
    reason: Literal["trimmed", "epoch_changed", "ahead"]


class ProblemData(Frozen):
    """A warning or an error. `ref` is the id of the client message that it answers."""

    code: str
    message: str
    temporary: bool = False
    retry_after_ms: int | None = None
    ref: str | None = None


class AckData(Frozen):
    """A client message took effect; `seq` is the head of the log then."""

    id: str
    seq: int


class AudioAckData(Frozen):
    """Bytes of the stream below `offset` are safe."""

    stream: str
    offset: int


class DrainData(Frozen):
    """This gateway goes away: reconnect after so many milliseconds."""

    reconnect_after_ms: int


class TokenExpiringData(Frozen):
    """The connection closes at this time unless a new token is sent."""

    expires_at: Timestamp


class PongData(Frozen):
    """The answer to `ping`."""
