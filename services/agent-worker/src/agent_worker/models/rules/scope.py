"""What the search for texts in a sentence works on."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agent_worker.models.rules.cues import STRONG, Mention
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.words import STOP_WORDS

NAMES: Final = 0.5  # the weight from which on a mention is taken for the name of a parameter
_SAYS_NOTHING: Final = STOP_WORDS | word_set("use run call execute perform invoke tool")


@dataclass(frozen=True)
class Segment:
    """The words `start` to `end` (exclusive) of a possible value, and what announced them."""

    cue: str  # a word such as "in" or "called"; empty: none
    begin: int  # where the announcement starts
    start: int
    end: int
    named: Parameter | None = None  # whose name announced it
    weight: float = 0.0  # of that mention
    quoted: bool = False
    verbatim: tuple[int, int] | None = None  # the object of the verb with its small words: translate "where is it"
    whole: int = 0  # its end with the day or time that was cut off
    head: Parameter | None = None  # whose name it ended with: "the smith family"


@dataclass(frozen=True)
class Scope:
    """A sentence, and what is known about its words."""

    sentence: Sentence
    parameters: Sequence[Parameter]  # that take a text and have none yet, in the tool's order
    named: Mapping[Parameter, Sequence[Mention]]
    triggers: Container[int]  # words that named the tool
    first_trigger: int  # -1 if there is none
    leading: bool  # the sentence begins with the words that named the tool
    taken: Container[int]  # words that other values were read from
    known: Container[str]  # stems that the tool uses itself

    def named_by(self, at: int) -> Parameter | None:
        """The parameter that a word names."""
        found = [
            (mention.weight, parameter)
            for parameter, mentions in self.named.items()
            for mention in mentions
            if mention.start <= at < mention.end and mention.weight >= NAMES
        ]
        return max(found, key=lambda entry: entry[0])[1] if found else None

    def says_something(self, segment: Segment) -> bool:
        """Whether it holds a word that is neither a day, a number nor, unless announced, one of the tool's own."""
        if segment.quoted or segment.named or segment.cue in STRONG:
            return True
        return any(
            self.sentence.norms[at] not in _SAYS_NOTHING and (segment.cue or not self._is_own_word(at))
            for at in range(segment.start, segment.end)
            if at not in self.sentence.values
        )

    def is_own(self, segment: Segment) -> bool:
        """Whether all its words are the tool's own: "in my calendar"."""
        return not segment.quoted and all(
            self.sentence.norms[at] in STOP_WORDS or self._is_own_word(at) for at in range(segment.start, segment.end)
        )

    def _is_own_word(self, at: int) -> bool:
        return self.sentence.stems[at] in self.known or self.named_by(at) is not None
