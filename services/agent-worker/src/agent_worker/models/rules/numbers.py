"""Numbers in a sentence, said as words or written with digits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from agent_worker.models.rules.numerals import (
    FRACTIONS,
    NUMERAL_WORDS,
    ORDINAL_SCALES,
    ORDINALS,
    SCALES,
    TEENS,
    TENS,
    UNITS,
)

_DIGITS: Final = re.compile(
    r"(?P<sign>[-+\N{MINUS SIGN}]?)[$\N{EURO SIGN}\N{POUND SIGN}#]?"
    r"(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?P<tail>%|st|nd|rd|th)?"
)
_SPOKEN_DIGITS: Final = UNITS | {"oh": 0, "o": 0}
_HOMOPHONES: Final = {"to": 2, "too": 2, "for": 4, "won": 1, "ate": 8}
_OPERATORS: Final = frozenset({"and", "plus", "minus", "times", "by", "add"})
_OPERATORS_FOLLOWING: Final = [["and"], ["plus"], ["minus"], ["times"], ["by"], ["divided"], ["percent"], ["to"]]
_SHORTEST_CODE: Final = 3  # digits in a row that are read as one number
_MAX_DIGITS: Final = 15  # longer ones are names of things, not quantities


@dataclass(frozen=True, slots=True)
class Number:
    """A number and the words `start` to `end` (exclusive) that say it."""

    value: int | float
    start: int
    end: int
    ordinal: bool = False
    parts: tuple["Number", ...] = ()  # the other reading: "one hundred and five" as 100 and 5, "five one two" as digits
    code: str = ""  # digits that were spelled one by one

    @property
    def digit(self) -> bool:
        """Whether it is one digit said by itself, as in a spelled-out code."""
        return isinstance(self.value, int) and 0 <= self.value <= 9 and self.end == self.start + 1 and not self.ordinal


def find_numbers(words: Sequence[str]) -> list[Number]:
    """All numbers in lower-case words, from left to right, without overlaps; digits said in a row are one number."""
    return list(_joined(_single_numbers(words)))


def _single_numbers(words: Sequence[str]) -> list[Number]:
    found: list[Number] = []
    index = 0
    while index < len(words):
        number = number_at(words, index, after_number=bool(found) and found[-1].end == index)
        if number is None:
            index += 1
        else:
            found.append(number)
            index = number.end
    return found


def number_at(words: Sequence[str], start: int, *, after_number: bool = False) -> Number | None:
    """The number that begins at a word; a "minus" right after another number is an operator, not a sign."""
    sign, first = 1, start
    if words[start] in {"minus", "negative"} and start + 1 < len(words):
        if after_number and words[start] == "minus":
            return None
        sign, first = -1, start + 1
    number = _written(words, first) or _Spoken(words, first).number()
    if number is None:
        return None
    return Number(sign * number.value, start, number.end, number.ordinal, number.parts if sign > 0 else ())


def misheard_numbers(words: Sequence[str]) -> list[Number]:
    """Words that sound like numbers and stand where one belongs: "add to and three", "multiply for by six"."""
    return [
        Number(_HOMOPHONES[word], at, at + 1)
        for at, word in enumerate(words)
        if word in _HOMOPHONES
        and at
        and (words[at - 1] in _OPERATORS or words[at + 1 : at + 2] in _OPERATORS_FOLLOWING)
    ]


def year_at(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """A year and the end of its words: "2026", "nineteen ninety nine", "twenty oh five", "two thousand twenty six"."""
    century = number_at(words, start)
    if century is None or century.ordinal or not isinstance(century.value, int):
        return None
    if 1000 <= century.value <= 9999:
        return century.value, century.end
    rest = number_at(words, century.end) if century.end < len(words) else None
    if not 11 <= century.value <= 30:
        return None
    if words[century.end : century.end + 1] in (["oh"], ["o"]) and century.end + 1 < len(words):
        rest = number_at(words, century.end + 1)
        return (century.value * 100 + int(rest.value), rest.end) if rest and 0 < rest.value < 10 else None
    if rest and not rest.ordinal and isinstance(rest.value, int) and 10 <= rest.value <= 99:
        return century.value * 100 + rest.value, rest.end
    return None


def plain_number(value: Decimal) -> int | float:
    """An int where the value is whole, otherwise a float."""
    return int(value) if value == value.to_integral_value() else float(value)


def _joined(numbers: Sequence[Number]) -> Iterator[Number]:
    run: list[Number] = []
    for number in [*numbers, None]:
        if number is not None and number.digit and (not run or run[-1].end == number.start):
            run.append(number)
            continue
        if len(run) >= _SHORTEST_CODE:
            code = "".join(str(digit.value) for digit in run)
            yield Number(int(code), run[0].start, run[-1].end, parts=tuple(run), code=code)
        else:
            yield from run
        run = []
        if number is not None and number.digit:
            run = [number]
        elif number is not None:
            yield number


def _written(words: Sequence[str], start: int) -> Number | None:
    match = _DIGITS.fullmatch(words[start])
    if match is None or len(match["number"].replace(",", "").replace(".", "")) > _MAX_DIGITS:
        return None
    value = Decimal(match["number"].replace(",", ""))
    end = start + 1
    while end < len(words) and words[end] in SCALES:
        value *= SCALES[words[end]]
        end += 1
    if end == start + 1 and words[end : end + 1] == ["hundred"]:
        value, end = value * 100, end + 1
    value = -value if match["sign"] in {"-", "\N{MINUS SIGN}"} else value
    return Number(plain_number(value), start, end, match["tail"] in {"st", "nd", "rd", "th"})


class _Spoken:
    """Reads one number in words, as far as the words fit together."""

    def __init__(self, words: Sequence[str], start: int) -> None:
        self._words = words
        self._start = start
        self._at = start
        self._total = 0  # of the scales that are finished
        self._group = 0  # below the next scale
        self._room = 1000  # what the next word must stay below to be a part of this group
        self._scale = 10**15  # the next scale must be smaller
        self._said = False
        self._ordinal = False
        self._before_and: tuple[int, int] | None = None  # value and end, for the reading as two numbers

    def number(self) -> Number | None:
        if self._word() in {"a", "an"} and self._word(1) in {"hundred", "dozen", *SCALES}:
            self._group, self._room, self._said = 1, 1, True
            self._at += 1
        while not self._ordinal and (self._part() or self._and()):
            pass
        if self._word() == "dozen" and 0 < self._total + self._group < 1000:
            self._total, self._group = 12 * (self._total + self._group), 0
            self._at += 1
        value: Decimal = Decimal(self._total + self._group)
        if not self._ordinal:
            value = self._with_fraction(value)
        if not self._said:
            return None
        return Number(plain_number(value), self._start, self._at, self._ordinal, self._parts())

    def _word(self, ahead: int = 0) -> str:
        index = self._at + ahead
        return self._words[index] if index < len(self._words) else ""

    def _part(self) -> bool:
        word = self._word()
        return self._small(word) or self._hundred(word) or self._large(word)

    def _small(self, word: str) -> bool:
        """Units, teens and tens, also as the ordinal that ends the number."""
        value = UNITS.get(word, TEENS.get(word, TENS.get(word, ORDINALS.get(word))))
        if value is None or value >= self._room or (value == 0 and self._said):
            return False
        if (word == "second" and self._said and self._room > 10) or (self._group and self._word(1) == "hundred"):
            return False  # "one hundred second": the unit of time; "one hundred two hundred": two numbers
        self._group += value
        self._room = 10 if word in TENS else 1
        self._ordinal = word in ORDINALS
        return self._step()

    def _hundred(self, word: str) -> bool:
        if word not in {"hundred", "hundredth"} or not (0 < self._group < 100 or not self._said):
            return False
        self._group = 100 * (self._group or 1)
        self._room = 100
        self._ordinal = word == "hundredth"
        return self._step()

    def _large(self, word: str) -> bool:
        scale = SCALES.get(word) or ORDINAL_SCALES.get(word)
        if scale is None or scale == 100 or self._group <= 0 or scale >= self._scale:
            return False
        self._total += self._group * scale
        self._group, self._room, self._scale = 0, 1000, scale
        self._ordinal = word in ORDINAL_SCALES
        return self._step()

    def _and(self) -> bool:
        """The "and" inside "one hundred and five"; not the one between "twenty" and "three"."""
        if self._word() != "and" or not self._said or self._room < 100 or self._word(1) not in NUMERAL_WORDS:
            return False
        before, at, total, room = self._group, self._at, self._total, self._room
        self._at += 1
        self._room = 100
        if self._small(self._word()):
            self._before_and = self._before_and or (total + before, at)
            return True
        self._at, self._room = at, room
        return False

    def _with_fraction(self, value: Decimal) -> Decimal:
        """Behind the whole part: "point one four", "and a half", "million"."""
        decimals = self._decimals()
        if decimals:
            value += Decimal(f"0.{decimals}")
            while self._word() in SCALES:
                value *= SCALES[self._word()]
                self._step()
            return value
        if self._said and self._word() == "and" and (part := FRACTIONS.get(self._word(2))) is not None:
            share = {"a": 1, "one": 1, "three": 3}.get(self._word(1))
            if share:
                self._at += 3
                return value + share * part
        if value == 3 and self._word() == "quarters":
            self._step()
            return 3 * FRACTIONS["quarters"]
        if not self._said and self._word() == "half" and self._word(1) != "past":
            self._step()
            return FRACTIONS["half"]
        return value

    def _decimals(self) -> str:
        if self._word() not in {"point", "dot"}:
            return ""
        digits, at = "", self._at + 1
        while at < len(self._words) and (digit := _SPOKEN_DIGITS.get(self._words[at])) is not None:
            digits, at = digits + str(digit), at + 1
        if not digits and at < len(self._words):
            whole = _single_numbers(self._words[at : at + 2])
            if whole and whole[0].start == 0 and isinstance(whole[0].value, int) and whole[0].value >= 0:
                digits, at = str(whole[0].value), at + whole[0].end
        if digits:
            self._at, self._said = at, True
        return digits

    def _parts(self) -> tuple[Number, ...]:
        if self._before_and is None or self._ordinal:
            return ()
        value, end = self._before_and
        second = number_at(self._words, end + 1)
        if second is None or second.end != self._at:
            return ()
        return Number(value, self._start, end), second

    def _step(self) -> bool:
        self._at += 1
        self._said = True
        return True
