"""What REST answers. Fields that are not known here are left alone, so that versions can differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from voicebus_client.errors import BadFrame
from voicebus_client.position import Position

Stage = Literal["stt", "agent", "tts"]


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str
    turn: int


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A tool call that waits for `approve_tool`."""

    tool_call_id: str
    tool_name: str
    parameters: Mapping[str, Any]
    expires_at: str  # ISO 8601, UTC


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session's state."""

    session_id: str
    owner: str
    agent_type: str
    mode: Literal["text", "voice"]
    status: Literal["open", "ended"]
    created_at: str  # ISO 8601, UTC
    ttl_s: int  # ends after so many seconds without input
    turn: int  # the last one submitted
    position: Position  # heads of log and speech
    active_turn: int | None = None  # the one being answered
    approvals: tuple[PendingApproval, ...] = ()  # its tool calls that wait for one
    members: tuple[str, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[HistoryMessage, ...] = ()  # of a single session only, not in lists


@dataclass(frozen=True, slots=True)
class Answer:
    """A message took effect at `seq`. `response` holds what ended its turn, None if that was not waited for."""

    id: str
    seq: int
    turn: int | None = None
    response: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """What the assistant said; empty without a response."""
        return str(self.response.get("content", "")) if self.response else ""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the gateway and what it needs are well; `parts` gives each part's state and reason.

    `stages` tells of the workers, as the gateway's OpenAPI document describes it.
    """

    well: bool
    parts: Mapping[str, Any]
    version: str = ""  # the gateway's
    stages: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Mail that was given up."""

    id: str
    stage: Stage
    session_id: str
    turn: int | None
    died_at: str  # ISO 8601, UTC
    code: str  # of the error
    message: str
    mail: Any = None  # as it was sent; not in lists, and None for speech


@dataclass(frozen=True, slots=True)
class Retried:
    """A dead letter is mail again, in this turn; `seq` is the head of the session's log then."""

    seq: int
    turn: int | None


def session_info(body: Any) -> SessionInfo:
    """The session in an answer.

    Raises:
        BadFrame: the body is not one.
    """
    try:
        return SessionInfo(
            session_id=body["session_id"],
            owner=body["owner"],
            agent_type=body["agent_type"],
            mode=body["mode"],
            status=body["status"],
            created_at=body["created_at"],
            ttl_s=body["ttl_s"],
            turn=body["turn"],
            position=Position(**{name: body["position"][name] for name in ("epoch", "seq", "speech")}),
            active_turn=body.get("active_turn"),
            approvals=tuple(
                PendingApproval(a["tool_call_id"], a["tool_name"], a["parameters"], a["expires_at"])
                for a in body.get("approvals", ())
            ),
            members=tuple(body.get("members", ())),
            context=body.get("context", {}),
            history=tuple(HistoryMessage(m["role"], m["content"], m["turn"]) for m in body.get("history", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BadFrame("bad_frame", f"not a session: {error!r}") from error


def answer(body: Any, message_id: str) -> Answer:
    """The answer to a message.

    Raises:
        BadFrame: the body is not one.
    """
    try:
        return Answer(message_id, body["seq"], body.get("turn"), body.get("response"))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadFrame("bad_frame", f"not an answer: {error!r}") from error


def dead_letter(body: Any) -> DeadLetter:
    """The dead letter in an answer.

    Raises:
        BadFrame: the body is not one.
    """
    try:
        error = body["error"]
        names = ("id", "stage", "session_id", "turn", "died_at")
        named = {name: body[name] for name in names}
        return DeadLetter(**named, code=error["code"], message=error["message"], mail=body.get("mail"))
    except (KeyError, TypeError, AttributeError) as error:
        raise BadFrame("bad_frame", f"not a dead letter: {error!r}") from error


def retried(body: Any) -> Retried:
    """What became of a retried dead letter.

    Raises:
        BadFrame: the body does not say.
    """
    try:
        return Retried(body["seq"], body["turn"])
    except (KeyError, TypeError) as error:
        raise BadFrame("bad_frame", f"not the answer to a retry: {error!r}") from error
