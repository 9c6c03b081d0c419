"""A sentence as words, each with its place in the sentence; stems; the words inside identifiers."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from agent_worker.models.rules.numerals import NUMERAL_WORDS

_TOKEN: Final = re.compile(r"\S+")
_LEFT: Final = "([{<*_`"
_RIGHT: Final = ")]}>*_`…"
_GAP_COMMA: Final = ",:"
_GAP_STOP: Final = ";.!?"
_QUOTE_PAIRS: Final = {'"': '"', "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}", "«": "»"}
_CAMEL: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_A-Za-z]+")
_FORMULA: Final = re.compile(r"[-+]?[\d.,]+%|[-+]?[\d.]+(?:[+*×÷^][-+]?[\d.]+)+%?")
_FORMULA_PART: Final = re.compile(r"(?<![\d%])[-+]?[\d.,]+|[+*×÷^%]")
_SPOKEN_SIGNS: Final = {"+": "plus", "-": "minus", "*": "times", "×": "times", "÷": "divided", "/": "divided",
                        "^": "power", "%": "percent"}  # fmt: skip
_VOWEL: Final = re.compile(r"[aeiouy]")
_DOUBLED: Final = re.compile(r"([bcdfgjklmnpqrtvwz])\1$")

_IRREGULAR: Final = {
    "ate": "eat", "began": "begin", "bought": "buy", "built": "build", "chosen": "choose", "chose": "choose",
    "children": "child", "did": "do", "drew": "draw", "drove": "drive", "fed": "feed", "found": "find",
    "gave": "give", "gone": "go", "went": "go", "got": "get", "had": "have", "has": "have", "heard": "hear",
    "held": "hold", "kept": "keep", "knew": "know", "left": "leave", "lost": "lose", "made": "make", "men": "man",
    "met": "meet", "mice": "mouse", "paid": "pay", "people": "person", "persons": "person",
    "ran": "run", "rang": "ring", "read": "read", "rode": "ride", "said": "say", "sang": "sing", "sent": "send",
    "slept": "sleep", "sold": "sell", "spent": "spend", "spoke": "speak", "spoken": "speak", "taken": "take",
    "taught": "teach", "teeth": "tooth", "thought": "think", "told": "tell", "took": "take", "women": "woman",
    "won": "win", "written": "write", "wrote": "write", "shown": "show", "known": "know", "given": "give",
}  # fmt: skip
_KEPT: Final = frozenset({"news", "series", "species", "times"})  # what the endings would spoil

STOP_WORDS: Final = frozenset(
    """
    a about actually after again all also am an and any anyone anything are as at be been before being both but by can
    can't cannot could did do does doing don't down each either else every everything for from get give go going gonna
    got had has have having he he's hello her here hers hey hi him his how i i'd i'll i'm i've if in into is it it's
    its just kindly know let let's lets like likes ma'am may maybe me might mine must my need needs no not now of off
    oh ok okay on one's onto or our ours out over please pretty really right shall she she's should so some something
    sure tell than thank thanks that that's the their theirs them then there there's these they they're thing things
    this those through to today's too uh um under until up upon us very wanna want wants was we we'd we'll we're were
    what what's whats when when's where where's whether which while who who's whose why will with would would've yeah
    yes you you'd you're your yours
    """.split()
)
PARTICLES: Final = frozenset({"on", "off", "up", "down", "in", "out", "over", "back", "away"})


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
    quotes = _quotations(sentence)
    words: list[Word] = []
    gap = ""
    for token in _TOKEN.finditer(sentence):
        start, end, after = _trimmed(sentence, token.start(), token.end())
        if not any(map(str.isalnum, sentence[start:end])) and not _is_sign(sentence, words, start, end):
            gap = after or gap or ("," if start < end else "")
            continue
        quote = next((n for n, (opened, closed) in enumerate(quotes, 1) if opened <= start < closed), 0)
        for span in _cut(sentence, start, end):
            words.append(_word(sentence, *span, gap, quote))
            gap = ""
        gap = after
    return tuple(words)


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
    norm = _SPOKEN_SIGNS.get(text) or text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return Word(text, norm, stem(norm), start, end, gap, quote)


def _trimmed(sentence: str, start: int, end: int) -> tuple[int, int, str]:
    """The token without the punctuation around it, and the kind of gap that follows it."""
    gap = ""
    if sentence[start:end] in _SPOKEN_SIGNS:
        return start, end, gap
    while start < end and (sentence[start] in _LEFT + _GAP_COMMA + _GAP_STOP + "'’" or _is_quote(sentence[start])):
        if sentence[start] == "." and sentence[start + 1 : start + 2].isdigit():
            break
        start += 1
    while end > start and (sentence[end - 1] in _RIGHT + _GAP_COMMA + _GAP_STOP + "'’" or _is_quote(sentence[end - 1])):
        last = sentence[end - 1]
        gap = "." if last in _GAP_STOP else ("," if last in _GAP_COMMA and gap != "." else gap)
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
        sentence[start:end] in _SPOKEN_SIGNS and bool(before) and before[-1].norm[-1:].isdigit()
        and (following[:1].isdigit() or sentence[start:end] == "%")
    )  # fmt: skip


def _is_quote(character: str) -> bool:
    return character in _QUOTE_PAIRS or character in _QUOTE_PAIRS.values()


def _quotations(sentence: str) -> list[tuple[int, int]]:
    """The spans between pairs of quotation marks; single ones count only around whole words."""
    spans: list[tuple[int, int]] = []
    position = 0
    while position < len(sentence):
        closing = _QUOTE_PAIRS.get(sentence[position])
        closed = sentence.find(closing, position + 1) if closing else -1
        if closed > position:
            spans.append((position + 1, closed))
            position = closed
        position += 1
    spans.extend(match.span(1) for match in re.finditer(r"(?<!\S)['‘]([^'’]+)['’](?=[\s.,;:!?]|$)", sentence))
    return sorted(spans)
