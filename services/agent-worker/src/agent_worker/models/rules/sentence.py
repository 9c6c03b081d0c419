"""One sentence with everything in it that has a value of its own: numbers, days, times, lengths of time."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from agent_worker.models.rules.durations import Duration, find_durations
from agent_worker.models.rules.moments import Moment, find_moments
from agent_worker.models.rules.numbers import Number, find_numbers
from agent_worker.models.rules.words import Word, quotations, words_of


@dataclass(frozen=True)
class Sentence:
    """What somebody said at a moment; indexes count words."""

    text: str
    now: datetime

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The words in order."""
        return words_of(self.text)

    @cached_property
    def norms(self) -> list[str]:
        """The words in lower case."""
        return [word.norm for word in self.words]

    @cached_property
    def stems(self) -> list[str]:
        """The words' stems."""
        return [word.stem for word in self.words]

    @cached_property
    def numbers(self) -> list[Number]:
        """All numbers, from left to right."""
        return find_numbers(self.norms)

    @cached_property
    def moments(self) -> list[Moment]:
        """All days and times, from left to right."""
        return find_moments(self.norms, self.now)

    @cached_property
    def durations(self) -> list[Duration]:
        """All lengths of time, from left to right."""
        return find_durations(self.norms)

    @cached_property
    def values(self) -> frozenset[int]:
        """The words that say numbers, days, times and lengths of time."""
        spans: list[Number | Moment | Duration] = [*self.numbers, *self.moments, *self.durations]
        return frozenset(at for span in spans for at in range(span.start, span.end))

    def quotation(self, at: int) -> str:
        """The whole text between the quotation marks around a word, with its punctuation."""
        start, end = quotations(self.text)[self.words[at].quote - 1]
        return self.text[start:end].strip()

    def quoted(self, start: int, end: int) -> bool:
        """Whether one of these words stands in quotation marks."""
        return any(word.quote for word in self.words[start:end])

    def said(self, start: int, end: int) -> str:
        """The text of these words as it stands in the sentence, with what is between them."""
        return self.text[self.words[start].start : self.words[end - 1].end] if start < end else ""
