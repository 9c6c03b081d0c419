"""Where a client stands: what it was given so far, to go on from there."""

import re
from dataclasses import dataclass
from typing import ClassVar

_EPOCH = re.compile(r"[0-9a-f]{0,40}")


@dataclass(frozen=True, slots=True)
class Position:
    """The last durable event (`seq`) and the last speech chunk (`speech`) that were received.

    Both are valid in `epoch` only; an empty one stands for "whatever it is now". A `speech` of None means: speech
    from now on. As text it is `epoch:seq:speech`, to be stored and parsed again.
    """

    epoch: str = ""
    seq: int = 0
    speech: int | None = 0

    BEGINNING: ClassVar["Position"]

    def query(self) -> dict[str, str]:
        """The query parameters that resume from here."""
        fields = {"after": str(self.seq)}
        if self.epoch:
            fields["epoch"] = self.epoch
        if self.speech is not None:
            fields["speech"] = str(self.speech)
        return fields

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}:{'' if self.speech is None else self.speech}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position in `epoch:seq:speech`, or in a bare `seq` (then without earlier speech).

        Raises:
            ValueError: the text is neither.
        """
        if ":" not in text:
            return cls(seq=_count(text), speech=None)
        epoch, seq, speech = text.split(":")
        if not _EPOCH.fullmatch(epoch):
            raise ValueError(f"an epoch is written in hexadecimal digits, got {epoch!r}")
        return cls(epoch, _count(seq), _count(speech) if speech else None)


Position.BEGINNING = Position()


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(f"a position counts from 0, got {number}")
    return number
