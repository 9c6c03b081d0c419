"""Writes the tables of docs/reliability.md from a file of results: `python -m faults.table RESULTS DOCUMENT`.

One row per scenario, load and kind of Redis, in the order in which the tests stand in their files; several runs of the
same are added up. Beside our own figures stand those of the systems that went through the same.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from faults.results import Result, load
from faults.tally import Tally, total

OURS: Final = "Voicebus"
BEGIN, END = "<!-- faults: made by `python -m faults.table` -->\n", "<!-- /faults -->"
_NONE: Final = "-"
_FIGURES: Final = ("lost", "repeated", "misplaced", "worst recovery")
_KINDS: Final = {"cluster": "a cluster of three primaries"}
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")

_Key = tuple[str, str, str]  # scenario, kind of Redis, load


@dataclass(frozen=True)
class Found:
    """What all runs of one scenario found of one system."""

    load: str
    faults: str
    tally: Tally
    recovery_s: float | None
    remarks: str

    @classmethod
    def of(cls, results: Sequence[Result]) -> "Found":
        """Adds the runs up."""
        outcomes = [result.outcome for result in results]
        waits = [outcome.recovery_s for outcome in outcomes if outcome.recovery_s is not None]
        return cls(
            merged(outcome.load for outcome in outcomes),
            merged(outcome.faults for outcome in outcomes),
            total(outcome.tally for outcome in outcomes),
            max(waits, default=None),
            merged(outcome.remarks for outcome in outcomes),
        )

    @property
    def cells(self) -> list[str]:
        """The figures."""
        recovery = _NONE if self.recovery_s is None else f"{self.recovery_s:.2f} s"
        return [f"{count:,}" for count in (self.tally.lost, self.tally.repeated, self.tally.misplaced)] + [recovery]


@dataclass(frozen=True)
class Row:
    """A scenario at one load on one kind of Redis, and what was found of each system."""

    scenario: str
    load: str
    redis: str
    systems: dict[str, Found]

    @property
    def faults(self) -> str:
        """What was done; to us, if we were there."""
        return (self.systems.get(OURS) or next(iter(self.systems.values()))).faults

    def cells(self, system: str) -> list[str]:
        """The figures of a system."""
        found = self.systems.get(system)
        return found.cells if found else [_NONE] * len(_FIGURES)


def rows(results: Iterable[Result]) -> list[Row]:
    """In the order of the scenarios' tests. A peer at another load stands beside us where we have a single load."""
    groups: dict[_Key, list[Result]] = {}
    for result in sorted(results, key=lambda result: (result.outcome.system != OURS, result.place)):
        outcome = result.outcome
        key = outcome.scenario, outcome.redis, outcome.load
        if key not in groups and outcome.system != OURS:
            ours = [other for other, found in groups.items() if other[:2] == key[:2] and _by(found, OURS)]
            key = ours[0] if len(ours) == 1 else key
        groups.setdefault(key, []).append(result)
    return [
        Row(scenario, load, redis, {system: Found.of(_by(group, system)) for system in _systems(group)})
        for (scenario, redis, load), group in groups.items()
    ]


def tables(results: Sequence[Result]) -> str:
    """The part of the document that is made from results."""
    peers = [system for system in _systems(results) if system != OURS]
    made = rows(results)
    figures = [*_FIGURES, *chain.from_iterable([f"{peer}: {name}" for name in _FIGURES] for peer in peers)]
    numbered = [[r.scenario, r.load, r.faults, *r.cells(OURS), *chain(*map(r.cells, peers))] for r in made]
    parts = []
    for kind in dict.fromkeys(row.redis for row in made):
        chosen = [cells for row, cells in zip(made, numbered, strict=True) if row.redis == kind]
        head = f"### On {_KINDS.get(kind, kind)}\n\n"
        parts.append(head + _table(["scenario", "load", "faults injected", *figures], chosen))
    if remarks := [
        [row.scenario, found.load, row.redis, system, found.remarks]
        for row in made
        for system, found in row.systems.items()
        if found.remarks
    ]:
        head = "### What else was seen\n\n"
        parts.append(head + _table(["scenario", "load", "Redis", "system", "seen"], remarks))
    parts.append("### The runs\n\n" + _table(["day", "seed", "system", "on"], _runs(results)))
    return "\n".join(parts)


def with_tables(document: str, results: Sequence[Result]) -> str:
    """The document with the tables of these results."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{tables(results)}\n{END}{after}"


def _runs(results: Iterable[Result]) -> list[list[str]]:
    found = dict.fromkeys(
        (result.day, str(result.outcome.seed), result.outcome.software or OURS, result.circumstances)
        for result in results
    )
    return [list(run) for run in sorted(found)]


def _systems(results: Iterable[Result]) -> list[str]:
    return list(dict.fromkeys(result.outcome.system for result in results))


def _by(results: Iterable[Result], system: str) -> list[Result]:
    return [result for result in results if result.outcome.system == system]


def merged(texts: Iterable[str]) -> str:
    """One text: with the least and the most of each number if they differ in nothing else, else each of them once."""
    different = list(dict.fromkeys(text for text in texts if text))
    if len({_NUMBER.sub("0", text) for text in different}) != 1:
        return "; ".join(different)
    columns = iter(zip(*(_NUMBER.findall(text) for text in different), strict=True))
    return _NUMBER.sub(lambda _: _range(next(columns)), different[0])


def _range(numbers: Sequence[str]) -> str:
    ordered = sorted(set(numbers), key=lambda number: float(number.replace(",", "")))
    return " to ".join(dict.fromkeys((ordered[0], ordered[-1])))


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |\n" for cells in lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m faults.table", description=__doc__)
    parser.add_argument("results", type=Path, help="what FAULTS_RESULTS named")
    parser.add_argument("document", type=Path, help="docs/reliability.md")
    given = parser.parse_args()
    given.document.write_text(with_tables(given.document.read_text(), load(given.results)))


if __name__ == "__main__":
    main()
