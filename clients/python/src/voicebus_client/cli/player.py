"""Playing a WAV file by whatever the machine has for that."""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_PLAYERS: tuple[tuple[str, ...], ...] = (
    ("paplay",),
    ("aplay", "-q"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"),
    ("afplay",),
)
_MORE_S = 10.0  # that a player may take beyond the recording's length


@dataclass(frozen=True, slots=True)
class Player:
    """A program that plays a file."""

    command: Sequence[str]

    async def play(self, path: Path, duration_s: float) -> bool:
        """Plays the file to its end; False if the player can't, or hangs."""
        program, *arguments = self.command
        process = await asyncio.create_subprocess_exec(
            *(program, *arguments, str(path)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(duration_s + _MORE_S):
                return await process.wait() == 0
        except TimeoutError:
            return False
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def find_player(which: Callable[[str], str | None] = shutil.which) -> Player | None:
    """The first player on the PATH; None if there is none."""
    for program, *arguments in _PLAYERS:
        if path := which(program):
            return Player((path, *arguments))
    return None
