"""How alike two words are: the same stem, a synonym, a relative, or what a recogniser may have made of it."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from agent_worker.models.rules.synonyms import HINTS, OPPOSITES, SYNONYMS
from agent_worker.models.rules.tables import word_set

SYNONYM: Final = 0.8
RELATIVE: Final = 0.75  # of the same family: remind and reminder
MISHEARD: Final = 0.65
HINT: Final = 0.45  # "where" and a place
MOST_EDITS: Final = 2  # by which a misheard word that sounds otherwise differs

_SUFFIXES: Final = word_set(
    "abl al ali ally anc ant er ation cation enc ent ibl ic ion ist iv li ment nes or r s sion t tion ur"
) | {""}
_VOWELS: Final = re.compile(r"(?<=.)[aeiouy]+")
_SOUNDS: Final = [
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^(kn|gn|pn)", "n"),
        (r"^wr", "r"),
        (r"^wh", "w"),
        (r"^ps", "s"),
        (r"^x", "s"),
        (r"ph", "f"),
        (r"(?<=[aeiou])gh(?=[aeiou])", "g"),
        (r"gh", ""),
        (r"mb$", "m"),
        (r"t?ch", "C"),
        (r"sh", "S"),
        (r"[sc]+(?=i[oa])", "S"),
        (r"ti(?=[oa])", "S"),
        (r"th", "t"),
        (r"c(?=[eiy])", "s"),
        (r"d?g(?=[eiy])", "j"),
        (r"[ckq]+", "k"),
        (r"x", "ks"),
        (r"z", "s"),
        (r"h(?=[^aeiou]|$)", ""),
        (r"(.)\1+", r"\1"),
    )
]


@lru_cache(maxsize=65_536)
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
    shared = next(
        (at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right))
    )
    return shared >= max(4, 0.5 * max(len(left), len(right))) and {left[shared:], right[shared:]} <= _SUFFIXES


def misheard(said: str, meant: str) -> bool:
    """Whether one may be a misspelt or misrecognised form of the other."""
    if min(len(said), len(meant)) < 3 or not (said.isalpha() and meant.isalpha()):
        return False
    longer = max(len(said), len(meant))
    if abs(len(said) - len(meant)) <= MOST_EDITS and longer >= 5 and said[0] == meant[0]:
        allowed = 1 if longer < 8 else MOST_EDITS
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
    """Insertions, deletions, substitutions and swaps of neighbours between two words; `most` + 1 if there are more."""
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
