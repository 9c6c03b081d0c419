"""Values without the small words at their edges, and without the noun that only says what they are."""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from agent_worker.models.rules.cues import FREE
from agent_worker.models.rules.places import LEAD_IN
from agent_worker.models.rules.scope import Scope, Segment
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.verbs import VERBS
from agent_worker.models.rules.words import STOP_WORDS

_DETERMINERS: Final = word_set("the a an my our your this his her their")
_DEFINITE: Final = _DETERMINERS - {"a", "an"}
_OBJECTS: Final = _DETERMINERS | {"me", "us", "some"}  # begin the object of a verb
_POLITE: Final = word_set("please thanks now too then also again and thank you me kindly")
_ANNOUNCES: Final = word_set("set using having make use")  # at the end of what comes before a name


def trimmed(segment: Segment, scope: Scope) -> Segment:
    """The segment without what is not its value; what may be needed again is noted in it."""
    if segment.quoted:
        return segment
    free = segment.cue in FREE
    start, end = _without_verb(segment, scope), segment.end
    verbatim = (start, end) if _is_object(segment, scope) else None
    if not free and not segment.named:
        end = min([end, *(moment.start for moment in scope.sentence.moments if start < moment.start < end)])
    end = _end(scope, start, end, free=free)
    determined = scope.sentence.norms[start : start + 1] and scope.sentence.norms[start] in _DEFINITE
    start = _start(segment, scope, start, end)
    head = None
    if not free and not segment.named and start < end:
        while end - 1 > start and end - 1 in scope.triggers and scope.sentence.norms[end - 1] in VERBS:
            end -= 1
        head = scope.named_by(end - 1)
        if determined or not segment.cue:
            end = _without_head(scope, start, end)
    head = head or scope.named_by(end)
    return replace(segment, start=start, end=end, whole=segment.end, verbatim=verbatim, head=head)


def _without_verb(segment: Segment, scope: Scope) -> int:
    """The start, behind a verb that the tool doesn't know: in "sing me a song", "sing" is no value."""
    norms = scope.sentence.norms
    if segment.cue or scope.leading:
        return segment.start
    first = next((at for at, norm in enumerate(norms) if norm not in LEAD_IN), segment.end)
    verb = segment.start <= first < segment.end - 1 and norms[first + 1] in _OBJECTS
    return first + 1 if verb else segment.start


def _is_object(segment: Segment, scope: Scope) -> bool:
    """Whether it is what the verb that named the tool is done to."""
    return not segment.cue and not segment.named and scope.leading and segment.start - 1 in scope.triggers


def _end(scope: Scope, start: int, end: int, *, free: bool) -> int:
    drop: AbstractSet[str] = _POLITE if free else _POLITE | STOP_WORDS | _ANNOUNCES
    while end > start and scope.sentence.norms[end - 1] in drop:
        end -= 1
    return end


def _start(segment: Segment, scope: Scope, start: int, end: int) -> int:
    drop = {"and", "or", "tool"}
    if segment.cue not in FREE and not segment.named:
        drop |= STOP_WORDS
    elif segment.named or segment.cue == "about":
        drop |= _DETERMINERS
    while start < end and scope.sentence.norms[start] in drop:
        start += 1
    return start


def _without_head(scope: Scope, start: int, end: int) -> int:
    """Without the tool's own nouns at the end: "the shopping list" is shopping, if it is a list that is asked for."""
    while end - 1 > start and (end - 1 in scope.triggers or scope.named_by(end - 1)):
        end -= 1
    return end
