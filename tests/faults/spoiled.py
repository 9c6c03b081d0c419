"""What engines are told to suffer; `poison/sitecustomize.py` has them suffer it."""

import json
import os
from pathlib import Path
from typing import Final

_POISON: Final = Path(__file__).parent / "poison"


class Moods:
    """A file of words and what the engines do on them; nothing at first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._moods: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """For the workers."""
        before = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([str(_POISON), *([before] if before else [])])
        return {"PYTHONPATH": path, "POISON": str(self._file)}

    def spoil(self, words: str, mood: str) -> None:
        """From now on an engine suffers this on these words."""
        self._moods[words] = mood
        self._write()

    def mend(self, words: str) -> None:
        """It does not any more."""
        del self._moods[words]
        self._write()

    def suffered(self, mood: str) -> int:
        """How often an engine has suffered so."""
        count = self._file.with_name(f"{self._file.name}.{mood}")
        return count.stat().st_size if count.exists() else 0

    def _write(self) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._moods))
        new.replace(self._file)
