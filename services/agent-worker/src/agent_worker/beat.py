"""Moments that all turns of a worker share: what they write in the same one travels to Redis together."""

import asyncio
from collections.abc import Callable
from math import floor
from typing import Final

EVERY_S: Final = 0.02


class Beat:
    """Calls whoever asked for it, all at the same moment, at most `EVERY_S` later."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def call(self, act: Callable[[], None]) -> None:
        """Calls it once, at the next moment."""
        if not self._waiting:
            loop = asyncio.get_running_loop()
            loop.call_at((floor(loop.time() / EVERY_S) + 1) * EVERY_S, self._strike)
        self._waiting.append(act)

    def _strike(self) -> None:
        waiting, self._waiting = self._waiting, []
        for act in waiting:
            act()
