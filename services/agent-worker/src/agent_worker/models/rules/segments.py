"""A sentence cut where a small word or a parameter's name announces a value."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from agent_worker.models.rules.cues import FREE, STRONG, TARGETS, affinity
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.scope import NAMES, Scope, Segment
from agent_worker.models.rules.tables import word_set

_BREAKS: Final = 0.6  # how much a preposition must point to another parameter to end a text of any words
_CHANGES: Final = word_set("set change update rename make edit modify switch with use")
_LINKS: Final = word_set("is are be being equals equal set as should will named called says")
_WANTS: Final = word_set("want like love need have going wish try")
_RESTARTS: Final = word_set("what what's whats who's where's how's when's")  # another sentence begins
_NO_VALUE: Final = frozenset(TARGETS) | {"and", "or", "please"}
_ARTICLES: Final = (["the"], ["a"], ["an"], ["its"])


def segments_of(scope: Scope) -> Iterator[Segment]:
    """All segments in order; they also end at words that are taken, and at the words that named the tool."""
    cutter = _Cutter(scope)
    at, current = 0, Segment("", 0, 0, 0)
    while at < len(scope.sentence):
        if current.start < at and (named := cutter.named_behind(at)):
            parameter, after = named
            yield replace(current, end=at, named=parameter, weight=1.0)
            at, current = after, Segment("", after, after, after)
        elif opened := cutter.opened(at, current):
            yield replace(current, end=at)
            at, current = opened.end, opened
        elif at in scope.taken or (at in scope.triggers and not current.cue and not current.named):
            yield replace(current, end=at)
            at += 1
            current = Segment("", at, at, at)
        else:
            at += 1
    yield replace(current, end=at)


class _Cutter:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._norms = scope.sentence.norms
        self._words = scope.sentence.words

    def opened(self, at: int, current: Segment) -> Segment | None:
        """The segment that is announced at a word, with its `end` at the first word of the value."""
        if self._words[at].quote:
            return self._quotation(at, current)
        if current.quoted:
            return self._after_quotation(at)
        named = self._named(at)
        if named and named.named is not current.named:
            return named
        if self._restarts(at, current):
            return Segment("", at, at, at + 1)
        return Segment(self._norms[at], at, at + 1, at + 1) if self._is_cue(at, current) else None

    def named_behind(self, at: int) -> tuple[Parameter, int] | None:
        """The parameter of a value that ends here, and where it goes on: "blue as the colour"."""
        if self._norms[at] != "as":
            return None
        start = at + 1 + (self._norms[at + 1 : at + 2] in _ARTICLES)
        for parameter in self._scope.parameters:
            for mention in self._scope.named[parameter]:
                begins = mention.start == start and mention.weight >= NAMES
                if begins and not self._begins_value(mention.end, linked=False):
                    return parameter, mention.end
        return None

    def _quotation(self, at: int, current: Segment) -> Segment | None:
        if at and self._words[at - 1].quote == self._words[at].quote:
            return None
        announced = current if current.start == at else Segment("", at, at, at)
        return replace(announced, start=at, end=at + 1, quoted=True)

    def _after_quotation(self, at: int) -> Segment:
        norm = self._norms[at]
        return Segment(norm, at, at + 1, at + 1) if norm in TARGETS else Segment("", at, at, at + 1)

    def _named(self, at: int) -> Segment | None:
        """The segment behind a parameter's name that begins at this word."""
        for parameter in self._scope.parameters:
            for mention in self._scope.named[parameter]:
                if mention.start != at or mention.weight < NAMES:
                    continue
                start = mention.end
                while start < len(self._norms) and self._links(start, mention.start, mention.end):
                    start += 1
                if self._begins_value(start, linked=start > mention.end):
                    return Segment("", at, start, start + 1, parameter, mention.weight)
        return None

    def _links(self, at: int, begin: int, end: int) -> bool:
        """Whether a word only joins a name and its value: "title is", "set the title to"."""
        before: Sequence[str] = [*self._norms[:begin], *self._norms[end:at]]
        match self._norms[at]:
            case "to":
                return before[-1:] in (["set"], ["equal"], ["changed"]) or bool(_CHANGES & set(before))
            case "of":
                article = before[-1:] in (["a"], ["an"]) and before[-2:-1] != ["as"]
                return article or bool(_CHANGES & set(before[-4:]))
            case norm:
                return norm in _LINKS

    def _begins_value(self, at: int, *, linked: bool) -> bool:
        if at >= len(self._norms) or at in self._scope.taken:
            return False
        if self._words[at].quote or linked:
            return True
        own = at in self._scope.triggers or self._scope.named_by(at) is not None
        return self._norms[at] not in _NO_VALUE and not own

    def _restarts(self, at: int, current: Segment) -> bool:
        """Whether another sentence begins in the middle of a value."""
        if at <= current.start:
            return False
        announced = current.cue and current.cue not in FREE
        return self._words[at].gap == "." or bool(announced and self._norms[at] in _RESTARTS)

    def _is_cue(self, at: int, current: Segment) -> bool:
        """Whether a preposition announces a value here."""
        norm, triggers = self._norms[at], self._scope.triggers
        if norm not in TARGETS or at in self._scope.taken or at in triggers or at + 1 >= len(self._norms):
            return False
        if norm == "that" and at - 1 not in triggers:
            return False
        if norm == "to" and (at + 1 in triggers or self._norms[max(0, at - 1)] in _WANTS):
            return False
        return not (current.cue in FREE or current.named) or self._breaks(at, current)

    def _breaks(self, at: int, current: Segment) -> bool:
        """Whether it ends a text of any words, because another parameter waits for it."""
        norm = self._norms[at]
        others = (one for one in self._scope.parameters if one is not current.named)
        return norm in STRONG or at + 1 in self._scope.taken or any(affinity(norm, one) >= _BREAKS for one in others)
