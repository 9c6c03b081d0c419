"""What users said, and where it went: the part of the pure model that concerns questions that are joined."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.demand import demand


@dataclass
class Questions:
    """A turn that was interrupted before anything of it was heard goes on in the next thing that the user says."""

    asked: dict[int, str] = field(default_factory=dict)  # by turn
    said: set[int] = field(default_factory=set)  # turns that nobody asked: the agent was told what to say
    owed: list[str] = field(default_factory=list)  # questions of such turns, which no later turn holds yet
    _understood: str = ""  # a transcript whose turn comes with it

    def understood(self, text: str) -> None:
        """A final transcript."""
        demand(not self._understood, "a transcript without a turn:", self._understood)
        self._understood = text

    def opened(self, turn: int, user: Mapping[str, Any]) -> None:
        """A turn begins: each question that is owed is in it, once, in front of what was understood."""
        wanted = text_of(user["id"])
        if user["input"] == "voice":
            wanted = " ".join([*self.owed, *filter(None, [self._understood])])
            self.owed, self._understood = [], ""
        demand(wanted and user["content"] == wanted, "turn", turn, "asks", user, "instead of", wanted)
        self.asked[turn] = wanted

    def told(self, turn: int, content: str) -> None:
        """A turn begins in which the agent is to say this."""
        self.asked[turn] = content
        self.said.add(turn)

    def joined(self, turn: int) -> None:
        """The turn was cut, and what it asked goes on."""
        demand(turn not in self.said, "joined, though nobody asked:", turn)
        self.owed.append(self.asked[turn])

    def finish(self) -> None:
        """When everybody had the time to do everything."""
        demand(not self.owed, "asked, joined and lost:", self.owed)
        demand(not self._understood, "a transcript without a turn:", self._understood)


def text_of(message_id: str) -> str:
    """What a client's message says: one word, which no other one says."""
    return f"{message_id}?"


def message_of(text: str) -> str:
    """The id of the message that says this."""
    return text.removesuffix("?")
