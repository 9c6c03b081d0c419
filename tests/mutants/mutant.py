"""A break of the product that tests are to notice."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ASSERTION: Final = re.compile(r"\bAssertionError\b|\bDID NOT RAISE\b|^E +assert ", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """`old` stands once in the file; with `new` in its place the invariant does not hold."""

    name: str
    invariant: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]  # node ids; each is a file or a test function


@dataclass(frozen=True)
class Suite:
    """Mutants, what proves that one was caught, and tests that pass all the same while nothing else goes wrong."""

    mutants: tuple[Mutant, ...]
    evidence: re.Pattern[str] = ASSERTION  # in the message of a test that failed
    environment: Mapping[str, str] = field(default_factory=dict)  # of all tests
    calm: tuple[str, ...] = ()
