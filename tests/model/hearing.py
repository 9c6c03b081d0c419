"""What is heard of a session's speech: the part of the pure model that concerns it.

A client plays what it is given as it comes, one turn after the other, and waits where it has nothing left to play. What
clients say that they have played counts instead.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product, takewhile

LONG_WORD = 24  # bytes: such a word is cut by characters
MS_PER_BYTE = 60  # of the text of a sentence that is not all out
REPORTED_MS = 5_000  # so long after its last report a client is thought to play on
REMEMBERED = 8  # of the last turns with speech, whatever became of them
ROUNDING = (Fraction(0), Fraction(1, 10**9))  # floating point may fall so much short of a proportion


@dataclass(slots=True)
class Spoken:
    """A sentence, as far as it is out."""

    response_id: str
    segment: int
    text: str
    at_ms: int  # when its first chunk came
    ms: int = 0
    whole: bool = False  # its last chunk is out
    said: bool = False  # it was heard to its end before its response was taken back

    def beginnings(self, heard_ms: int) -> set[str]:
        """What was heard of its text."""
        if self.said:
            return {self.text} if heard_ms >= 0 else {""}
        all_ms = self.ms if self.whole else max(self.ms, MS_PER_BYTE * len(self.text.encode()))
        share = Fraction(min(max(0, heard_ms), self.ms), all_ms)
        if share == 1:
            return {self.text}
        return {_beginning(self.text, max(Fraction(0), share - less)) for less in ROUNDING}


@dataclass(slots=True)
class Speech:
    """A turn's speech that is out; of responses that were taken back, only sentences that were heard to their end."""

    turn: int
    sentences: list[Spoken] = field(default_factory=list)
    clock_ms: int = 0  # heard by the clock
    reported_ms: int | None = None  # heard as a client says
    reported_at_ms: int = 0
    begun: bool = False  # something was heard of what was taken back

    @property
    def ms(self) -> int:
        """How long it is."""
        return sum(sentence.ms for sentence in self.sentences if not sentence.said)

    @property
    def heard_ms(self) -> int:
        """How far it was heard."""
        return self.clock_ms if self.reported_ms is None else self.reported_ms

    def texts(self, heard_ms: int) -> set[str]:
        """What was heard, if it was heard so far."""
        parts = []
        for sentence in self.sentences:
            parts.append(sorted(sentence.beginnings(heard_ms)))
            heard_ms -= 0 if sentence.said else sentence.ms
        return {" ".join(part for part in chosen if part) for chosen in product(*parts)}


@dataclass
class Hearing:
    """The speech of the turns that were not cut, in their order."""

    speeches: list[Speech] = field(default_factory=list)
    now_ms: int = 0

    def remembered(self) -> Iterator[int]:
        """The turns whose speech must be: the last ones, and those that play by the clock."""
        newest = len(self.speeches) - REMEMBERED
        for number, speech in enumerate(self.speeches):
            if number >= newest or (speech.reported_ms is None and speech.clock_ms < speech.ms):
                yield speech.turn

    def pass_time(self, now_ms: int) -> None:
        """Plays on."""
        left = now_ms - self.now_ms
        self.now_ms = now_ms
        for speech in self.speeches:
            step = min(left, speech.ms - speech.clock_ms)
            speech.clock_ms += step
            left -= step

    def of(self, turn: int) -> Speech | None:
        """The turn's."""
        return next((speech for speech in self.speeches if speech.turn == turn), None)

    def chunk(self, turn: int, sentence: Spoken, ms: int, *, is_last: bool) -> None:
        """A chunk is out, perhaps the first of this sentence."""
        speech = self.of(turn)
        if speech is None:
            self.speeches.append(speech := Speech(turn))
        newest = speech.sentences[-1] if speech.sentences else None
        if newest and (newest.response_id, newest.segment) == (sentence.response_id, sentence.segment):
            sentence = newest
        else:
            speech.sentences.append(sentence)
        sentence.ms += ms
        sentence.whole = is_last

    def reported(self, turn: int, segment: int, ms: int) -> None:
        """A client says how much it has played of a sentence: no more than there is, nor of what was taken back."""
        if (speech := self.of(turn)) is None:
            return
        sentences = [sentence for sentence in speech.sentences if not sentence.said]
        for sentence in sentences:
            if sentence.segment == segment:
                most = self.now_ms - sentence.at_ms if speech.begun else sentence.ms
                heard = min(ms, sentence.ms, most)
                heard += sum(before.ms for before in sentences if before.segment < segment)
                speech.reported_ms = max(heard, speech.reported_ms or 0)
                speech.reported_at_ms = self.now_ms

    def taken_back(self, turn: int, response_id: str) -> None:
        """A response is abandoned: of its speech those sentences stay said that were heard to their end."""
        if (speech := self.of(turn)) is None:
            return
        speech.begun = self.was_heard(turn)
        left = speech.heard_ms
        kept = []
        for sentence in speech.sentences:
            if not sentence.said:
                left -= sentence.ms
                if sentence.response_id == response_id:
                    sentence.said = sentence.whole and left >= 0
            if sentence.said or sentence.response_id != response_id:
                kept.append(sentence)
        speech.sentences = kept
        speech.clock_ms = min(speech.clock_ms, speech.ms)
        if speech.reported_ms is not None:
            speech.reported_ms = min(speech.reported_ms, speech.ms)

    def cut(self, turn: int) -> None:
        """Nobody hears more of it, and what was to be heard behind it begins."""
        self.speeches = [speech for speech in self.speeches if speech.turn != turn]

    def was_heard(self, turn: int) -> bool:
        """Whether anything of it was."""
        if (speech := self.of(turn)) is None:
            return False
        before = takewhile(lambda other: other is not speech, self.speeches)
        begins = speech.ms > 0 and all(other.clock_ms == other.ms for other in before)
        return speech.begun or bool(speech.reported_ms) or begins

    def all_out(self, turn: int, segments: Collection[int]) -> bool:
        """Whether these sentences of it were spoken to their end, by the response that stands."""
        sentences = speech.sentences if (speech := self.of(turn)) else []
        return {sentence.segment for sentence in sentences if sentence.whole and not sentence.said}.issuperset(segments)

    def audible(self) -> Iterator[int]:
        """The turns of which something is left to be heard."""
        for speech in self.speeches:
            if speech.reported_ms is None:
                plays = speech.clock_ms < speech.ms
            else:
                plays_on = self.now_ms - speech.reported_at_ms < REPORTED_MS
                plays = speech.reported_ms < speech.ms and (speech.clock_ms < speech.ms or plays_on)
            if plays:
                yield speech.turn

    def said(self, turn: int) -> dict[int, str]:
        """Sentences by segment that are not to be said again."""
        speech = self.of(turn)
        return {sentence.segment: sentence.text for sentence in speech.sentences if sentence.said} if speech else {}


def sentence_of(response_id: str, turn: int, segment: int) -> str:
    """What a response says. Most attempts say the same."""
    lease = int(response_id.partition(".")[0])
    other = "Or " if lease % 3 == 2 and segment % 2 else ""
    more = " Überfallkommandowagenführerschein" if (turn + segment) % 3 else ""
    return f"{other}{segment} of {turn}{more}."


def _beginning(text: str, share: Fraction) -> str:
    """Whole words in proportion, and a part of the next one if it is long."""
    words = text.split()
    count, part = divmod(len(words) * share, 1)
    kept = words[:count]
    if len(words[count].encode()) > LONG_WORD:
        kept.append(words[count][: int(len(words[count]) * part)])
    return " ".join(word for word in kept if word)
