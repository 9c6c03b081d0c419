"""Lengths of time in a sentence: "thirty minutes", "two and a half hours", "an hour and a half"."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agent_worker.models.rules.numbers import Number, number_at

UNIT_SECONDS: Final = {
    "second": 1, "seconds": 1, "sec": 1, "secs": 1, "minute": 60, "minutes": 60, "min": 60, "mins": 60,
    "hour": 3600, "hours": 3600, "hrs": 3600, "day": 86_400, "days": 86_400, "week": 604_800, "weeks": 604_800,
    "fortnight": 1_209_600,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time and the words `start` to `end` (exclusive) that say it."""

    seconds: float
    start: int
    end: int

    def iso(self) -> str:
        """As ISO 8601, for example PT1H30M."""
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        days, hours = divmod(hours, 24)
        clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
        return f"P{f'{days}D' if days else ''}{f'T{clock}' if clock else ''}" if days or clock else "PT0S"

    def delta(self) -> timedelta:
        """As a difference of times."""
        return timedelta(seconds=self.seconds)


def find_durations(words: Sequence[str]) -> list[Duration]:
    """All lengths of time in lower-case words; neighbours joined by "and" are one: "one hour and ten minutes"."""
    found: list[Duration] = []
    index = 0
    while index < len(words):
        duration = duration_at(words, index)
        if duration is None:
            index += 1
            continue
        joined = found and words[found[-1].end : index] in ([], ["and"])
        if joined:
            before = found.pop()
            duration = Duration(before.seconds + duration.seconds, before.start, duration.end)
        found.append(duration)
        index = duration.end
    return found


def duration_at(words: Sequence[str], start: int) -> Duration | None:
    """The single length of time that begins at a word."""
    amount = _amount(words, start)
    if amount is None:
        return None
    value, at = amount
    while words[at : at + 1] in (["a"], ["an"], ["of"]):  # half an hour
        at += 1
    seconds = UNIT_SECONDS.get(words[at]) if at < len(words) else None
    if seconds is None:
        return None
    end = at + 1
    if words[end : end + 3] == ["and", "a", "half"]:
        value, end = value + 0.5, end + 3
    return Duration(value * seconds, start, end)


def _amount(words: Sequence[str], start: int) -> tuple[float, int] | None:
    if words[start] in {"a", "an"} and start + 1 < len(words):
        if words[start + 1] in UNIT_SECONDS:
            return 1, start + 1
        if words[start + 1 : start + 3] == ["couple", "of"]:
            return 2, start + 3
        if words[start + 1] == "quarter":
            return 0.25, start + 2
    number: Number | None = number_at(words, start)
    return None if number is None or number.ordinal or number.value < 0 else (number.value, number.end)
