"""Every event that a client of the native dialect can receive.

Durable events get their `seq` from the script that appends them, so a producer leaves it out. Ephemeral events are
published and never stored. Control messages (`welcome`, `ack`, `gap` …) belong to one connection.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from voicebus.contract.payloads import (
    AckData,
    ActivityData,
    AgentSwitchData,
    AudioAckData,
    Clock,
    DrainData,
    Frozen,
    GapData,
    InterruptedData,
    MetricData,
    PongData,
    ProblemData,
    ResponseData,
    ResponseRestartedData,
    SessionEndData,
    SessionStartData,
    StateDeltaData,
    StateSnapshotData,
    StatusData,
    SttData,
    TokenData,
    TokenExpiringData,
    ToolApprovalRequestData,
    ToolCallData,
    ToolResultData,
    TtsData,
    UserData,
    WelcomeData,
    now,
)


class Envelope(Frozen):
    """What every event carries. `seq` and `turn` are absent where they do not apply."""

    seq: int | None = None
    type: str = ""
    turn: int | None = None
    session_id: str
    agent_type: str = "personal"
    timestamp: Clock = Field(default_factory=now)
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


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
