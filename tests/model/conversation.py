"""What must be true of the conversation that a session keeps: part of the pure model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from model.demand import demand

from voicebus.contract.sessions import HistoryEntry


@dataclass
class Conversation:
    """How the turns of a session ended, as far as it matters to what is told of them."""

    answered: set[int] = field(default_factory=set)
    cut: dict[int, str] = field(default_factory=dict)  # what was heard of those that were interrupted
    joined: set[int] = field(default_factory=set)  # turns that were interrupted, and go on in a later one
    unsaid: set[int] = field(default_factory=set)  # turns that were cut before the agent said what it was to say
    failed: set[int] = field(default_factory=set)  # turns that were given up: nobody was left to write them down
    given_up: int = 0  # turns that were cut, and failed too often while that was written down

    def interrupted(self, turn: int, heard: str, *, joined: bool, said: bool) -> None:
        """A turn was cut short; `said`: one in which the agent was told what to say."""
        self.cut[turn] = heard
        if said and turn not in self.answered:
            self.unsaid.add(turn)
        if joined:
            self.joined.add(turn)

    def compare(self, entries: Sequence[HistoryEntry], keep: int, *, complete: bool) -> None:
        """With what is kept: the last turns. Unless `complete`, what was cut may not be written down yet."""
        told = [entry.turn for entry in entries]
        demand(told == sorted(set(told)), "turns out of order, or told twice:", told)
        demand(len(told) <= keep, "more turns than are to be kept:", told, keep)
        ended = self.answered | self.cut.keys()
        for entry in entries:
            demand(entry.turn in ended, "a turn without an end:", entry)
            demand(entry.turn not in self.joined, "a turn that is part of a later one:", entry)
            demand(entry.turn not in self.unsaid, "a turn in which nothing was said:", entry)
            demand(entry.interrupted == (entry.turn in self.cut), "told otherwise than it ended:", entry, self)
            heard = self.cut.get(entry.turn, entry.assistant)
            demand(entry.assistant == heard, "something else was heard:", entry, heard)
        kept = {turn for turn in ended if sum(later > turn for later in ended) < keep}
        missing = kept - self.failed - self.joined - self.unsaid - set(told)
        demand(not missing & self.answered, "answered, and missing in the conversation:", missing, told)
        demand(not complete or len(missing) <= self.given_up, "cut, and missing in the conversation:", missing, told)
