"""Every event that a client of the native dialect can receive.

Durable events get their `seq` from the script that appends them, so a producer leaves it out. Ephemeral events are
published and never stored. Control messages (`welcome`, `ack`, `gap` …) belong to one connection.
"""

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
Mode = Literal["text", "voice"]
ToolOutcomeName = Literal["ok", "error", "unknown", "cancelled"]


def now() -> datetime:
    """The wall clock, in UTC, to the millisecond."""
    return _to_milliseconds(datetime.now(UTC))


class Frozen(BaseModel):
    """Base of all wire models: immutable; unknown fields are left alone so that versions can differ."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, allow_inf_nan=False)


class Envelope(Frozen):
    """What every event carries. `seq` and `turn` are absent where they do not apply."""

    seq: int | None = None
    type: str = ""
    turn: int | None = None
    session_id: str
    agent_type: str = "personal"
    timestamp: Timestamp = Field(default_factory=now)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


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
    """A turn was cut short; speech with a lower `n` than `speech_next` is void."""

    turn: int
    heard: str
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


class Welcome(Envelope):
    """First message on every connection."""

    type: Literal["welcome"] = "welcome"
    data: WelcomeData


class SessionStart(Envelope):
    """Durable."""

    type: Literal["session_start"] = "session_start"
    data: SessionStartData


class SessionEnd(Envelope):
    """Durable, the last one."""

    type: Literal["session_end"] = "session_end"
    data: SessionEndData


class Stt(Envelope):
    """A final one is durable, a partial one ephemeral."""

    type: Literal["stt"] = "stt"
    data: SttData


class User(Envelope):
    """Durable."""

    type: Literal["user"] = "user"
    data: UserData


class Thinking(Envelope):
    """Ephemeral."""

    type: Literal["thinking"] = "thinking"
    data: StatusData


class Typing(Envelope):
    """Ephemeral."""

    type: Literal["typing"] = "typing"
    data: StatusData


class Waiting(Envelope):
    """Ephemeral."""

    type: Literal["waiting"] = "waiting"
    data: StatusData


class Token(Envelope):
    """Durable."""

    type: Literal["token"] = "token"
    data: TokenData


class Response(Envelope):
    """Durable; ends the turn."""

    type: Literal["response"] = "response"
    data: ResponseData


class ResponseRestarted(Envelope):
    """Durable."""

    type: Literal["response_restarted"] = "response_restarted"
    data: ResponseRestartedData


class ToolCall(Envelope):
    """Durable."""

    type: Literal["tool_call"] = "tool_call"
    data: ToolCallData


class ToolResult(Envelope):
    """Durable."""

    type: Literal["tool_result"] = "tool_result"
    data: ToolResultData


class ToolApprovalRequest(Envelope):
    """Durable."""

    type: Literal["tool_approval_request"] = "tool_approval_request"
    data: ToolApprovalRequestData


class Tts(Envelope):
    """Speech, in a stream of its own."""

    type: Literal["tts"] = "tts"
    data: TtsData


class AgentSwitch(Envelope):
    """Durable."""

    type: Literal["agent_switch"] = "agent_switch"
    data: AgentSwitchData


class Interrupted(Envelope):
    """Durable; ends the turn."""

    type: Literal["interrupted"] = "interrupted"
    data: InterruptedData


class StateSnapshot(Envelope):
    """Durable."""

    type: Literal["state_snapshot"] = "state_snapshot"
    data: StateSnapshotData


class StateDelta(Envelope):
    """Durable."""

    type: Literal["state_delta"] = "state_delta"
    data: StateDeltaData


class Activity(Envelope):
    """Durable."""

    type: Literal["activity"] = "activity"
    data: ActivityData


class Metric(Envelope):
    """Ephemeral."""

    type: Literal["metric"] = "metric"
    data: MetricData


class Gap(Envelope):
    """Control."""

    type: Literal["gap"] = "gap"
    data: GapData


class Warning(Envelope):  # noqa: A001 - the event's name
    """Durable if it belongs to the session, else control."""

    type: Literal["warning"] = "warning"
    data: ProblemData


class Error(Envelope):
    """Durable if it belongs to the session, else control."""

    type: Literal["error"] = "error"
    data: ProblemData


class Ack(Envelope):
    """Control."""

    type: Literal["ack"] = "ack"
    data: AckData


class AudioAck(Envelope):
    """Control."""

    type: Literal["audio_ack"] = "audio_ack"
    data: AudioAckData


class Pong(Envelope):
    """Control."""

    type: Literal["pong"] = "pong"
    data: PongData = Field(default_factory=PongData)


class Drain(Envelope):
    """Control."""

    type: Literal["drain"] = "drain"
    data: DrainData


class TokenExpiring(Envelope):
    """Control."""

    type: Literal["token_expiring"] = "token_expiring"
    data: TokenExpiringData


Event = (
    Welcome
    | SessionStart
    | SessionEnd
    | Stt
    | User
    | Thinking
    | Typing
    | Waiting
    | Token
    | Response
    | ResponseRestarted
    | ToolCall
    | ToolResult
    | ToolApprovalRequest
    | Tts
    | AgentSwitch
    | Interrupted
    | StateSnapshot
    | StateDelta
    | Activity
    | Metric
    | Gap
    | Warning
    | Error
    | Ack
    | AudioAck
    | Pong
    | Drain
    | TokenExpiring
)
AnyEvent = Annotated[Event, Field(discriminator="type")]
