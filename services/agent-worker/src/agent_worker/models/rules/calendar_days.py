"""Days in a sentence: "tomorrow", "next monday", "december third", "in two weeks", "2026-11-20"."""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from agent_worker.models.rules.numbers import number_at, year_at

Day = tuple[date, int]  # and the index behind its last word

_WEEKDAYS: Final = {
    name: index
    for index, names in enumerate(
        (
            ("monday", "mon"),
            ("tuesday", "tue", "tues"),
            ("wednesday", "wed"),
            ("thursday", "thu", "thurs"),
            ("friday", "fri"),
            ("saturday", "sat"),
            ("sunday", "sun"),
        )
    )
    for name in names
}
_MONTHS: Final = {
    name: index
    for index, names in enumerate(
        (
            ("january", "jan"),
            ("february", "feb"),
            ("march", "mar"),
            ("april", "apr"),
            ("may",),
            ("june", "jun"),
            ("july", "jul"),
            ("august", "aug"),
            ("september", "sep", "sept"),
            ("october", "oct"),
            ("november", "nov"),
            ("december", "dec"),
        ),
        1,
    )
    for name in names
}
_RELATIVE: Final = {"today": 0, "tonight": 0, "tomorrow": 1, "tomorrow's": 1, "today's": 0, "yesterday": -1}
_ISO: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?=$|t)")
_SLASHES: Final = re.compile(r"(\d{1,2})([/.])(\d{1,2})\2(\d{4}|\d{2})")
_SPANS: Final = {"day": 1, "days": 1, "week": 7, "weeks": 7, "fortnight": 14}


def day_at(words: Sequence[str], start: int, today: date) -> Day | None:
    """The day that the words from `start` on name, if they do."""
    for read in (_written, _relative, _weekday, _month_first, _day_first, _counted, _period):
        found = read(words, start, today)
        if found is not None:
            return found
    return None


def day_of_month_at(words: Sequence[str], start: int, today: date) -> Day | None:
    """ "the third": the next day with that number."""
    start += words[start] == "the"
    number = number_at(words, start) if start < len(words) else None
    if number is None or not number.ordinal or not 1 <= number.value <= 31:
        return None
    for months in range(12):
        year, month = divmod(today.month - 1 + months, 12)
        day = _date(today.year + year, month + 1, int(number.value))
        if day is not None and day >= today:
            return day, number.end
    return None


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _written(words: Sequence[str], start: int, today: date) -> Day | None:
    del today
    word = words[start]
    if match := _ISO.match(word):
        day = _date(int(match[1]), int(match[2]), int(match[3]))
    elif match := _SLASHES.fullmatch(word):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        year += 2000 if year < 100 else 0
        american = match[2] == "/" and first <= 12
        day = _date(year, first, second) if american else _date(year, second, first)
    else:
        return None
    return (day, start + 1) if day else None


def _relative(words: Sequence[str], start: int, today: date) -> Day | None:
    rest = list(words[start : start + 5])
    rest = rest[1:] if rest[0] == "the" else rest
    skipped = start + (words[start] == "the")
    if rest[:3] == ["day", "after", "tomorrow"]:
        return today + timedelta(days=2), skipped + 3
    if rest[:3] == ["day", "before", "yesterday"]:
        return today - timedelta(days=2), skipped + 3
    days = _RELATIVE.get(words[start])
    return None if days is None else (today + timedelta(days=days), start + 1)


def _weekday(words: Sequence[str], start: int, today: date) -> Day | None:
    """A bare or "this" weekday is the next to come, "next" means in the following week (Monday to Sunday)."""
    which = words[start] if words[start] in {"next", "this", "last", "coming", "every"} else ""
    at = start + bool(which)
    index = _WEEKDAYS.get(words[at].removesuffix("'s")) if at < len(words) else None
    if index is None or which == "every" or (not which and words[at] in {"sun", "sat", "mon", "wed"}):
        return None
    if which == "next":
        return today + timedelta(days=7 - today.weekday() + index), at + 1
    if which == "last":
        return today - timedelta(days=(today.weekday() - index - 1) % 7 + 1), at + 1
    return today + timedelta(days=(index - today.weekday() - 1) % 7 + 1), at + 1


def _month_first(words: Sequence[str], start: int, today: date) -> Day | None:
    """ "december third", "december the 3rd", "dec 3 2026"."""
    month = _MONTHS.get(words[start])
    at = start + 1
    at += words[at : at + 1] == ["the"]
    number = number_at(words, at) if month and at < len(words) else None
    if month is None or number is None or not isinstance(number.value, int):
        return None
    return _with_year(words, number.end, month, number.value, today)


def _day_first(words: Sequence[str], start: int, today: date) -> Day | None:
    """ "the third of december", "3 december 2026"."""
    at = start + (words[start] == "the")
    number = number_at(words, at) if at < len(words) else None
    if number is None or not isinstance(number.value, int):
        return None
    at = number.end + (words[number.end : number.end + 1] == ["of"])
    month = _MONTHS.get(words[at]) if at < len(words) else None
    return _with_year(words, at + 1, month, number.value, today) if month else None


def _with_year(words: Sequence[str], at: int, month: int, day_of_month: int, today: date) -> Day | None:
    """The day of the year that follows, otherwise the next such day from today on."""
    said = year_at(words, at) if at < len(words) else None
    if said and 1900 <= said[0] <= 2200:
        day = _date(said[0], month, day_of_month)
        return (day, said[1]) if day else None
    for year in range(today.year, today.year + 9):  # a leap day may be that far away
        day = _date(year, month, day_of_month)
        if day is not None and day >= today:
            return day, at
    return None


def _counted(words: Sequence[str], start: int, today: date) -> Day | None:
    """ "in two weeks", "three days ago"."""
    ahead = words[start] == "in"
    at = start + ahead
    number = number_at(words, at) if at < len(words) else None
    count, at = (
        (number.value, number.end) if number else (1, at + 1) if words[at : at + 1] in (["a"], ["an"]) else (0, at)
    )
    span = _SPANS.get(words[at]) if count and at < len(words) else None
    if span is None or not float(count).is_integer() or abs(count) > 36_500:
        return None
    if words[at + 1 : at + 2] == ["ago"]:
        return today - timedelta(days=int(count) * span), at + 2
    if words[at + 1 : at + 3] == ["from", "now"] or words[at + 1 : at + 3] == ["from", "today"]:
        return today + timedelta(days=int(count) * span), at + 3
    return (today + timedelta(days=int(count) * span), at + 1) if ahead else None


def _period(words: Sequence[str], start: int, today: date) -> Day | None:
    """The first day of next week or month, the Saturday of this or next weekend."""
    which, what = words[start], words[start + 1 : start + 2]
    if which not in {"next", "this"} or not what:
        return None
    monday = today - timedelta(days=today.weekday())
    later = 7 if which == "next" else 0
    match what[0]:
        case "weekend":
            return monday + timedelta(days=5 + later), start + 2
        case "week" if later:
            return monday + timedelta(days=7), start + 2
        case "month" if later:
            return (today.replace(day=1) + timedelta(days=32)).replace(day=1), start + 2
    return None
