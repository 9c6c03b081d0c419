"""Faults at a chosen boundary: where a worker's call for a session goes to Redis, or its answer comes back.

Only there Redis has changed or not, so whoever strikes at each of them has struck at every moment that matters. Two
calls are none: `renew` comes by the clock, between any two others, and moves nothing but the lease's expiry, which a
dead worker lets pass anyway; `handover` comes only from a worker that drains or has failed, as others tell.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from faults.proxy import Pair
from faults.redis_way import RedisWay, names

from voicebus.bus.scripts import ScriptName
from voicebus.contract.keys import Stage

WRITING: Final[tuple[ScriptName, ...]] = ("emit", "words")
OWNING: Final[tuple[ScriptName, ...]] = ("lease", "next", "emit", "words", "release")
NEVER: Final = 0  # the number of no call


@dataclass
class Boundary:
    """A call of the worker that has the session's stage: the one of this number, or the first with these bytes in it.

    `behind` it: Redis has done it, and the answer does not come. Before it the call is `held`, or goes `through`.
    """

    stage: Stage
    at: int | bytes
    behind: bool = False
    through: bool = False
    scripts: tuple[ScriptName, ...] = OWNING
    holding: bytes = b""  # only calls with this in it count
    without: tuple[bytes, ...] = ()  # and with none of these
    way: RedisWay | None = None  # of the worker that was struck
    call: bytes = b""  # at which it was struck
    held: Pair | None = None
    answer: bytes = b""  # to the call that was held up
    calls: Counter[int] = field(default_factory=Counter)  # by way
    _answering: Pair | None = None

    def __str__(self) -> str:
        at = self.at if isinstance(self.at, int) else self.at.decode()
        return f"{self.stage}, {'behind' if self.behind else 'before'} call {at}"

    @property
    def most(self) -> int:
        """How many calls there were of the worker that made most of them."""
        return max(self.calls.values(), default=0)

    def reached(self, session_id: str, way: RedisWay, data: bytes) -> bool:
        """Whether these commands hold the call."""
        if self.way is not None or way.name != self.stage or self.holding not in data:
            return False
        if not names(session_id, *self.scripts)(data) or any(each in data for each in self.without):
            return False
        self.calls[id(way)] += 1
        return self.at in data if isinstance(self.at, bytes) else self.calls[id(way)] == self.at

    def let_go(self) -> None:
        """The call that was held up reaches Redis after all."""
        assert self.held
        if not self.held.server.transport.is_closing():
            self.held.server.transport.write(self.call)


class Boundaries:
    """Watches workers on their ways to Redis; `strike` is called once at each boundary."""

    def __init__(self) -> None:
        self.strike: Callable[[RedisWay], object] = lambda way: None
        self._of: list[tuple[str, Boundary]] = []

    def set(self, session_id: str, *boundaries: Boundary) -> None:
        """This session's workers are to be struck."""
        self._of += ((session_id, boundary) for boundary in boundaries)

    def up(self, way: RedisWay, pair: Pair, data: bytes) -> bytes:
        """Before the call, or only noting that its answer is to be swallowed."""
        for session_id, boundary in self._of:
            if boundary.reached(session_id, way, data):
                boundary.way, boundary.call = way, data
                if boundary.behind:
                    boundary._answering = pair
                    return data
                self.strike(way)
                if boundary.through:
                    return data
                boundary.held = pair
                return b""
        return data

    def down(self, way: RedisWay, pair: Pair, data: bytes) -> bytes:
        """Behind the call."""
        for _, boundary in self._of:
            if boundary.held is pair:
                boundary.answer = boundary.answer or data
            if boundary._answering is pair:
                boundary._answering = None
                self.strike(way)
                return b""
        return data
