"""Arithmetic that is exact where it can be, with results as one says them."""

from collections.abc import Callable, Sequence
from decimal import Context, Decimal, DecimalException, localcontext
from functools import reduce
from typing import Annotated, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

_EXACT: Final = Context(prec=60)
_SPOKEN_DIGITS: Final = 10  # significant ones of a result that isn't whole
_LARGEST: Final = Decimal(10) ** 30  # nobody wants to hear more digits
_ANNOTATIONS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)

Numbers = Annotated[list[float], Field(description="The numbers, two or more", min_length=2, max_length=50)]


def add_arithmetic(server: MCPServer) -> None:
    """Offer the tools for arithmetic."""
    for function in (add, subtract, multiply, divide, percentage, power, square_root):
        server.add_tool(function, annotations=_ANNOTATIONS, structured_output=False)


def add(numbers: Numbers) -> str:
    """Add two or more numbers: plus, sum, total."""
    return _chained(numbers, "plus", _EXACT.add)


def multiply(numbers: Numbers) -> str:
    """Multiply two or more numbers: times, product."""
    return _chained(numbers, "times", _EXACT.multiply)


def subtract(
    minuend: Annotated[float, Field(description="The number to subtract from")],
    subtrahend: Annotated[float, Field(description="The number to subtract")],
) -> str:
    """Subtract one number from another: minus, difference."""
    return _spoken(f"{_said(minuend)} minus {_said(subtrahend)}", _decimal(minuend) - _decimal(subtrahend))


def divide(
    dividend: Annotated[float, Field(description="The number to divide")],
    divisor: Annotated[float, Field(description="The number to divide by")],
) -> str:
    """Divide one number by another: quotient, divided by."""
    if divisor == 0:
        raise ToolError("Nothing can be divided by zero.")
    return _spoken(
        f"{_said(dividend)} divided by {_said(divisor)}", _EXACT.divide(_decimal(dividend), _decimal(divisor))
    )


def percentage(
    percent: Annotated[float, Field(description="How many percent")],
    number: Annotated[float, Field(description="The number of which the percentage is taken")],
) -> str:
    """Calculate a percentage of a number: 20 percent of 50."""
    value = _EXACT.multiply(_decimal(percent), _decimal(number)) / 100
    return _spoken(f"{_said(percent)} percent of {_said(number)}", value)


def power(
    base: Annotated[float, Field(description="The number to raise")],
    exponent: Annotated[float, Field(description="The power to raise it to", ge=-1000, le=1000)],
) -> str:
    """Raise a number to a power: 2 to the power of 10."""
    with localcontext(_EXACT):
        try:
            value = _decimal(base) ** _decimal(exponent)
        except DecimalException as error:
            raise ToolError(f"{_said(base)} to the power of {_said(exponent)} is not a number.") from error
    return _spoken(f"{_said(base)} to the power of {_said(exponent)}", value)


def square_root(number: Annotated[float, Field(description="The number to take the square root of")]) -> str:
    """Calculate the square root of a number."""
    if number < 0:
        raise ToolError("A negative number has no real square root.")
    return _spoken(f"The square root of {_said(number)}", _EXACT.sqrt(_decimal(number)))


def _chained(numbers: Sequence[float], word: str, operation: Callable[[Decimal, Decimal], Decimal]) -> str:
    terms = [_decimal(number) for number in numbers]
    return _spoken(f" {word} ".join(map(_said, numbers)), reduce(operation, terms))


def _decimal(number: float) -> Decimal:
    """The number as it was written: 0.1 is a tenth."""
    return Decimal(repr(number))


def _said(number: float) -> str:
    return _plain(_decimal(number))


def _spoken(question: str, value: Decimal) -> str:
    if not value.is_finite():
        raise ToolError(f"{question} is not a number.")
    if abs(value) >= _LARGEST:
        raise ToolError(f"{question} is too large a number to say.")
    rounded = value if value == value.to_integral_value() else Context(prec=_SPOKEN_DIGITS).plus(value)
    about = "" if rounded == value else "about "
    return f"{question} is {about}{_plain(rounded)}."


def _plain(value: Decimal) -> str:
    """Without exponent and superfluous zeros."""
    text = f"{value + 0:f}"  # zero has no sign
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
