"""A turn in an agent's hands.

Whose mail asks for tools, and how long an answer is, its id decides, so that every attempt does the same.
"""

import zlib
from dataclasses import dataclass, field
from typing import Any

import orjson

from voicebus.bus.delivery import Delivery
from voicebus.chassis.held import Held
from voicebus.contract.mail import UserTurn


@dataclass(frozen=True)
class Tool:
    """A call that a response asks for."""

    call_id: str
    repeatable: bool
    guarded: bool  # a person must approve it


@dataclass
class Answering:
    """A turn at work."""

    held: Held
    delivery: Delivery
    mail: UserTurn
    journal: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.journal = [orjson.loads(raw) for raw in self.delivery.journal]

    @property
    def number(self) -> int:
        """The turn's."""
        return self.mail.turn

    @property
    def plan(self) -> int:
        """Bits 4 and 8 are the number of tokens; for the others see `thinks_long` and `tools`."""
        return zlib.crc32(self.mail.id.encode())

    @property
    def thinks_long(self) -> bool:
        """Whether time passes between the parts of an answer."""
        return bool(self.plan & 128)

    @property
    def tools(self) -> list[Tool]:
        """What the first response calls, side by side: nothing, one tool or two."""
        first = Tool(f"{self.mail.id}/1", repeatable=bool(self.plan & 2), guarded=bool(self.plan & 16))
        second = Tool(f"{self.mail.id}/2", repeatable=bool(self.plan & 32), guarded=True)
        return [first, second][: 1 + (self.plan >> 6) % 2] if self.plan & 1 else []

    @property
    def taken_back(self) -> bool:
        """Whether the next response replaces one that was cut."""
        kinds = [step["kind"] for step in self.journal if step["kind"] in ("responded", "taken_back")]
        return kinds[-1:] == ["taken_back"]

    @property
    def segments(self) -> int:
        """Sentences of the finished response."""
        step = self.step("responded")
        return int(step["segments"]) if step else 0

    def step(self, kind: str, of: str = "") -> dict[str, Any] | None:
        """A finished step of this kind, of this response or call."""
        return next((s for s in self.journal if s["kind"] == kind and of in ("", s["of"])), None)

    def record(self, kind: str, of: str, **more: object) -> bytes:
        """A step that is now done, as it is journalled."""
        step = {"kind": kind, "of": of, "turn": self.number, **more}
        self.journal.append(step)
        return orjson.dumps(step)
