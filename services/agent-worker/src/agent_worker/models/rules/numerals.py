"""The words that numbers are made of."""

from decimal import Decimal
from typing import Final


def _counted(text: str, first: int = 0, step: int = 1) -> dict[str, int]:
    return {name: first + step * index for index, name in enumerate(text.split())}


UNITS: Final = _counted("zero one two three four five six seven eight nine") | {"nought": 0, "nil": 0}
TEENS: Final = _counted("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", first=10)
TENS: Final = _counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10) | {"fourty": 40}
SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
FRACTIONS: Final = {"half": Decimal("0.5"), "quarter": Decimal("0.25"), "quarters": Decimal("0.25")}
ORDINALS: Final = _counted(
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
) | {f"{name[:-1]}ieth": value for name, value in TENS.items()}
ORDINAL_SCALES: Final = {"hundredth": 100} | {f"{name}th": value for name, value in SCALES.items()}

NUMERAL_WORDS: Final = frozenset(UNITS | TEENS | TENS | SCALES | ORDINALS | ORDINAL_SCALES | {"hundred": 100})
