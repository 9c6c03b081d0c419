"""Sessions as REST shows them."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, JsonValue, ValidationError

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


class Cut(Frozen):
    """What became of a turn that was interrupted."""

    heard: str
    joined: bool = False  # nothing was, and what the user said is part of a later turn


class HistoryEntry(Frozen):
    """One turn of the conversation, as the agent leaves it in the history."""

    turn: int
    user: str  # '' where the assistant was told what to say
    assistant: str  # what was written, or heard if `interrupted`
    interrupted: bool = False  # before the answer was complete
    messages: list[JsonValue] = Field(default_factory=list)  # as the agent's model library writes them
    cut: Cut | None = None  # of an answer that was to be spoken; the bus adds it to one that was complete

    def dump(self) -> bytes:
        """As it is kept: an object that begins with its turn."""
        return self.model_dump_json(exclude_none=True).encode()


def conversation_of(raws: Sequence[bytes]) -> list[HistoryEntry]:
    """The turns of a history as they were heard, oldest first; without those that are part of a later one.

    An entry that can't be read costs only itself: it is left out.
    """
    entries = [entry for raw in raws if (entry := _readable(raw))]
    return [_as_heard(entry) for entry in entries if not (entry.cut and entry.cut.joined)]


def _readable(raw: bytes) -> HistoryEntry | None:
    try:
        return HistoryEntry.model_validate_json(raw)
    except ValidationError:
        return None


def _as_heard(entry: HistoryEntry) -> HistoryEntry:
    return entry.model_copy(update={"assistant": entry.cut.heard, "interrupted": True}) if entry.cut else entry
