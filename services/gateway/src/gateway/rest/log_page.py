"""A page of a session's log, but for the events: those go out as they stand in the log."""

from pydantic import BaseModel, Field

from voicebus.contract.payloads import GapData


class LogPosition(BaseModel):
    """A place in the log: behind the event `seq`, which is valid in `epoch`."""

    epoch: str
    seq: int


class EventPageTail(BaseModel):
    """What follows the events in an answer."""

    position: LogPosition  # the next page is asked for with it
    head: LogPosition  # the log's end: there is more as long as `position` is below
    gaps: list[GapData] = Field(description="What was asked for and can't be given.")
