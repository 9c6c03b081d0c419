from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver.exceptions import ToolError

from agent_worker.toolbox.arithmetic import add, divide, multiply, percentage, power, square_root, subtract

WHOLE = st.integers(-(10**9), 10**9)


@given(st.lists(WHOLE, min_size=2, max_size=6))
def test_sums_are_exact_and_name_the_numbers(numbers: list[int]) -> None:
    assert add([float(one) for one in numbers]) == f"{' plus '.join(map(str, numbers))} is {sum(numbers)}."


@given(WHOLE, WHOLE)
def test_products_and_differences_are_exact(a: int, b: int) -> None:
    assert multiply([a, b]).endswith(f" is {a * b}.")
    assert subtract(a, b).endswith(f" is {a - b}.")


@given(WHOLE, st.integers(1, 10**6))
def test_quotients_are_exact_or_say_that_they_are_not(a: int, b: int) -> None:
    answer = divide(a, b)
    head, _, said = answer.removesuffix(".").rpartition(" ")
    about = head.endswith("about")
    assert about != (Fraction(said) == Fraction(a, b))
    assert abs(Fraction(said) - Fraction(a, b)) <= abs(Fraction(a, b)) / 10**9


def test_decimals_are_what_was_written() -> None:
    assert add([0.1, 0.2]) == "0.1 plus 0.2 is 0.3."
    assert percentage(15, 80) == "15 percent of 80 is 12."
    assert power(2, 10) == "2 to the power of 10 is 1024."
    assert square_root(2) == "The square root of 2 is about 1.414213562."
    assert add([23, 19]) == "23 plus 19 is 42."


@pytest.mark.parametrize(
    ("calculation", "reason"),
    [
        (lambda: divide(1, 0), "Nothing can be divided by zero."),
        (lambda: square_root(-1), "A negative number has no real square root."),
        (lambda: power(-8, 0.5), "-8 to the power of 0.5 is not a number."),
        (lambda: power(0, -1), "0 to the power of -1 is not a number."),
        (lambda: power(10, 900), "10 to the power of 900 is too large a number to say."),
        (lambda: add([float("inf"), 1]), "Infinity plus 1 is not a number."),
    ],
)
def test_what_has_no_result_is_an_error_that_can_be_said(calculation, reason: str) -> None:  # type: ignore[no-untyped-def]  # a lambda
    with pytest.raises(ToolError, match="^" + reason.replace(".", r"\.")):
        calculation()
