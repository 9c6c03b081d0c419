"""Days and times of day in a sentence, joined to moments: "tomorrow at half past five"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final

from agent_worker.models.rules.calendar_days import day_at, day_of_month_at
from agent_worker.models.rules.durations import duration_at
from agent_worker.models.rules.numbers import number_at

TimeOfDay = tuple[time, int]  # and the index behind its last word

_CLOCK: Final = re.compile(r"(\d{1,2})[:.h](\d{2})(?::(\d{2}))?(am|pm|a\.m|p\.m)?|(\d{1,2})(am|pm|a\.m|p\.m)")
_ISO_TIME: Final = re.compile(r"\d{4}-\d{1,2}-\d{1,2}t(\d{2}):(\d{2})(?::(\d{2}))?.*")
_NAMED: Final = {"noon": time(12), "midday": time(12), "midnight": time(0), "lunchtime": time(12)}
_PARTS: Final = {"morning": time(9), "afternoon": time(15), "evening": time(19), "night": time(21), "tonight": time(20)}
_HALVES: Final = {"am": "am", "a.m": "am", "pm": "pm", "p.m": "pm"}


@dataclass(frozen=True, slots=True)
class Moment:
    """A day, a time of day or both, and the words `start` to `end` (exclusive) that say it."""

    day: date | None
    time: time | None
    start: int
    end: int

    def at(self, now: datetime) -> datetime:
        """The moment itself; without a day the next such time, without a time the start of the day."""
        clock = self.time or time(0)
        day = self.day or now.date()
        moment = datetime.combine(day, clock, now.tzinfo)
        return moment + timedelta(days=1) if self.day is None and moment < now else moment


def find_moments(words: Sequence[str], now: datetime) -> list[Moment]:
    """All moments in lower-case words, from left to right, without overlaps."""
    found: list[Moment] = []
    index = 0
    while index < len(words):
        moment = _moment_at(words, index, now)
        if moment is None:
            index += 1
        else:
            found.append(moment)
            index = moment.end
    return found


def time_at(words: Sequence[str], start: int, *, bare: bool = False) -> TimeOfDay | None:
    """The time of day that begins at a word; with `bare` also a lone hour, as after "at"."""
    word = words[start]
    if word in _NAMED:
        return _NAMED[word], start + 1
    if match := _ISO_TIME.fullmatch(word):
        return _checked(int(match[1]), int(match[2]), int(match[3] or 0), start + 1)
    if match := _CLOCK.fullmatch(word):
        hour, minute, second = int(match[1] or match[5]), int(match[2] or 0), int(match[3] or 0)
        return _with_half(
            words, start + 1, hour, minute, second, _HALVES.get(match[4] or match[6] or "", ""), sure=True
        )
    return _relative_to_hour(words, start, sure=bare) or _spoken(words, start, sure=bare)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A day or a time of day; `part` of the day is said with either."""

    day: date | None
    time: time | None
    part: str
    end: int


def _moment_at(words: Sequence[str], start: int, now: datetime) -> Moment | None:
    if later := _from_now(words, start, now):
        return later
    first = _piece(words, start, now)
    if first is None:
        return None
    at = first.end
    while at < min(len(words), first.end + 2) and words[at] in {"at", "on", "in", "the", "around", "by"}:
        at += 1
    second = _piece(words, at, now) if at < len(words) else None
    if second is None or (second.day and first.day) or (second.time and first.time):
        second = _Piece(None, None, "", first.end)
    clock, part = first.time or second.time, first.part or second.part
    if clock and part and part != "morning" and clock.hour < 12:
        clock = clock.replace(hour=clock.hour + 12)  # seven in an evening
    return Moment(first.day or second.day, clock or _PARTS.get(part), start, second.end)


def _piece(words: Sequence[str], start: int, now: datetime) -> _Piece | None:
    before = words[start - 1] if start else ""
    found = day_at(words, start, now.date())
    if found is None and (before == "on" or list(words[max(0, start - 2) : start]) == ["on", "the"]):
        found = day_of_month_at(words, start, now.date())
    if found and _ISO_TIME.fullmatch(words[start]) and (clock := time_at(words, start)):
        return _Piece(found[0], clock[0], "", found[1])
    if found:
        day, end = found
        part = words[start] if words[start] in _PARTS else "".join(words[end : end + 1])
        return _Piece(day, None, part if part in _PARTS else "", end + (part in _PARTS and part != words[start]))
    if words[start] == "this" and start + 1 < len(words) and words[start + 1] in _PARTS:
        return _Piece(now.date(), None, words[start + 1], start + 2)
    exact = time_at(words, start, bare=before in {"at", "until", "till", "by", "around"})
    return _Piece(None, exact[0], "", exact[1]) if exact else None


def _from_now(words: Sequence[str], start: int, now: datetime) -> Moment | None:
    """ "in ten minutes": to the minute; whole days are left to the days."""
    if words[start] != "in" or start + 1 >= len(words):
        return None
    duration = duration_at(words, start + 1)
    if duration is None or duration.seconds % 86_400 == 0:
        return None
    moment = (now + duration.delta()).replace(microsecond=0)
    return Moment(moment.date(), moment.time(), start, duration.end)


def _relative_to_hour(words: Sequence[str], start: int, *, sure: bool) -> TimeOfDay | None:
    """ "half past five", "quarter to six", "ten minutes past three"."""
    at = start + (words[start] == "a")
    if at >= len(words):
        return None
    if words[at] in {"half", "quarter"}:
        minutes, at = {"half": 30, "quarter": 15}[words[at]], at + 1
    else:
        number = number_at(words, at)
        if number is None or not isinstance(number.value, int) or not 0 < number.value < 30:
            return None
        minutes, at = number.value, number.end
        at += words[at : at + 1] in (["minutes"], ["minute"])
    direction = words[at] if at < len(words) else ""
    hour = number_at(words, at + 1) if direction in {"past", "after", "to", "before"} and at + 1 < len(words) else None
    if hour is None or not isinstance(hour.value, int) or not 1 <= hour.value <= 12 or hour.ordinal:
        return None
    total = hour.value * 60 + (minutes if direction in {"past", "after"} else -minutes)
    sure = sure or direction == "past" or words[start] in {"half", "quarter", "a"}
    return _with_half(words, hour.end, total // 60 % 24, total % 60, 0, "", sure=sure)


def _spoken(words: Sequence[str], start: int, *, sure: bool) -> TimeOfDay | None:
    """ "five pm", "five thirty p m", "seven o'clock", "nine in the evening"."""
    hour = number_at(words, start)
    if hour is None or hour.ordinal or not isinstance(hour.value, int) or not 0 <= hour.value <= 24:
        return None
    minutes = number_at(words, hour.end) if hour.end < len(words) else None
    if words[hour.end : hour.end + 1] in (["oh"], ["o"]) and hour.end + 1 < len(words):
        minutes = number_at(words, hour.end + 1)
    if minutes and isinstance(minutes.value, int) and 0 < minutes.value < 60 and not minutes.ordinal:
        with_minutes = _with_half(words, minutes.end, hour.value, minutes.value, 0, "", sure=sure)
        if with_minutes:
            return with_minutes
    return _with_half(words, hour.end, hour.value, 0, 0, "", sure=sure)


def _with_half(
    words: Sequence[str], at: int, hour: int, minute: int, second: int, half: str, *, sure: bool
) -> TimeOfDay | None:
    """Add am, pm, o'clock or the part of the day that follows; without any of them it must be `sure`."""
    rest = list(words[at : at + 3])
    if rest[:1] in (["o'clock"], ["oclock"]):
        return _with_half(words, at + 1, hour, minute, second, half, sure=True)
    if not half and rest[:1] and rest[0] in _HALVES:
        half, at = _HALVES[rest[0]], at + 1
    elif not half and rest[:2] in (["a", "m"], ["p", "m"]):
        half, at = rest[0] + "m", at + 2
    elif not half and rest[:2] == ["in", "the"] and rest[2:] and rest[2] in _PARTS:
        half, at = ("am" if rest[2] == "morning" else "pm"), at + 3
    elif not half and rest[:2] == ["at", "night"]:
        half, at = "pm", at + 2
    elif not half and not sure:
        return None
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return _checked(hour, minute, second, at)


def _checked(hour: int, minute: int, second: int, end: int) -> TimeOfDay | None:
    hour = 0 if hour == 24 else hour
    return (time(hour, minute, second), end) if 0 <= hour < 24 and minute < 60 and second < 60 else None
