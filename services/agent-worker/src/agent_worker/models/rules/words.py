"""A sentence as words, each with its place in the sentence; stems; the words inside identifiers."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agent_worker.models.rules.numerals import NUMERAL_WORDS
from agent_worker.models.rules.tables import rows, word_set

_TOKEN: Final = re.compile(r"\S+")
_OPENING: Final = "\N{LEFT SINGLE QUOTATION MARK}"
_APOSTROPHES: Final = "'\N{RIGHT SINGLE QUOTATION MARK}"
_COMMAS: Final = ",:"
_STOPS: Final = ";.!?"
_LEFT: Final = f"([{{<*_`{_COMMAS}{_STOPS}{_APOSTROPHES}{_OPENING}"
_RIGHT: Final = f")]}}>*_`\N{HORIZONTAL ELLIPSIS}{_COMMAS}{_STOPS}{_APOSTROPHES}"
_QUOTES: Final = {
    '"': '"',
    "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}",
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}": "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}",
}
_SINGLE_QUOTES: Final = re.compile(rf"(?<!\S)['{_OPENING}]([^{_APOSTROPHES}]+)[{_APOSTROPHES}](?=[\s.,;:!?]|$)")
_SIGNS: Final = {
    "+": "plus",
    "-": "minus",
    "*": "times",
    "\N{MULTIPLICATION SIGN}": "times",
    "\N{DIVISION SIGN}": "divided",
    "/": "divided",
    "^": "power",
    "%": "percent",
}
_FORMULA: Final = re.compile(
    r"[-+]?[\d.,]+%|[-+]?[\d.]+(?:[+*\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}^][-+]?[\d.]+)+%?"
)
_FORMULA_PART: Final = re.compile(r"(?<![\d%])[-+]?[\d.,]+|[+*\N{MULTIPLICATION SIGN}\N{DIVISION SIGN}^%]")
_CAMEL: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_VOWEL: Final = re.compile(r"[aeiouy]")
_DOUBLED: Final = re.compile(r"([bcdfgjklmnpqrtvwz])\1$")

_IRREGULAR: Final = {
    form: base
    for base, forms in rows(
        """
        begin: began; build: built; buy: bought; child: children; choose: chose chosen; do: did; draw: drew;
        drive: drove; eat: ate; feed: fed; find: found; get: got; give: gave given; go: went gone;
        have: had has; hear: heard; hold: held; keep: kept; know: knew known; leave: left; lose: lost;
        make: made; man: men; meet: met; mouse: mice; pay: paid; person: people persons; ride: rode;
        ring: rang; run: ran; say: said; sell: sold; send: sent; show: shown; sing: sang; sleep: slept;
        speak: spoke spoken; spend: spent; take: took taken; teach: taught; tell: told; think: thought;
        tooth: teeth; win: won; woman: women; write: wrote written;
        """
    ).items()
    for form in forms
}
_KEPT: Final = word_set("news series species times")  # what the endings would spoil

STOP_WORDS: Final = word_set(
    """
    a about actually after again all also am an and any anyone anything are as at be been before being both but by can
    can't cannot could did do does doing don't down each either else every everything for from get give go going gonna
    got had has have having he he's hello her here hers hey hi him his how i i'd i'll i'm i've if in into is it it's its
    just kindly know let let's lets like likes ma'am many may maybe me might much mine must my need needs no not now of
    off oh ok okay on one's onto or our ours out over please pretty really right shall she she's should so some
    something sure tell than thank thanks that that's the their theirs them then there there's these they they're thing
    things this those through to today's too uh um under until up upon us very wanna want wants was we we'd we'll we're
    were what what's whats when when's where where's whether which while who who's whose why will with would would've
    yeah yes you you'd you're your yours
    """
)
PARTICLES: Final = word_set("on off up down in out over back away")


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a sentence."""

    text: str  # as it stands there, without the punctuation around it
    norm: str  # lower case, with a straight apostrophe
    stem: str
    start: int  # offsets in the sentence
    end: int
    gap: str = ""  # what ended just before it: "," a clause, "." a sentence
    quote: int = 0  # which quotation it belongs to, counted from 1; 0: none


def words_of(sentence: str) -> tuple[Word, ...]:
    """The words of a sentence in order; hyphenated numbers ("twenty-three") are several words."""
    quotes = quotations(sentence)
    found: list[Word] = []
    gap = ""
    for token in _TOKEN.finditer(sentence):
        start, end, after = _trimmed(sentence, token.start(), token.end())
        if not any(map(str.isalnum, sentence[start:end])) and not _is_sign(sentence, found, start, end):
            gap = after or gap or ("," if start < end else "")
            continue
        quote = next((n for n, (opened, closed) in enumerate(quotes, 1) if opened <= start < closed), 0)
        for span in _cut(sentence, start, end):
            found.append(_word(sentence, *span, gap, quote))
            gap = ""
        gap = after
    return tuple(found)


def parts_of(identifier: str) -> tuple[str, ...]:
    """The lower-case words in a snake_case, camelCase or kebab-case identifier: `getUserByID` is get user by id."""
    return tuple(part.lower() for part in _CAMEL.findall(identifier.replace("'", "")))


def plain(sentence: str) -> str:
    """The normal forms of the words, joined by single spaces: for comparing whole sentences."""
    return " ".join(word.norm for word in words_of(sentence))


@lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """A lower-case word without its inflection: families → famili, family → famili, adding → ad, add → ad."""
    if not word.isascii() or not word.replace("'", "").isalpha():
        return word
    root = word.removesuffix("'s").replace("'", "")
    if root in _KEPT:
        return root
    root = _IRREGULAR.get(root, root)
    root = _without_ending(_singular(root))
    root = _DOUBLED.sub(r"\1", root) if len(root) > 2 else root
    if len(root) > 3 and root.endswith("e"):
        root = root[:-1]
    return root[:-1] + "i" if len(root) > 2 and root.endswith("y") and root[-2] not in "aeiou" else root


def _singular(word: str) -> str:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zzes")):
        return word[:-2]
    return word[:-1]


def _without_ending(word: str) -> str:
    for ending, shortest in (("ing", 5), ("ied", 5), ("ed", 5)):
        root = word.removesuffix(ending)
        if root != word and len(word) >= shortest and _VOWEL.search(root) and not word.endswith("eed"):
            return root + "y" if ending == "ied" else root
    return word


def _word(sentence: str, start: int, end: int, gap: str, quote: int) -> Word:
    text = sentence[start:end]
    norm = _SIGNS.get(text) or text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return Word(text, norm, stem(norm), start, end, gap, quote)


def _trimmed(sentence: str, start: int, end: int) -> tuple[int, int, str]:
    """The token without the punctuation around it, and the kind of gap that follows it."""
    gap = ""
    if sentence[start:end] in _SIGNS:
        return start, end, gap
    while start < end and (sentence[start] in _LEFT or _is_quote(sentence[start])):
        if sentence[start] == "." and sentence[start + 1 : start + 2].isdigit():
            break
        start += 1
    while end > start and (sentence[end - 1] in _RIGHT or _is_quote(sentence[end - 1])):
        last = sentence[end - 1]
        gap = "." if last in _STOPS else ("," if last in _COMMAS and gap != "." else gap)
        end -= 1
    return start, end, gap


def _cut(sentence: str, start: int, end: int) -> list[tuple[int, int]]:
    """One span, or one for each word of a hyphenated number or a formula: twenty-three, 20%, 2+3."""
    text = sentence[start:end]
    pieces = text.lower().split("-")
    if len(pieces) > 1 and all(piece in NUMERAL_WORDS for piece in pieces):
        return [(start + match.start(), start + match.end()) for match in re.finditer("[^-]+", text)]
    if _FORMULA.fullmatch(text):
        return [(start + match.start(), start + match.end()) for match in _FORMULA_PART.finditer(text)]
    return [(start, end)]


def _is_sign(sentence: str, before: list[Word], start: int, end: int) -> bool:
    """Whether a lone sign stands between two numbers, as in "3 - 2"."""
    following = sentence[end:].lstrip()
    return (
        sentence[start:end] in _SIGNS and bool(before) and before[-1].norm[-1:].isdigit()
        and (following[:1].isdigit() or sentence[start:end] == "%")
    )  # fmt: skip


def _is_quote(character: str) -> bool:
    return character in _QUOTES or character in _QUOTES.values()


def quotations(sentence: str) -> list[tuple[int, int]]:
    """The spans between pairs of quotation marks; single ones count only around whole words."""
    spans: list[tuple[int, int]] = []
    position = 0
    while position < len(sentence):
        closing = _QUOTES.get(sentence[position])
        closed = sentence.find(closing, position + 1) if closing else -1
        if closed > position:
            spans.append((position + 1, closed))
            position = closed
        position += 1
    spans.extend(match.span(1) for match in _SINGLE_QUOTES.finditer(sentence))
    return sorted(spans)
