"""Moments at which many clients act together: a frame of sound that is handled by itself costs twice as much.

Every few milliseconds the sockets of all who speak are read, and what has come goes to the bus. The fewer they are, the
sooner: to wait for others pays only where there are some.
"""

import asyncio
import selectors
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

_log = structlog.get_logger(__name__)
TICK_S: Final = 0.005  # at most
_FULL: Final = 400  # sockets, from which on it is as long
_LEAST_S: Final = 0.001


class Acts(Protocol):
    """Who is called."""

    def fail(self) -> None:
        """An error that nobody expected; called while it is handled."""


Act = tuple[Acts, Callable[[], None]]  # who acts again and again has one: those on their way are the collector's work


def contained(who: Acts, act: Callable[[], None]) -> None:
    """Calls it; what it raises is one client's failure."""
    try:
        act()
    except Exception:  # noqa: BLE001 - and nobody else's
        failed(who)


def failed(who: Acts) -> None:
    """Tells it; called while the error is handled. Raises nothing."""
    try:
        who.fail()
    except Exception:  # noqa: BLE001 - one client's failure is its own
        _log.exception("failure_failed")


def act_all(acts: Sequence[Act]) -> None:
    """One after the other, each contained."""
    for who, act in acts:
        contained(who, act)


def tick_s(sockets: int) -> float:
    """How long a tick is where so many are read."""
    return min(max(TICK_S * sockets / _FULL, _LEAST_S), TICK_S)


class Ticks:
    """Of one process. There are none while nobody speaks."""

    def __init__(self) -> None:
        self._sockets: selectors.BaseSelector | None = None  # once there is one
        self._acts: list[Act] = []
        self._next: asyncio.TimerHandle | None = None

    def add(self, socket: int, who: Acts, read: Callable[[], None]) -> None:
        """Calls it at each tick at which this socket can be read; nobody else may read it meanwhile."""
        if self._sockets is None:
            self._sockets = selectors.DefaultSelector()
        self._sockets.register(socket, selectors.EVENT_READ, (who, read))
        self._schedule()

    def remove(self, socket: int) -> None:
        """Before the socket is closed."""
        if self._sockets is not None:
            self._sockets.unregister(socket)

    def act(self, act: Act) -> None:
        """Calls it at the next tick: at this one, for those whose socket was just read."""
        self._acts.append(act)
        self._schedule()

    def close(self) -> None:
        """Nobody is left."""
        if self._next is not None:
            self._next.cancel()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    def _schedule(self) -> None:
        if self._next is None:
            sockets = len(self._sockets.get_map()) if self._sockets is not None else 0
            self._next = asyncio.get_running_loop().call_later(tick_s(sockets), self._tick)

    def _tick(self) -> None:
        self._next = None
        for key, _ in self._sockets.select(0) if self._sockets else ():
            contained(*key.data)
        acts, self._acts = self._acts, []
        act_all(acts)
        if self._acts or (self._sockets is not None and self._sockets.get_map()):
            self._schedule()
