"""How far a session's microphone stream has been transcribed, and which mail that was."""

from collections import deque
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict

from stt_worker.audio import Checkpoint


class Progress(BaseModel):
    """What the stage's owner leaves to the next one.

    Attributes:
        stream: the name that the client gave it; a later stream may have the same one.
        start_id: the mail that opened it, or the first one that was read if that is lost. No other stream has it.
        checkpoint: where decoding goes on.
        refused: the stream can't be decoded: its rest is dropped.
    """

    model_config = ConfigDict(frozen=True)

    stream: str
    start_id: str
    checkpoint: Checkpoint = Checkpoint()
    refused: bool = False

    def at(self, checkpoint: Checkpoint) -> Self:
        """The same stream, transcribed up to here."""
        return self.model_copy(update={"checkpoint": checkpoint})

    def refuse(self) -> Self:
        """The same stream, of which nothing more is heard."""
        return self.model_copy(update={"checkpoint": Checkpoint(), "refused": True})


@dataclass(frozen=True, slots=True)
class Mark:
    """A mail that was read: the stream's bytes up to `end` were in it or before it."""

    mail_id: str
    end: int
    arrived_s: float  # loop time


class Marks:
    """The mail behind the cursor that was read, oldest first."""

    def __init__(self) -> None:
        self._marks: deque[Mark] = deque()

    def add(self, mark: Mark) -> None:
        """The next mail was read."""
        self._marks.append(mark)

    def clear(self) -> None:
        """Nothing counts as read any more."""
        self._marks.clear()

    def pass_by(self, offset: int) -> str | None:
        """Forgets mail that lies wholly below this byte; returns the last such mail's id."""
        passed = None
        while self._marks and self._marks[0].end <= offset:
            passed = self._marks.popleft().mail_id
        return passed

    def arrival_s(self, offset: int) -> float | None:
        """When the byte before this offset came."""
        return next((mark.arrived_s for mark in self._marks if mark.end >= offset), None)
