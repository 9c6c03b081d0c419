"""What an interruption may cut and must cut: part of the pure model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from model.demand import demand
from model.hearing import Hearing, Speech


@dataclass
class Interruption:
    """One execution of a script that cuts turns, and what was to be heard just before."""

    message_id: str
    named: int | None  # the turn that it is to cut; None: whatever goes on
    played_ms: int | None  # what the client says that it has played
    by_speech: bool  # somebody speaks, as the stt stage says
    opens: bool  # it is a text that takes the place of what goes on
    cut: set[int] = field(default_factory=set)
    speeches: Mapping[int, Speech] = field(default_factory=dict)
    heard: Collection[int] = ()  # turns of which anything was
    audible: Collection[int] = ()  # turns of which something is left
    over: Collection[int] = ()  # answered turns that were spoken and heard to their end
    exact: bool = True  # whether all speech is remembered

    def begin(self, hearing: Hearing, answers: Mapping[int, int]) -> None:
        """Takes down what is to be heard; `answers` are the sentences of answered turns."""
        self.speeches = {speech.turn: speech for speech in hearing.speeches}
        self.heard = {turn for turn in self.speeches if hearing.was_heard(turn)}
        self.audible = set(hearing.audible())
        self.exact = hearing.exact
        self.over = {
            turn for turn, count in answers.items() if turn not in self.audible and hearing.all_out(turn, count)
        }

    def cuts(self, turn: int, data: Mapping[str, Any], *, question_known: bool) -> None:
        """Cuts this turn. Its question may not be known if the log was trimmed."""
        self.cut.add(turn)
        demand(self.named in (None, turn), self.message_id, "was to cut", self.named, "and cut", turn)
        joined, untold = data.get("joined", False), self.by_speech and turn not in self.heard
        demand(untold or not joined, "joined, though something was heard:", turn, self)
        demand(joined or not untold or not question_known, "not joined, though nothing was heard:", turn, self)
        if not self.exact:
            return
        speech = self.speeches.get(turn)
        texts = speech.texts(speech.heard_ms if self.played_ms is None else self.played_ms) if speech else {""}
        demand(data["heard"] in texts, "turn", turn, "was heard as", data, "instead of", texts, self)
        if self.played_ms is not None and turn in self.heard:
            self.played_ms = 0  # of those behind it nothing was

    def end(self, cancelled: Collection[int], waiting: Sequence[int], to_speak: Collection[int]) -> None:
        """What is left: turns in the agent's mailbox, and turns with sentences in the one of TTS."""
        before = set(cancelled) - self.cut
        if self.named is not None:
            left = {self.named} - before - self.cut
            demand(not left & {*waiting, *to_speak}, "goes on, and was not cut by its name:", left, self)
            demand(not left & set(self.audible) or not self.exact, "is heard, and was not cut by its name:", left, self)
            return
        if self.opens:
            waiting = waiting[:-1]
        # Behind a turn that was cut and is not wound up only somebody who speaks cuts the next one.
        open_turns = [turn for turn in waiting if turn not in before]
        answered = set(open_turns[:1]) if self.by_speech or open_turns[:1] == list(waiting[:1]) else set()
        demand(not to_speak, "sentences wait behind an interruption:", to_speak, self)
        demand(answered <= self.cut, "is answered, and was not cut:", answered, waiting, self)
        demand(not (set(waiting) - answered) & self.cut, "cut, though it waits:", answered, waiting, self)
        if self.exact:
            demand(set(self.audible) <= self.cut, "is heard, and was not cut:", self)
            demand(not self.cut & set(self.over), "cut, though it was over:", self)
