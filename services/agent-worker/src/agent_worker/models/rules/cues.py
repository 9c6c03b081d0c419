"""Small words that announce a value: which parameter "from", "called" or "quantity" points to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agent_worker.models.rules.likeness import MISHEARD, RELATIVE, misheard, related
from agent_worker.models.rules.schema import Parameter, stems_of
from agent_worker.models.rules.tables import rows, word_set
from agent_worker.models.rules.words import STOP_WORDS, parts_of, stem, words_of

TARGETS: Final = {
    cue: frozenset(map(stem, targets))
    for cue, targets in rows(
        """
        from: origin source start begin departure sender since base minuend
        to: destination target recipient receiver end until arrival assignee receiver limit channel
        into: destination target folder language unit currency
        onto: destination target list
        in: city location place country room area region zone language currency unit timezone folder channel category
        project district state database
        inside: room location place
        at: time place location venue address hour restaurant store shop hotel rate price position
        on: date day topic subject platform device weekday account street
        for: query text duration person reason user customer purpose term keyword city location period client patient
        owner recipient account
        with: attendee participant guest person member contact divisor ingredient
        about: topic subject query theme matter text term keyword
        regarding: topic subject query theme matter
        concerning: topic subject query theme matter
        of: name subject owner object item
        by: author artist creator deadline due amount factor divisor exponent writer
        near: location place city address area
        around: location place city address area
        as: role type status kind format category title relation relationship position
        called: name title label
        named: name title label
        titled: name title label
        entitled: name title label
        labeled: label name title
        saying: text message body content note comment caption
        says: text message body content note comment caption
        stating: text message body content note comment
        reading: text message body content note comment
        that: text message body content note comment task
        because: reason cause comment note
        since: start begin since reason
        until: end until due deadline
        till: end until due deadline
        through: end method
        under: category folder parent project maximum max highest limit name
        below: maximum max highest limit ceiling
        above: minimum min lowest threshold floor
        over: minimum min lowest threshold
        via: method channel carrier medium
        using: method tool model format
        after: start since minimum
        before: end deadline due until
        per: interval period
        than: limit threshold
        """
    ).items()
}
STRONG: Final = word_set("called named titled entitled labeled saying says stating reading")
FREE: Final = STRONG | word_set("that because about regarding concerning")  # a text of any words may follow
FILLERS: Final = word_set("is are be being of to at as equals equal equaling set should must the a an it with")
_GENERIC: Final = frozenset(
    map(stem, word_set("id name number value text string code type key num count new target input the a is of no to"))
)

_PART: Final = 0.7  # the weight of one word of a longer name


@dataclass(frozen=True, slots=True)
class Mention:
    """Where the words `start` to `end` (exclusive) name a parameter."""

    start: int
    end: int
    weight: float  # 1: its whole name


@lru_cache(maxsize=8_192)
def affinity(cue: str, parameter: Parameter) -> float:
    """How much a preposition or a word such as "called" points to a parameter: 0 to 1."""
    targets = TARGETS.get(cue, frozenset())
    parts = parts_of(parameter.name)
    if cue in parts:
        return 1.0
    if cue in {"in", "into", "as"} and {"to", "target"} & set(parts):  # fifty euros in dollars
        return 0.95
    if targets & set(parameter.name_stems):
        return 0.85
    described = f"{parameter.title} {parameter.description}"
    norms = [word.norm for word in words_of(described)]
    if norms[-1:] == [cue] or targets & set(stems_of(described)[:3]):
        return 0.6
    return 0.45 if targets & set(stems_of(described)) or (cue != "of" and cue in norms) else 0.0


def mentions(
    stems: Sequence[str], parameter: Parameter, rivals: Sequence[Parameter], triggers: frozenset[int] = frozenset()
) -> list[Mention]:
    """Where a sentence names a parameter, wholly or by a part that no other parameter has, the best first.

    A part that is among the `triggers`, the words that named the tool, was said for the tool alone.
    """
    found: dict[tuple[int, int], Mention] = {}
    for phrase, weight in _phrases(parameter, tuple(rivals)):
        for start in range(len(stems) - len(phrase) + 1):
            end = start + len(phrase)
            if weight <= _PART and triggers.issuperset(range(start, end)):
                continue
            alike = _same(stems[start:end], phrase)
            if alike and weight * alike > found.get((start, end), Mention(0, 0, 0.0)).weight:
                found[start, end] = Mention(start, end, weight * alike)
    best = max((mention.weight for mention in found.values()), default=0.0)
    near = [mention for mention in found.values() if mention.weight >= 0.85 * best]  # not a part, if the whole is said
    return sorted(near, key=lambda mention: (-mention.weight, mention.start))


def _same(said: Sequence[str], name: Sequence[str]) -> float:
    """Whether these are the words of a name, perhaps misheard; a synonym does not name a parameter."""
    worst = 1.0
    for left, right in zip(said, name, strict=True):
        if left != right:
            worst = min(worst, _form(left, right))
        if not worst:
            break
    return worst


@lru_cache(maxsize=65_536)
def _form(said: str, meant: str) -> float:
    return RELATIVE if related(said, meant) else MISHEARD if misheard(said, meant) else 0.0


@lru_cache(maxsize=8_192)
def _phrases(parameter: Parameter, rivals: tuple[Parameter, ...]) -> tuple[tuple[tuple[str, ...], float], ...]:
    return tuple(_namings(parameter, rivals))


def _namings(parameter: Parameter, rivals: tuple[Parameter, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    name = parameter.name_stems
    others = {one for rival in rivals if rival is not parameter for one in rival.name_stems}
    if name:
        yield name, 1.0
        if len(name) == 2:
            yield (stem("".join(parts_of(parameter.name))),), 0.9
    title = tuple(stem(word.norm) for word in words_of(parameter.title))
    if title and title != name and len(title) <= 4:
        yield title, 1.0
    core = tuple(one for one in name if one not in _GENERIC)
    if core and core != name and not set(core) <= others:
        yield core, 0.8
    for one in name if len(name) > 1 else ():
        if one not in others and one not in STOP_WORDS:
            yield (one,), 0.6 if one in _GENERIC else _PART
    if len("".join(name)) <= 2:
        for one in stems_of(parameter.description)[:4]:
            if one not in others and one not in _GENERIC:
                yield (one,), 0.5
