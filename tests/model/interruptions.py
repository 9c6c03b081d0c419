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
    token: str = ""  # of the stt stage, if that says that somebody speaks
    opens: bool = False  # it is a text that takes the place of what goes on
    cut: list[int] = field(default_factory=list)
    speeches: Mapping[int, Speech] = field(default_factory=dict)
    heard: Collection[int] = ()  # turns of which anything was
    audible: Collection[int] = ()  # turns of which something is left
    over: Collection[int] = ()  # answered turns that were spoken and heard to their end
    remembered: Collection[int] = ()  # turns whose speech must be
    believed: bool = False  # the client has not played the turn that it names to its end

    @property
    def by_speech(self) -> bool:
        """Whether somebody speaks."""
        return bool(self.token)

    def begin(self, hearing: Hearing, answers: Mapping[int, Collection[int]]) -> None:
        """Takes down what is to be heard; `answers` are the sentences of answered turns that had to be spoken."""
        self.speeches = {speech.turn: speech for speech in hearing.speeches}
        self.heard = {turn for turn in self.speeches if hearing.was_heard(turn)}
        self.audible = set(hearing.audible())
        self.remembered = set(hearing.remembered())
        self.over = {
            turn for turn, wanted in answers.items() if turn not in self.audible and hearing.all_out(turn, wanted)
        }
        if self.played_ms is not None and self.named in self.remembered:
            self.believed = self.played_ms < self.speeches[self.named].ms

    def cuts(self, turn: int, data: Mapping[str, Any], *, question_known: bool) -> None:
        """Cuts this turn. Its question may not be known if the log was trimmed."""
        demand(all(turn > other for other in self.cut), "cut out of order:", self.cut, turn)
        self.cut.append(turn)
        demand(self.named in (None, turn), self.message_id, "was to cut", self.named, "and cut", turn)
        joined, untold = data.get("joined", False), self.by_speech and turn not in self.heard
        demand(untold or not joined, "joined, though something was heard:", turn, self)
        demand(joined or not untold or not question_known, "not joined, though nothing was heard:", turn, self)
        speech = self.speeches.get(turn)
        sentences = speech.sentences if speech else []
        if all(sentence.whole or sentence.said for sentence in sentences[:-1]):  # none was given up
            out = " ".join(sentence.text for sentence in sentences)
            demand(out.startswith(data["heard"]), "turn", turn, "was heard as", data, "and spoken as", out, self)
        if speech and turn not in self.remembered:
            return
        texts = speech.texts(speech.heard_ms if self.played_ms is None else self.played_ms) if speech else {""}
        demand(data["heard"] in texts, "turn", turn, "was heard as", data, "instead of", texts, self)
        if self.played_ms is not None and turn in self.heard:
            self.played_ms = 0  # of those behind it nothing was

    def end(self, cancelled: Collection[int], waiting: Sequence[int], to_speak: Collection[int]) -> None:
        """What is left: turns in the agent's mailbox, and turns with sentences in the one of TTS."""
        cut, audible = set(self.cut), set(self.audible) & set(self.remembered)
        before = set(cancelled) - cut
        if self.named is not None:
            left = {self.named} - before - cut
            demand(not left & {*waiting, *to_speak}, "goes on, and was not cut by its name:", left, self)
            demand(not left & audible, "is heard, and was not cut by its name:", left, self)
            demand(not self.believed or not left, "not played to its end, and was not cut by its name:", left, self)
            demand(self.believed or not cut & set(self.over), "cut by its name, though it was over:", self)
            return
        if self.opens:
            waiting = waiting[:-1]  # the last mail is its own
        # Behind a turn that was cut and is not wound up only somebody who speaks cuts the next one.
        open_turns = [turn for turn in waiting if turn not in before]
        answered = set(open_turns[:1]) if self.by_speech or open_turns[:1] == list(waiting[:1]) else set()
        demand(not to_speak, "sentences wait behind an interruption:", to_speak, self)
        demand(answered <= cut, "is answered, and was not cut:", answered, waiting, self)
        demand(not (set(waiting) - answered) & cut, "cut, though it waits:", answered, waiting, self)
        demand(audible <= cut, "is heard, and was not cut:", self)
        demand(not cut & set(self.over), "cut, though it was over:", self)
