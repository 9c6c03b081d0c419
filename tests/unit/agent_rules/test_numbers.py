from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unit.agent_rules.spelling import spelled, spelled_decimal

from agent_worker.models.rules.numbers import find_numbers, misheard_numbers, year_at
from agent_worker.models.rules.words import words_of

WHOLE = st.integers(-(10**9), 10**9) | st.integers(-2000, 2000)


def values(text: str) -> list[int | float]:
    return [number.value for number in find_numbers([word.norm for word in words_of(text)])]


@given(WHOLE, st.booleans(), st.booleans())
@example(10**9, False, False)
@example(-1_000_001, True, True)
def test_every_whole_number_that_is_said_reads_back_as_itself(number: int, british: bool, hyphens: bool) -> None:
    assert values(spelled(number, british=british, hyphens=hyphens)) == [number]


@given(WHOLE, st.sampled_from(["{}", "{:,}", "${}", "#{}", "{}%", "{}."]))
def test_every_whole_number_that_is_written_reads_back_as_itself(number: int, form: str) -> None:
    text = form.format(number).replace("$-", "-$").replace("#-", "-#")
    assert values(text) == [number]


@given(st.integers(-999_999, 999_999), st.integers(0, 999))
def test_decimals_read_back_as_themselves(whole: int, thousandths: int) -> None:
    text = f"{whole}.{thousandths:03}"
    assert values(spelled_decimal(text)) == [float(Decimal(text))]
    assert values(text) == [float(Decimal(text))]


@given(st.lists(st.integers(-999, 999), min_size=2, max_size=5))
def test_numbers_joined_by_and_stay_apart(numbers: list[int]) -> None:
    assert values(" and ".join(map(spelled, numbers))) == numbers or any(number % 100 == 0 for number in numbers)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("add twenty three and nineteen", [23, 19]),
        ("ten minus five", [10, 5]),
        ("ten plus minus five", [10, -5]),
        ("negative seven", [-7]),
        ("two and a half hours", [2.5]),
        ("three quarters", [0.75]),
        ("half an hour", [0.5]),
        ("point five", [0.5]),
        ("three point fourteen", [3.14]),
        ("2.5 million", [2_500_000]),
        ("two point five million", [2_500_000]),
        ("a hundred and one", [101]),
        ("two dozen eggs", [24]),
        ("one hundred two hundred", [100, 200]),
        ("the twenty third", [23]),
        ("the 3rd", [3]),
        ("five five one two", [5512]),
        ("seven two", [7, 2]),
        ("23+19", [23, 19]),
        ("what is 5 - 3", [5, 3]),
        ("20% of 50", [20, 50]),
        ("two thousand twenty six", [2026]),
        ("order 12345678901234567890", []),
        ("someone often tends to tenderly weight", []),
    ],
)
def test_numbers_in_sentences(text: str, expected: list[float]) -> None:
    assert values(text) == expected


def test_a_number_with_and_can_be_taken_apart() -> None:
    (number,) = find_numbers(["one", "hundred", "and", "five"])
    assert number.value == 105
    assert [part.value for part in number.parts] == [100, 5]


def test_spelled_digits_keep_their_leading_zeros() -> None:
    (number,) = find_numbers(["zero", "two", "one", "one", "eight"])
    assert (number.code, number.value) == ("02118", 2118)


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("nineteen ninety nine", 1999),
        ("twenty twenty six", 2026),
        ("twenty oh five", 2005),
        ("two thousand thirty", 2030),
        ("2026", 2026),
        ("twelve", None),
        ("nineteen apples", None),
    ],
)
def test_years(text: str, year: int | None) -> None:
    found = year_at(text.split(), 0)
    assert (found and found[0]) == year


def test_small_words_are_numbers_only_beside_an_operator() -> None:
    assert [number.value for number in misheard_numbers(["add", "to", "and", "three"])] == [2]
    assert misheard_numbers(["go", "to", "the", "shop", "for", "milk"]) == []
