"""What processes and Redis hold, and whether it grows."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median
from typing import Final

from faults.figures import resident_bytes
from support.process_tree import children

MB: Final = 1_000_000
# What may come on top within the second half of a run, by the kind of gauge; other kinds are only shown.
_MAY_GROW: Final[Mapping[str, Callable[[float], float]]] = {
    "rss": lambda level: max(4 * MB, 0.03 * level),
    "fds": lambda level: max(4, 0.05 * level),
    "keys": lambda level: max(20, 0.15 * level),
    "used_memory": lambda level: max(1 * MB, 0.1 * level),
}


@dataclass
class Gauges:
    """Samples by name: `<kind> <of what>`; all have the same times."""

    times_s: list[float] = field(default_factory=list)
    samples: dict[str, list[float]] = field(default_factory=dict)

    def take(self, values: Mapping[str, float]) -> None:
        """The next sample of each."""
        self.times_s.append(asyncio.get_running_loop().time())
        for name, value in values.items():
            self.samples.setdefault(name, []).append(value)

    def line(self) -> str:
        """The newest sample."""
        return ", ".join(f"{name} {_shown(name, values[-1])}" for name, values in self.samples.items())

    def growing(self) -> list[str]:
        """What is not flat over the second half: by the median of all slopes between two samples."""
        found = []
        for name, values in self.samples.items():
            may_grow = _MAY_GROW.get(name.partition(" ")[0])
            half = len(values) // 2
            if may_grow is None or len(values) - half < 3:
                continue
            times_s, later = self.times_s[-len(values) :][half:], values[half:]
            growth = slope(times_s, later) * (times_s[-1] - times_s[0])
            if growth > may_grow(median(later)):
                found.append(f"{name} grew by {_shown(name, growth)} to {_shown(name, later[-1])}")
        return found


def slope(times_s: Sequence[float], values: Sequence[float]) -> float:
    """Per second, after Theil and Sen: a few odd samples do not matter."""
    points = list(zip(times_s, values, strict=True))
    return median((v2 - v1) / (t2 - t1) for (t1, v1), (t2, v2) in combinations(points, 2))


def of_process(name: str, process: int) -> dict[str, float]:
    """The memory and the open files of a process and of those that it has forked."""
    rss = fds = 0.0
    for each in _family(process):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            rss += resident_bytes(each)
            fds += len(os.listdir(f"/proc/{each}/fd"))  # noqa: PTH208 - their names only
    return {f"rss {name}": rss, f"fds {name}": fds}


def _family(process: int) -> list[int]:
    return [process, *(below for child in children(process) for below in _family(child))]


def _shown(name: str, value: float) -> str:
    return f"{value / MB:.1f} MB" if name.startswith(("rss", "used_memory", "file ")) else f"{value:.0f}"
