"""Sessions as REST shows them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue

from voicebus.contract.payloads import Frozen, Mode, Timestamp, ToolApprovalRequestData
from voicebus.contract.positions import Position

SessionId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Member = Annotated[str, Field(min_length=1, max_length=256)]
Status = Literal["open", "ended"]


class NewSession(Frozen):
    """What a session is created with."""

    agent_type: str = Field(default="personal", min_length=1, max_length=64)
    mode: Mode = "voice"
    context: dict[str, JsonValue] = Field(default_factory=dict)  # told to the model with its instructions
    members: tuple[Member, ...] = Field(default=(), max_length=64)  # other users who may join
    ttl_s: int = Field(default=3_600, ge=1, le=30 * 86_400)  # ends after so long without input


class Session(Frozen):
    """A session's state."""

    session_id: str
    owner: str
    members: tuple[str, ...]
    agent_type: str
    mode: Mode
    status: Status
    context: dict[str, JsonValue]
    created_at: Timestamp
    ttl_s: int
    turn: int  # the last one submitted
    active_turn: int | None  # the one being answered
    approvals: tuple[ToolApprovalRequestData, ...] = ()  # its tool calls that wait for a person's word
    position: Position  # heads of log and speech

    def admits(self, sub: str) -> bool:
        """Whether this user may see and join the session."""
        return sub == self.owner or sub in self.members


class HistoryMessage(Frozen):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str
    turn: int


class HistoryEntry(Frozen):
    """One turn of the conversation, as the agent leaves it in the history."""

    turn: int
    user: str
    assistant: str  # what was heard, if the turn was interrupted
    interrupted: bool = False
    messages: list[JsonValue] = Field(default_factory=list)  # as the agent's model library writes them


class Cut(Frozen):
    """What became of a turn that was interrupted."""

    heard: str
    joined: bool = False  # nothing was, and what the user said is part of a later turn


class HistoryCut(Cut):
    """Stands in the history behind a turn whose answer was complete when its playback was interrupted."""

    cut: int  # the turn

    @classmethod
    def of(cls, raw: bytes) -> Self | None:
        """The correction in these bytes, None if they are another entry of the history."""
        return cls.model_validate_json(raw) if raw.startswith(b'{"cut":') else None


def conversation_of(raws: Sequence[bytes]) -> list[HistoryEntry]:
    """The turns of a history as they were heard, oldest first; without those that are part of a later one."""
    cuts = {cut.cut: cut for raw in raws if (cut := HistoryCut.of(raw))}
    entries = [HistoryEntry.model_validate_json(raw) for raw in raws if not HistoryCut.of(raw)]
    return [_as_heard(entry, cuts.get(entry.turn)) for entry in entries if not _is_joined(cuts.get(entry.turn))]


def _is_joined(cut: HistoryCut | None) -> bool:
    return cut is not None and cut.joined


def _as_heard(entry: HistoryEntry, cut: HistoryCut | None) -> HistoryEntry:
    return entry.model_copy(update={"assistant": cut.heard, "interrupted": True}) if cut else entry
