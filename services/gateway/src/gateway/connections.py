"""The open connections of this process: who owns their tasks, when they write, and how they are sent away."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

import structlog

from gateway.drain import Drain
from gateway.ticks import TICK_S, Act, Acts, Ticks, act_all

_log = structlog.get_logger(__name__)
PACE_S: Final = 0.02  # what is paced comes together
WHILE_S: Final = 0.2  # what can wait comes so late, and together
DOOR_S: Final = 0.002  # so often somebody is let in
THROUGH: Final = 1  # at a time, while others get events
THROUGH_WHEN_CALM: Final = 8
_CALM_S: Final = 0.05  # without any
_CROWD_MOST: Final = 8_192  # who came before waits for some seconds
_FAREWELL_S: Final = 5.0  # for what the last connections leave behind to be put in order


class Leaves(Protocol):
    """A connection, when the process shall go."""

    def leave(self) -> None:
        """Is told once; returns at once."""


class Connections:
    """What the connections of one process share. It must be `open` around them."""

    def __init__(self, drain: Drain) -> None:
        self.ticks = Ticks()
        self._drain = drain
        self._open: set[Leaves] = set()
        self._acting = False
        self._acted_at = 0.0  # loop time
        self._ready: list[Act] = []
        self._paced: list[Act] = []
        self._later: list[Act] = []  # of those that wait, who came last
        self._later_until = 0.0  # loop time; who comes behind it belongs to the next ones
        self._crowd: deque[tuple[Callable[[], bool], Callable[[], object]]] = deque()
        self._door: asyncio.TimerHandle | None = None  # opens again then
        self._leaving = False
        self._tasks = asyncio.TaskGroup()
        self._running = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Tasks can be started while inside."""
        async with self._tasks:
            watching = self._tasks.create_task(self._watch_drain())
            try:
                yield
            finally:
                watching.cancel()
                if self._running:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_FAREWELL_S):
                            await asyncio.wait(self._running)
                for task in self._running:
                    task.cancel()
                self.ticks.close()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs it beside the others. Its errors are its own."""
        task = self._tasks.create_task(_logged(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def let_in(self, is_there: Callable[[], bool], begin: Callable[[], object]) -> bool:
        """Calls it when it is its turn: of a crowd that comes at once, those who are here notice little.

        Who is not there any more by then is passed over. False if too many wait already.
        """
        if len(self._crowd) >= _CROWD_MOST:
            return False
        self._crowd.append((is_there, begin))
        if self._door is None:
            self._open_door()
        return True

    def _open_door(self) -> None:
        loop = asyncio.get_running_loop()
        self._door = loop.call_later(DOOR_S, self._open_door) if self._crowd else None
        through = THROUGH if loop.time() - self._acted_at < _CALM_S else THROUGH_WHEN_CALM
        while self._crowd and through:
            is_there, begin = self._crowd.popleft()
            if is_there():
                begin()
                through -= 1

    def add(self, connection: Leaves) -> None:
        """Is here from now on."""
        self._open.add(connection)
        if self._leaving:
            connection.leave()

    def remove(self, connection: Leaves) -> None:
        """Is not any more."""
        self._open.discard(connection)

    def now(self, who: Acts, act: Callable[[], None]) -> None:
        """Calls it at once, and behind it who wants to be called soon because of it."""
        self._ready.append((who, act))
        if not self._acting:
            self._act()

    def soon(self, who: Acts, act: Callable[[], None]) -> None:
        """Calls it in this round of the loop; who is called may want more calls."""
        if not self._ready and not self._acting:
            asyncio.get_running_loop().call_soon(self._act)
        self._ready.append((who, act))

    def paced(self, who: Acts, act: Callable[[], None]) -> None:
        """As `soon`, but within `PACE_S`, with what comes until then."""
        if not self._paced:
            asyncio.get_running_loop().call_later(PACE_S, self._act_paced)
        self._paced.append((who, act))

    def in_a_while(self, act: Act) -> None:
        """Calls it `WHILE_S` later, give or take a tick, together with others."""
        loop = asyncio.get_running_loop()
        if (time := loop.time()) > self._later_until:
            self._later, self._later_until = [], time + TICK_S
            loop.call_later(WHILE_S, act_all, self._later)
        self._later.append(act)

    def _act(self) -> None:
        self._acting = True
        self._acted_at = asyncio.get_running_loop().time()
        try:
            while self._ready:
                ready, self._ready = self._ready, []
                act_all(ready)
        finally:
            self._acting = False

    def _act_paced(self) -> None:
        paced, self._paced = self._paced, []
        self._ready += paced
        self._act()

    async def _watch_drain(self) -> None:
        await self._drain.started.wait()
        self._leaving = True
        for connection in tuple(self._open):
            connection.leave()


async def _logged(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception:  # noqa: BLE001 - who started it does not wait for it
        _log.exception("task_failed")
