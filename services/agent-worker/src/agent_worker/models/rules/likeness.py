"""How alike two words are: the same stem, a synonym, a relative, or what a recogniser may have made of it."""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from os.path import commonprefix
from typing import Final

from agent_worker.models.rules.words import stem

SYNONYM: Final = 0.8
RELATIVE: Final = 0.75  # of the same family: remind and reminder
MISHEARD: Final = 0.65
HINT: Final = 0.45  # "where" and a place

_SYNONYMS: Final = """
    create add make new insert register open
    create schedule set place
    add plus sum total
    subtract minus difference deduct
    multiply times product
    times time
    divide over quotient
    delete remove erase drop discard
    list show display enumerate
    get show fetch retrieve read check view tell
    find search lookup query locate seek
    send deliver dispatch submit
    schedule book arrange plan
    book reserve reservation booking
    meeting appointment event
    update change edit modify adjust alter
    set put change adjust
    begin start launch run
    stop end halt finish terminate
    close resolve finish complete
    bug issue ticket defect problem
    buy purchase order
    price cost charge worth
    weather forecast
    temperature hot cold warm heat degree
    light lamp
    lamp bulb
    tv television
    telephone phone
    call phone ring dial
    photo picture image
    movie film
    song track music tune
    task todo chore
    note memo
    remind reminder remember
    customer client
    employee staff worker
    folder directory
    document file
    message text
    mail email
    pause hold suspend
    resume continue
    cancel abort revoke
    ship shipment shipping deliver delivery parcel package
    basket cart
    comment reply
    assign give
    increase raise
    decrease lower reduce
    describe explain detail
    percent percentage
    power exponent
    holiday vacation
    clock time
    blind shutter curtain
    volume loud
    calculate compute
    people person member
    date day
    rename retitle
    member belong
    story tale
    fact trivia
    say speak utter
    big large
    weigh weight
    tall height high
    translate translation
    postpone reschedule move
    owner assignee responsible
    hour opening
"""
_HINTS: Final = """
    where: place location address city find room
    when: time date day schedule hour start
    who: person member people user owner assignee contact
    much: price cost total amount balance
    many: count number total quantity amount
    long: duration minute length
    far: distance
    old: age birthday
"""
_OPPOSITES: Final = """
    on off; open close; lock unlock; start stop; play pause; play stop; enable disable; activate deactivate; add remove;
    add delete; create delete; create remove; increase decrease; raise lower; up down; mute unmute; arm disarm;
    show hide; in out; buy sell; subscribe unsubscribe; install uninstall; follow unfollow; connect disconnect;
    assign unassign; archive restore; pin unpin; block unblock; first last; load unload; open lock; income expense;
    begin end; push pull; encrypt decrypt; add subtract; multiply divide; like dislike; login logout; accept decline;
    approve reject; checkin checkout; send receive; minimum maximum; before after; win lose; publish unpublish
"""

_SUFFIXES: Final = frozenset(
    [
        "",
        *"abl al ali ally anc ant er ation cation enc ent er ibl ic ion ist iv li ment nes or s sion t tion ur".split(),
    ]
)
_VOWELS: Final = re.compile(r"(?<=.)[aeiouy]+")
_SOUNDS: Final = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^(kn|gn|pn)", "n"), (r"^wr", "r"), (r"^wh", "w"), (r"^ps", "s"), (r"^x", "s"), (r"ph", "f"),
        (r"(?<=[aeiou])gh(?=[aeiou])", "g"), (r"gh", ""), (r"mb$", "m"), (r"t?ch", "C"), (r"sh", "S"),
        (r"[sc]+(?=i[oa])", "S"), (r"ti(?=[oa])", "S"), (r"th", "t"), (r"c(?=[eiy])", "s"), (r"d?g(?=[eiy])", "j"),
        (r"[ckq]+", "k"), (r"x", "ks"), (r"z", "s"), (r"v", "f"), (r"h(?=[^aeiou]|$)", ""), (r"(.)\1+", r"\1"),
    )
]  # fmt: skip


def _groups(text: str) -> dict[str, frozenset[str]]:
    related: dict[str, set[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        stems = [stem(word) for word in line.split()]
        for word in stems:
            related.setdefault(word, set()).update(stems)
    return {word: frozenset(others - {word}) for word, others in related.items()}


SYNONYMS: Final = _groups(_SYNONYMS)
HINTS: Final = {
    word.strip(): frozenset(map(stem, targets.split()))
    for word, targets in (line.split(":") for line in _HINTS.strip().splitlines())
}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.replace("\n", " ").strip().split(";"):
        left, right = map(stem, pair.split())
        yield left, right
        yield right, left


OPPOSITES: Final = frozenset(_pairs(_OPPOSITES))


def opposite(left: str, right: str) -> bool:
    """Whether two stems mean the opposite: those that are listed, and words that differ by un-, de- or dis-."""
    short, long = sorted((left, right), key=len)
    return (left, right) in OPPOSITES or (
        len(short) > 2 and long.endswith(short) and long[: -len(short)] in {"un", "de", "dis", "in"}
    )


@lru_cache(maxsize=65_536)
def likeness(said: str, meant: str) -> float:
    """How likely a word with the stem `said` stands for one with the stem `meant`: 0 to 1."""
    if said == meant:
        return 1.0
    if opposite(said, meant):
        return 0.0
    if meant in SYNONYMS.get(said, ()):
        return SYNONYM
    if related(said, meant):
        return RELATIVE
    if meant in HINTS.get(said, ()):
        return HINT
    return MISHEARD if misheard(said, meant) else 0.0


def related(left: str, right: str) -> bool:
    """Whether both are derived from one word: reserve, reservation."""
    if not (left.isalpha() and right.isalpha()):
        return False
    shared = len(commonprefix((left, right)))
    return shared >= max(4, 0.5 * max(len(left), len(right))) and {left[shared:], right[shared:]} <= _SUFFIXES


def misheard(said: str, meant: str) -> bool:
    """Whether one may be a misspelt or misrecognised form of the other."""
    if min(len(said), len(meant)) < 3 or not (said.isalpha() and meant.isalpha()):
        return False
    longer = max(len(said), len(meant))
    if abs(len(said) - len(meant)) <= 2 and longer >= 5 and said[0] == meant[0]:
        allowed = 1 if longer < 8 else 2
        if _edits(said, meant, allowed) <= allowed:
            return True
    return longer >= 4 and len(sound(said)) >= 3 and sound(said) == sound(meant)


@lru_cache(maxsize=16_384)
def sound(word: str) -> str:
    """A key that words share which sound alike: whether and weather, redis and radius."""
    key = word
    for pattern, replacement in _SOUNDS:
        key = pattern.sub(replacement, key)
    return _VOWELS.sub("", key)


def phrase_likeness(said: Iterable[str], meant: Iterable[str]) -> float:
    """The likeness of two sequences of stems, word by word; 0 if one word has nothing to do with its counterpart."""
    total, count = 0.0, 0
    for left, right in zip(said, meant, strict=True):
        alike = likeness(left, right)
        if alike < MISHEARD:
            return 0.0
        total, count = total + alike, count + 1
    return total / count if count else 0.0


def _edits(left: str, right: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words; `most` + 1 for more than `most`."""
    last: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, last, row = last, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and b == left[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]
