"""What an agent writes down while it answers a turn, so that another worker can go on from there.

A model response is written down when it is finished and calls tools, or when it was cut; a tool call when a person is
asked whether it may be made, when it may start, and again with its outcome. The last response of a turn is never
written down: it ends the turn in the same write.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter
from pydantic_ai.messages import ModelResponse

from agent_worker.tools.outcome import ToolOutcome
from voicebus.contract.payloads import Frozen


class Responded(Frozen):
    """The model finished a response that calls tools; its tokens and sentences are out."""

    kind: Literal["responded"] = "responded"
    response_id: str
    message: ModelResponse
    segments: int  # sentences of this response that were mailed to TTS


class TakenBack(Frozen):
    """A response was cut, and what was out of it taken back; the bus knows which of its sentences were heard."""

    kind: Literal["taken_back"] = "taken_back"


class Asked(Frozen):
    """Clients were asked to approve the call; their word stands in the session's state."""

    kind: Literal["asked"] = "asked"
    tool_call_id: str


class Started(Frozen):
    """Clients saw the call; the tool may have been called from here on."""

    kind: Literal["started"] = "started"
    tool_call_id: str
    repeatable: bool  # by the annotations that the tool had then


class Finished(Frozen):
    """The call has its outcome, and clients saw it."""

    kind: Literal["finished"] = "finished"
    tool_call_id: str
    outcome: ToolOutcome


Entry = Responded | TakenBack | Asked | Started | Finished
_ENTRIES: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


def dump_entry(entry: Entry) -> bytes:
    """The entry as it goes to the journal."""
    return entry.model_dump_json(exclude_none=True).encode()


def load_entry(raw: bytes) -> Entry:
    """The entry in these bytes.

    Raises:
        ValidationError: they are no entry.
    """
    return _ENTRIES.validate_json(raw)
