"""Texts of any words in a sentence: cut where a small word announces a value, then given to the parameters they suit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_worker.models.rules.cues import FREE, STRONG, TARGETS, Mention, affinity
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.words import STOP_WORDS, parts_of

_DETERMINERS: Final = frozenset({"the", "a", "an", "my", "our", "your", "this", "his", "her", "their"})
_POLITE: Final = frozenset(
    {"please", "thanks", "now", "too", "then", "also", "again", "and", "thank", "you", "me", "kindly"}
)
_CHANGES: Final = frozenset({"set", "change", "update", "rename", "make", "edit", "modify", "switch", "with", "use"})
_LINKS: Final = frozenset(
    {"is", "are", "be", "being", "equals", "equal", "as", "should", "will", "named", "called", "says"}
)
_FREE_NAMES: Final = frozenset(
    "text message body content note description task title query reminder subject comment reason summary caption name "
    "label prompt question sentence phrase details item".split()
)
_OBJECT_NAMES: Final = _FREE_NAMES | frozenset("word term song movie book keyword search topic".split())
_VERBATIM_NAMES: Final = frozenset(
    "text message body content phrase sentence question prompt comment note words".split()
)
_SURE: Final = 0.6  # an optional parameter takes nothing that scores less


@dataclass(frozen=True)
class Segment:
    """The words `start` to `end` (exclusive) of a possible value, and what announced them."""

    cue: str  # a word such as "in" or "called"; empty: none
    begin: int  # where the announcement starts
    start: int
    end: int
    named: Parameter | None = None  # whose name announced it
    weight: float = 0.0
    quoted: bool = False
    verbatim: tuple[int, int] | None = (
        None  # with its small words, where it is the object of the verb: "translate where is…"
    )
    head: Parameter | None = None  # whose name it ended with: "the smith family"


@dataclass(frozen=True)
class Texts:
    """What is needed to find the texts in a sentence."""

    sentence: Sentence
    parameters: Sequence[Parameter]  # that take a text and have none yet, in the tool's order
    named: Mapping[Parameter, Sequence[Mention]]
    triggers: Collection[int]  # words that named the tool
    taken: Collection[int]  # words that other values were read from
    known: Collection[str]  # stems that the tool uses itself
    leading: bool  # the sentence begins with the words that named the tool

    def assign(self) -> list[tuple[Parameter, Segment, bool]]:
        """The text for each parameter that gets one, and whether anything but its place in the sentence says so."""
        segments = [segment for segment in map(self._cleaned, self._segments()) if segment.start < segment.end]
        chosen: dict[Parameter, Segment] = {}
        ranked = sorted(
            ((self._score(parameter, segment), -index, parameter, segment)
             for index, parameter in enumerate(self.parameters) for segment in segments),
            key=lambda entry: entry[:2], reverse=True,
        )  # fmt: skip
        for score, _, parameter, segment in ranked:
            if (
                parameter not in chosen
                and segment not in chosen.values()
                and score >= (0.3 if parameter.required else _SURE)
            ):
                chosen[parameter] = segment
        rest = [segment for segment in segments if segment not in chosen.values() and self._says_something(segment)]
        for parameter in self.parameters:
            if parameter.required and parameter not in chosen and rest and not rest[0].named:
                chosen[parameter] = rest.pop(0)
        return [
            (
                parameter,
                self._extended(parameter, segment, segments, chosen.values()),
                self._score(parameter, segment) >= _SURE + 0.1 * parameter.required,
            )
            for parameter, segment in chosen.items()
        ]

    def _segments(self) -> Iterator[Segment]:
        """The sentence cut at announcements, at words that are taken, and at the words that named the tool."""
        at, current = 0, Segment("", 0, 0, 0)
        while at < len(self.sentence):
            opened = self._opened(at, current)
            if opened is not None:
                yield replace(current, end=at)
                at, current = opened.end, opened
            elif at in self.taken or (at in self.triggers and not current.cue and not current.named):
                yield replace(current, end=at)
                at += 1
                current = Segment("", at, at, at)
            else:
                at += 1
        yield replace(current, end=at)

    def _opened(self, at: int, current: Segment) -> Segment | None:
        """The segment that is announced at a word, with its `end` at the first word of the value."""
        words, norm = self.sentence.words, self.sentence.norms[at]
        if words[at].quote:
            if at and words[at - 1].quote == words[at].quote:
                return None
            return Segment(current.cue, current.begin, at, at + 1, current.named, current.weight, quoted=True)
        if current.quoted:
            return (
                Segment("", at, at, at + (norm not in TARGETS))
                if norm not in TARGETS
                else Segment(norm, at, at + 1, at + 1)
            )
        if (named := self._naming(at)) and named.named is not current.named:
            return named
        if words[at].gap == "." and at > current.start:
            return Segment("", at, at, at + 1)
        if norm not in TARGETS or at in self.taken or at in self.triggers or at + 1 >= len(words):
            return None
        if norm == "that" and at - 1 not in self.triggers:
            return None
        if current.cue in FREE or current.named:
            breaks = any(affinity(norm, one) >= _SURE for one in self.parameters if one is not current.named)
            if not breaks and norm not in STRONG and at + 1 not in self.taken:
                return None
        return Segment(norm, at, at + 1, at + 1)

    def _naming(self, at: int) -> Segment | None:
        """A parameter's name at this word, if its value follows."""
        norms = self.sentence.norms
        for parameter in self.parameters:
            for mention in self.named[parameter]:
                if mention.start != at or mention.weight < 0.5:
                    continue
                start = mention.end
                before = set(norms[max(0, at - 5) : at])
                while start < len(norms) and self._links(norms[start], before):
                    start += 1
                if start < len(norms) and start not in self.taken and self._begins_value(start, start > mention.end):
                    return Segment("", at, start, start + 1, parameter, mention.weight)
        return None

    def _links(self, norm: str, before: set[str]) -> bool:
        """Whether a word only joins a name and its value: "title is", "set the title to"."""
        return norm in _LINKS or (norm in {"to", "of"} and bool(before & _CHANGES))

    def _begins_value(self, at: int, linked: bool) -> bool:
        norm = self.sentence.norms[at]
        if self.sentence.words[at].quote or linked:
            return True
        names = any(mention.start <= at < mention.end for found in self.named.values() for mention in found)
        return norm not in TARGETS and norm not in {"and", "or", "please"} and at not in self.triggers and not names

    def _cleaned(self, segment: Segment) -> Segment:
        """Without the small words at its edges, and without the noun that only repeats what it is: "the shopping list"."""
        if segment.quoted:
            return segment
        norms, start, end = self.sentence.norms, segment.start, segment.end
        verbatim = (
            (start, end)
            if not segment.cue and not segment.named and self.leading and start - 1 in self.triggers
            else None
        )
        free = segment.cue in FREE
        while end > start and (norms[end - 1] in _POLITE or (not free and norms[end - 1] in STOP_WORDS)):
            end -= 1
        determined = start < end and norms[start] in _DETERMINERS - {"a", "an"}
        drop = frozenset() if free and segment.cue != "about" else _DETERMINERS if segment.named or free else STOP_WORDS
        while start < end and norms[start] in drop:
            start += 1
        head = self._named_by(end - 1) if start < end and not free and not segment.named else None
        if determined or not segment.cue:
            while (
                end - 1 > start
                and not free
                and not segment.named
                and (end - 1 in self.triggers or self._named_by(end - 1))
            ):
                end -= 1
        return replace(segment, start=start, end=end, verbatim=verbatim, head=head or self._named_by(end))

    def _named_by(self, at: int) -> Parameter | None:
        """The parameter that a word names."""
        found = [
            (mention.weight, parameter)
            for parameter, named in self.named.items()
            for mention in named
            if mention.start <= at < mention.end
        ]
        return max(found, key=lambda entry: entry[0])[1] if found else None

    def _score(self, parameter: Parameter, segment: Segment) -> float:
        score = 0.1 * parameter.required
        if segment.named:
            return score + 3 * segment.weight if segment.named is parameter else -1.0
        if not self._says_something(segment):
            return -1.0
        names = set(parts_of(parameter.name))
        if segment.cue:
            score += affinity(segment.cue, parameter)
        elif names & _OBJECT_NAMES:
            score += 0.55
        else:
            score += 0.45 if parameter.required else 0.0
        first = self.sentence.words[segment.start]
        score += 0.5 * (segment.head is parameter) if segment.head else 0
        return score + 0.5 * segment.quoted + 0.1 * (segment.start > 0 and first.text[:1].isupper())

    def _says_something(self, segment: Segment) -> bool:
        """Whether it holds a word that is neither a day, a number nor one of the tool's own."""
        if segment.quoted or segment.named or segment.cue in STRONG:
            return True
        spans = [*self.sentence.moments, *self.sentence.durations, *self.sentence.numbers]
        values = {at for span in spans for at in range(span.start, span.end)}
        at_all = set(range(segment.start, segment.end)) - values
        return any(
            self.sentence.norms[at] not in STOP_WORDS and (segment.cue or self.sentence.stems[at] not in self.known)
            for at in at_all
        )

    def _extended(
        self, parameter: Parameter, segment: Segment, segments: Sequence[Segment], chosen: Collection[Segment]
    ) -> Segment:
        """With the parts that no parameter wanted: "lord" and "of the rings"."""
        names = set(parts_of(parameter.name))
        free = bool(names & _FREE_NAMES)
        if segment.verbatim and names & _VERBATIM_NAMES:
            segment = replace(segment, start=segment.verbatim[0], end=segment.verbatim[1])
        for following in segments:
            if following.begin == segment.end and following not in chosen and following.cue and not segment.quoted:
                own = all(
                    self.sentence.stems[at] in self.known or self.sentence.norms[at] in STOP_WORDS
                    for at in range(following.start, following.end)
                )
                if (free or self._says_something(following)) and not own:
                    segment = replace(segment, end=following.end)
        return segment
