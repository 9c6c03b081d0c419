"""What the workers of the model have in common: they hold stages, hear words, and renew, as the services do."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

import msgpack
from model.actors import PUBLISH, Process, World

from voicebus.bus.lease import Lease
from voicebus.bus.stages import Stages
from voicebus.chassis.held import Held
from voicebus.contract.errors import LeaseLost, VoicebusError
from voicebus.contract.keys import Stage

CAPACITY = 2


class Holding(Held):
    """A held stage whose waiting ends when the machine says so."""

    def __init__(self, lease: Lease, draining: asyncio.Event) -> None:
        super().__init__(lease, draining)
        self.waiting: asyncio.Future[bool] | None = None

    async def wait(self, timeout_s: float) -> bool:
        """Until woken (True) or tired (False)."""
        if self._woken.is_set():
            self._woken.clear()
            return True
        self.waiting = asyncio.get_running_loop().create_future()
        try:
            return await self.waiting
        finally:
            self.waiting = None

    def wake(self) -> None:
        """There may be mail."""
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(True)
        else:
            super().wake()

    def tire(self) -> None:
        """Nothing came for long."""
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(False)


class Worker(Process, ABC):
    """One worker of a stage."""

    stage: ClassVar[Stage]

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world)
        self.name = name
        self.stages = Stages(self.calls, world.keys, world.settings, PUBLISH, stage=self.stage, worker=name)
        self.held: dict[str, Holding] = {}
        self.words: deque[tuple[str, bytes]] = deque()  # wake-ups on their way: the session a bell rang for, or b"…"
        self.draining = asyncio.Event()
        self._looking = False
        self._writes = 0

    @abstractmethod
    async def serve(self, held: Held) -> None:
        """Works for a session until its stage is given back."""

    @property
    def may_look(self) -> bool:
        """Whether it looks for sessions."""
        return not self._looking and not self.draining.is_set() and len(self.held) < CAPACITY

    def look(self, session_id: str = "") -> None:
        """Tries to lease what waits, or this session."""
        if self.may_look:
            self._looking = True
            self.spawn(self._look(session_id))

    def renew(self, session_id: str) -> None:
        """Keeps a stage."""
        self.spawn(self._renew(self.held[session_id]))

    def drain(self) -> None:
        """Takes nothing new, hands over what it holds."""
        self.draining.set()
        for held in self.held.values():
            held.wake()

    def hear(self) -> None:
        """The next word arrives."""
        rung, word = self.words.popleft()
        if rung:
            self.look(rung)
            return
        kind, raw_id, more = word.split(b"|", 2)
        if (held := self.held.get(raw_id.decode())) is None:
            return
        if kind == b"end":
            held.lose()
        elif kind.startswith(b"cancel:"):
            held.cancel(int(kind[7:]))
        else:
            tell: Callable[[bytes], None] = {
                b"wake": lambda _: held.lease.woken(),
                b"mail": held.lease.bring,
                b"tail": held.lease.bring_tail,
            }[kind]
            tell(more)
            held.wake()

    def mark(self, held: Held, turn: int | None = None) -> dict[str, Any]:
        """An envelope's fields: of which write an event is."""
        self._writes += 1
        write = f"{self.name}/{self._writes}"
        mark = {"stage": self.stage, "token": held.lease.token, "write": write}
        return {"session_id": held.session_id, "agent_type": "a", "turn": turn, "metadata": mark}

    async def _look(self, only: str) -> None:
        try:
            for session_id in [only] if only else await self.stages.waiting(range(self.world.keys.partitions)):
                if session_id not in self.held and len(self.held) < CAPACITY:
                    lease = await self.stages.lease(session_id)
                    if lease:
                        held = self.held[session_id] = Holding(lease, self.draining)
                        held.task = self.spawn(self._own(held))
        except VoicebusError:
            pass
        finally:
            self._looking = False

    async def _own(self, held: Holding) -> None:
        try:
            await self.serve(held)
        except LeaseLost:
            pass
        except VoicebusError:
            with suppress(LeaseLost, VoicebusError):
                await held.lease.hand_over()
        finally:
            if self.held.get(held.session_id) is held:
                del self.held[held.session_id]

    async def _renew(self, held: Holding) -> None:
        try:
            renewal = await held.lease.renew()
        except LeaseLost:
            held.lose()
        except VoicebusError:
            pass
        else:
            for turn in renewal.cancelled:
                held.cancel(turn)
            if renewal.waiting:
                held.wake()


def brought_mail(word: bytes) -> tuple[str, str, str] | None:
    """Session, lease and mail of a wake-up that brings its mail."""
    kind, session_id, more = word.split(b"|", 2)
    if kind != b"mail":
        return None
    token, _, packed = more.partition(b"|")
    mail_id = msgpack.unpackb(packed, raw=True)[0]
    return session_id.decode(), token.decode(), mail_id.decode()
