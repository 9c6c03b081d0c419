from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_worker.models.rules.durations import find_durations
from agent_worker.models.rules.moments import find_moments

FRIDAY = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth "
    "sixteenth seventeenth eighteenth nineteenth"
)
ONES = ORDINALS.split()[:9]
DAYS = [*ORDINALS.split(), "twentieth", *(f"twenty {one}" for one in ONES), "thirtieth", "thirty first"]


@pytest.mark.parametrize(
    ("text", "day", "clock"),
    [
        ("today", "2026-11-20", None),
        ("tomorrow at five pm", "2026-11-21", "17:00"),
        ("the day after tomorrow at noon", "2026-11-22", "12:00"),
        ("yesterday", "2026-11-19", None),
        ("monday", "2026-11-23", None),
        ("next monday", "2026-11-23", None),
        ("next friday", "2026-11-27", None),
        ("friday", "2026-11-27", None),
        ("last friday", "2026-11-13", None),
        ("december third", "2026-12-03", None),
        ("december third two thousand twenty six", "2026-12-03", None),
        ("the third of december twenty twenty seven", "2027-12-03", None),
        ("june 5", "2027-06-05", None),
        ("2026-11-25", "2026-11-25", None),
        ("2026-11-25t15:30:00", "2026-11-25", "15:30"),
        ("11/25/2026", "2026-11-25", None),
        ("25.11.2026", "2026-11-25", None),
        ("in two weeks", "2026-12-04", None),
        ("three days ago", "2026-11-17", None),
        ("on the fifteenth", "2026-12-15", None),
        ("in ten minutes", "2026-11-20", "14:40"),
        ("in an hour and a half", "2026-11-20", "16:00"),
        ("next week", "2026-11-23", None),
        ("tomorrow morning", "2026-11-21", "09:00"),
        ("tomorrow evening at seven", "2026-11-21", "19:00"),
        ("tonight at eight", "2026-11-20", "20:00"),
        ("at eight tonight", "2026-11-20", "20:00"),
        ("at seven thirty p m on friday", "2026-11-27", "19:30"),
        ("half past five", None, "05:30"),
        ("a quarter to six", None, "05:45"),
        ("at ten to six", None, "05:50"),
        ("5:30pm", None, "17:30"),
        ("17:45", None, "17:45"),
        ("seven o'clock", None, "07:00"),
        ("nine in the evening", None, "21:00"),
        ("midnight", None, "00:00"),
        ("at seven", None, "07:00"),
    ],
)
def test_days_and_times(text: str, day: str | None, clock: str | None) -> None:
    (moment,) = find_moments(text.split(), FRIDAY)
    assert moment.day == (date.fromisoformat(day) if day else None)
    assert moment.time == (time.fromisoformat(clock) if clock else None)
    assert moment.end == len(text.split())


@pytest.mark.parametrize(
    "text", ["two to four apples", "five thirty", "may i come in", "the second one", "sun and sat"]
)
def test_what_is_no_day_and_no_time(text: str) -> None:
    assert find_moments(text.split(), FRIDAY) == []


@given(st.dates(date(2026, 11, 20), date(2027, 11, 19)))
def test_every_day_of_the_coming_year_is_found_by_month_and_ordinal(day: date) -> None:
    for text in (f"{day:%B} {DAYS[day.day - 1]}", f"the {DAYS[day.day - 1]} of {day:%B} {day.year}", day.isoformat()):
        (moment,) = find_moments(text.lower().split(), FRIDAY)
        assert moment.day == day


@given(st.dates(date(2026, 1, 1), date(2028, 1, 1)), st.integers(0, 6))
def test_a_weekday_is_the_next_such_day(today: date, weekday: int) -> None:
    name = f"{date(2026, 11, 16) + timedelta(days=weekday):%A}".lower()
    (moment,) = find_moments([name], datetime.combine(today, time(12)))
    assert moment.day is not None
    assert moment.day.weekday() == weekday
    assert 1 <= (moment.day - today).days <= 7


def test_a_time_without_a_day_is_the_next_such_time() -> None:
    early, late = (find_moments(text.split(), FRIDAY)[0].at(FRIDAY) for text in ("at seven pm", "at seven am"))
    assert (early.day, late.day) == (20, 21)
    assert early.tzinfo == UTC


@pytest.mark.parametrize(
    ("text", "seconds", "iso"),
    [
        ("thirty minutes", 1_800, "PT30M"),
        ("an hour and a half", 5_400, "PT1H30M"),
        ("two and a half hours", 9_000, "PT2H30M"),
        ("half an hour", 1_800, "PT30M"),
        ("one hour and ten minutes", 4_200, "PT1H10M"),
        ("a week", 604_800, "P7D"),
        ("ninety seconds", 90, "PT1M30S"),
    ],
)
def test_lengths_of_time(text: str, seconds: float, iso: str) -> None:
    (duration,) = find_durations(text.split())
    assert (duration.seconds, duration.iso()) == (seconds, iso)
