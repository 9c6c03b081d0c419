"""Where a reader stands: `(epoch, seq, speech)`."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Position(BaseModel):
    """What a client has received.

    `seq` is the last durable event, `speech` the last speech chunk, both valid in `epoch` only (the first eight
    digits of the executing Redis server's replication id). An empty epoch stands for "whatever it is now".
    """

    model_config = ConfigDict(frozen=True)

    epoch: str = ""
    seq: int = Field(default=0, ge=0)
    speech: int = Field(default=0, ge=0)


class GapRange(BaseModel):
    """A range of a stream, both ends included, that can't be replayed."""

    model_config = ConfigDict(frozen=True)

    stream: Literal["events", "speech"]
    first: int
    last: int
    reason: Literal["trimmed", "epoch_changed", "ahead"]
