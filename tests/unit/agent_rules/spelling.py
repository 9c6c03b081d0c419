"""Numbers as one says them, for tests of what reads them back."""

NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
UNITS = NUMERALS.split()[:20]
TENS = ["", "", *NUMERALS.split()[20:]]
SCALES = [(10**9, "billion"), (10**6, "million"), (10**3, "thousand")]


def spelled(number: int, *, british: bool = False, hyphens: bool = False) -> str:
    """The number in English words: "one hundred and five" if british, otherwise "one hundred five"."""
    if number < 0:
        return f"minus {spelled(-number, british=british, hyphens=hyphens)}"
    if number < 100:
        return _below_hundred(number, "-" if hyphens else " ")
    if number < 1000:
        hundreds, rest = divmod(number, 100)
        joint = " and " if british else " "
        words = f"{UNITS[hundreds]} hundred"
        return f"{words}{joint}{_below_hundred(rest, '-' if hyphens else ' ')}" if rest else words
    scale, name = next((scale, name) for scale, name in SCALES if number >= scale)
    high, rest = divmod(number, scale)
    words = f"{spelled(high, british=british, hyphens=hyphens)} {name}"
    joint = " and " if british and rest < 100 else " "
    return f"{words}{joint}{spelled(rest, british=british, hyphens=hyphens)}" if rest else words


def spelled_decimal(text: str) -> str:
    """A decimal such as "-3.14", digit by digit behind the point."""
    whole, _, digits = text.partition(".")
    sign = "minus " if whole.startswith("-") else ""
    return f"{sign}{spelled(abs(int(whole)))} point {' '.join(UNITS[int(digit)] for digit in digits)}"


def _below_hundred(number: int, joint: str) -> str:
    if number < 20:
        return UNITS[number]
    tens, units = divmod(number, 10)
    return TENS[tens] + (joint + UNITS[units] if units else "")
