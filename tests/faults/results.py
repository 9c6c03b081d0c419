"""The results of runs: a file with one JSON object per outcome, named by `FAULTS_RESULTS`."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from faults.scenario import Outcome
from faults.tally import Tally

import voicebus
from voicebus_stack.redis_server import redis_executable

_OURS: Final = f"Voicebus {voicebus.__version__}, Python {platform.python_version()}"


@dataclass(frozen=True)
class Result:
    """An outcome, and where and when it was found."""

    outcome: Outcome
    place: tuple[str, int]  # the test's file and line, by which the table is sorted
    day: str  # 2026-11-22
    circumstances: str  # the machine and Redis's version

    def line(self) -> str:
        """As it stands in the file."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, line: str) -> Self:
        """From a line of the file."""
        raw: dict[str, Any] = json.loads(line)
        fields = raw["outcome"]
        outcome = Outcome(**fields | {"tally": Tally(**fields["tally"])})
        return cls(outcome, (raw["place"][0], raw["place"][1]), raw["day"], raw["circumstances"])


def keep(outcome: Outcome, place: tuple[str, int]) -> None:
    """Appends it to the file, if one is named."""
    if path := os.environ.get("FAULTS_RESULTS"):
        outcome = outcome if outcome.software else replace(outcome, software=_OURS)
        result = Result(outcome, place, datetime.now(UTC).date().isoformat(), circumstances())
        with Path(path).open("a") as file:
            file.write(result.line() + "\n")


def load(path: Path) -> list[Result]:
    """All of a file."""
    return [Result.of(line) for line in path.read_text().splitlines()]


@cache
def circumstances() -> str:
    """What everybody's figures depend on, in words."""
    version = subprocess.run([redis_executable(), "--version"], capture_output=True, text=True, check=True).stdout
    redis = next(word.removeprefix("v=") for word in version.split() if word.startswith("v="))
    return f"Redis {redis}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"
