"""What was accepted compared with what somebody got of it."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self


@dataclass(frozen=True, slots=True)
class Tally:
    """How many are missing, came more than once, or came where they don't belong."""

    lost: int = 0
    repeated: int = 0
    misplaced: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.lost + other.lost, self.repeated + other.repeated, self.misplaced + other.misplaced)

    def __str__(self) -> str:
        return f"lost {self.lost} repeated {self.repeated} misplaced {self.misplaced}"

    @classmethod
    def of(cls, accepted: Sequence[Hashable], got: Sequence[Hashable]) -> Self:
        """Compares two sequences in which nothing should occur twice. What nobody sent counts as misplaced."""
        place = {item: number for number, item in enumerate(accepted)}
        known = [place[item] for item in got if item in place]
        firsts = list(dict.fromkeys(known))
        misplaced = sum(before > behind for before, behind in pairwise(firsts)) + len(got) - len(known)
        return cls(len(place.keys() - set(got)), len(known) - len(firsts), misplaced)


def total(tallies: Iterable[Tally]) -> Tally:
    """All together."""
    return sum(tallies, Tally())
