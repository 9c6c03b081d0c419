"""What a scenario found, as the run's summary and docs/reliability.md show it.

`FAULTS=full` runs the scenarios at their full size, `FAULTS=small` all of them at a small one; without it only those
run that take little time. `SEED` repeats a run's random choices, `FAULTS_RESULTS` names a file that gets one JSON
object per scenario.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest
from faults.tally import Tally

FULL: Final = os.environ.get("FAULTS") == "full"
takes_long: Final = pytest.mark.skipif(not os.environ.get("FAULTS"), reason="takes long: make faults")
SEED: Final = int(os.environ.get("SEED") or random.randrange(10**6))


@dataclass(frozen=True)
class Outcome:
    """One line of the table: what was done to what, and what came of it."""

    scenario: str
    load: str
    faults: str
    tally: Tally
    recovery_s: float | None = None  # the longest that somebody waited for the next event
    remarks: str = ""
    redis: str = ""  # which kind; `record` knows
    seed: int = field(default=SEED)
    system: str = "Voicebus"  # or the one that it is compared with
    software: str = ""  # that system's versions

    @property
    def clean(self) -> bool:
        """Whether all came through, once and in its place."""
        return self.tally == Tally()

    def __str__(self) -> str:
        recovery = "" if self.recovery_s is None else f", worst recovery {self.recovery_s:.2f} s"
        remarks = f"; {self.remarks}" if self.remarks else ""
        system = "" if self.system == "Voicebus" else f"{self.system}: "
        name = f"{system}{self.scenario} [{self.redis}, seed {self.seed}]"
        return f"{name}: {self.load}; {self.faults}: {self.tally}{recovery}{remarks}"


# The fixture `record` shows and keeps it, and fails unless all came through; `record_peer` does not fail.
Record = Callable[[Outcome], None]
