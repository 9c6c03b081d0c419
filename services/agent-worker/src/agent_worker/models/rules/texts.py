"""Texts of any words in a sentence: each parameter gets the segment that suits it best."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_worker.models.rules.cues import affinity
from agent_worker.models.rules.schema import Parameter
from agent_worker.models.rules.scope import Scope, Segment
from agent_worker.models.rules.segments import segments_of
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.trimming import trimmed
from agent_worker.models.rules.words import parts_of

_SURE: Final = 0.6  # an optional parameter takes nothing that scores less
_POSSIBLE: Final = 0.3  # a required one
_FREE_NAMES: Final = word_set(
    """
    text message body content note description task title query reminder subject comment reason summary caption name
    label prompt question sentence phrase details item
    """
)
_OBJECT_NAMES: Final = _FREE_NAMES | word_set("word term song movie book keyword search topic")
_VERBATIM_NAMES: Final = word_set("text message body content phrase sentence question prompt comment note words")


@dataclass(frozen=True)
class Text:
    """The text that a parameter gets; `sure` if more than its place in the sentence says so."""

    parameter: Parameter
    segment: Segment
    sure: bool


def texts_in(scope: Scope) -> list[Text]:
    """The text for each parameter that gets one."""
    segments = [segment for raw in segments_of(scope) if (segment := trimmed(raw, scope)).start < segment.end]
    chosen = _best(scope, segments)
    left = [one for one in segments if one not in chosen.values() and scope.says_something(one)]
    for parameter in scope.parameters:
        if parameter.required and parameter not in chosen and left and not left[0].named:
            chosen[parameter] = left.pop(0)
    kept = list(chosen.values())
    return [
        Text(
            parameter,
            _extended(scope, parameter, segment, [one for one in segments if one not in kept]),
            _score(scope, parameter, segment) >= _SURE + 0.1 * parameter.required,
        )
        for parameter, segment in chosen.items()
    ]


def _best(scope: Scope, segments: Sequence[Segment]) -> dict[Parameter, Segment]:
    """The pairs that fit best, each parameter and each segment once."""
    pairs = [
        (score, parameter, segment)
        for parameter in scope.parameters
        for segment in segments
        if (score := _score(scope, parameter, segment)) >= (_POSSIBLE if parameter.required else _SURE)
    ]
    chosen: dict[Parameter, Segment] = {}
    for _, parameter, segment in sorted(pairs, key=lambda pair: -pair[0]):
        if parameter not in chosen and segment not in chosen.values():
            chosen[parameter] = segment
    return chosen


def _score(scope: Scope, parameter: Parameter, segment: Segment) -> float:
    """How well a segment suits a parameter; below 0 if it doesn't."""
    score = 0.1 * parameter.required
    if segment.named:
        return score + 3 * segment.weight if segment.named is parameter else -1.0
    if not scope.says_something(segment) or (not parameter.required and scope.is_own(segment)):
        return -1.0
    first = scope.sentence.words[segment.start]
    score += affinity(segment.cue, parameter) if segment.cue else _as_object(scope, parameter, segment)
    score += 0.5 * (segment.head is parameter)
    return score + 0.5 * segment.quoted + 0.1 * (segment.start > 0 and first.text[:1].isupper())


def _as_object(scope: Scope, parameter: Parameter, segment: Segment) -> float:
    """For a segment that nothing announces: what the verb is done to is mostly a title, a text, an item."""
    if set(parts_of(parameter.name)) & _OBJECT_NAMES:
        return 0.55
    if not parameter.required:
        return 0.0
    return 0.45 if segment.start > scope.first_trigger else 0.25


def _extended(scope: Scope, parameter: Parameter, segment: Segment, unused: Sequence[Segment]) -> Segment:
    """With the parts that no parameter wanted: "lord" and "of the rings"."""
    names = set(parts_of(parameter.name))
    free = bool(names & _FREE_NAMES)
    if free and segment.whole > segment.end:
        segment = replace(segment, end=segment.whole)
    if segment.verbatim and names & _VERBATIM_NAMES:
        segment = replace(segment, start=segment.verbatim[0], end=segment.verbatim[1])
    for following in unused:
        goes_on = following.begin == segment.end and following.cue and not segment.quoted
        if goes_on and (free or scope.says_something(following)) and not scope.is_own(following):
            segment = replace(segment, end=following.end)
    return segment
