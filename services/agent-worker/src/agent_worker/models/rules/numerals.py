"""The words that numbers are made of."""

from decimal import Decimal
from typing import Final

UNITS: Final = {
    name: value for value, name in enumerate("zero one two three four five six seven eight nine".split())
} | {"nought": 0, "nil": 0}
TEENS: Final = {
    name: value
    for value, name in enumerate(
        "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), 10
    )
}
TENS: Final = {
    name: value * 10 for value, name in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
} | {"fourty": 40}
SCALES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
FRACTIONS: Final = {"half": Decimal("0.5"), "quarter": Decimal("0.25"), "quarters": Decimal("0.25")}

_ORDINAL_ONES: Final = (
    "zeroth first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)
ORDINALS: Final = {name: value for value, name in enumerate(_ORDINAL_ONES.split())} | {
    f"{name[:-1]}ieth": value for name, value in TENS.items()
}
ORDINAL_SCALES: Final = {"hundredth": 100} | {f"{name}th": value for name, value in SCALES.items()}

NUMERAL_WORDS: Final = frozenset(UNITS | TEENS | TENS | SCALES | ORDINALS | ORDINAL_SCALES | {"hundred": 100})
