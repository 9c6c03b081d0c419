"""The life cycle of a worker: finds sessions with mail, leases them, renews, hears cancellations, drains.

Step by step: a doorbell (or a look once a second) names a session; a worker with room tries to lease its stage, the
sooner the less it has to do; while it owns the stage it renews the lease at a third of its time; when it is told to
stop it takes nothing new and hands over what it holds at the next boundary.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice

import structlog

from voicebus.bus.bus import Bus
from voicebus.bus.lease import Lease
from voicebus.bus.subscriptions import Listener
from voicebus.chassis import metrics
from voicebus.chassis.held import Held
from voicebus.contract.errors import BusFull, BusUnavailable, LeaseLost, VoicebusError
from voicebus.contract.keys import Stage

_log = structlog.get_logger(__name__)

Serve = Callable[[Held], Awaitable[None]]  # owns the stage until it has released it or handed it over
_LOOK_EVERY_S = 1.0
_DELAY_AT_FULL_LOAD_S = 0.01
_RUNG_MAX = 4_096
_WAITING_MOST = 16  # of a partition, that one look tells
_HAND_OVER_AGAIN_S = 0.5
_LAST_WORD_S = 2.0


class Worker:
    """Runs one stage for any number of sessions up to its capacity."""

    def __init__(self, bus: Bus, stage: Stage, name: str, serve: Serve, *, capacity: int) -> None:
        self._bus = bus
        self._stages = bus.stages(stage, name)
        self._stage = stage
        self._serve = serve
        self._capacity = capacity
        self._held: dict[str, Held] = {}
        self._rung: dict[str, None] = {}  # sessions that may wait for a worker, in the order in which they rang
        self._lost: set[str] = set()  # of which it lost the lease, and has not heard yet that somebody else has it
        self._look = asyncio.Event()
        self.draining = asyncio.Event()
        self._metrics = metrics.StageMetrics(stage)
        self._metrics.capacity.set(capacity)

    @property
    def name(self) -> str:
        """What no other worker is called."""
        return self._stages.worker

    @property
    def held(self) -> int:
        """How many sessions it has."""
        return len(self._held)

    @property
    def capacity(self) -> int:
        """How many it takes at most."""
        return self._capacity

    @property
    def load(self) -> float:
        """0 is idle, 1 is full."""
        return len(self._held) / self._capacity

    async def run(self, *, drain_s: float) -> None:
        """Works until `drain` was called and what is under way is handed over, or `drain_s` has passed."""
        keys = self._bus.keys
        bell, post = _Bell(self), _Post(self)
        channels: dict[str, Listener] = {keys.bell(p, self._stage): bell for p in range(keys.partitions)}
        channels |= {keys.worker(p, self._stages.worker): post for p in range(keys.partitions)}
        await self._bus.subscriptions.add(channels)
        _log.info("worker_ready", stage=self._stage, worker=self._stages.worker, capacity=self._capacity)
        async with asyncio.TaskGroup() as group:
            finding, renewing = group.create_task(self._find(group)), group.create_task(self._renew())
            await self.draining.wait()
            over_s = asyncio.get_running_loop().time() + drain_s
            await asyncio.wait([finding], timeout=drain_s)  # a lease that it has got needs an owner
            finding.cancel()
            _log.info("worker_draining", stage=self._stage, held=len(self._held))
            for held in self._held.values():
                held.wake()
            tasks = [held.task for held in self._held.values() if held.task]
            if tasks:
                await asyncio.wait(tasks, timeout=max(0, over_s - asyncio.get_running_loop().time()))
            for task in (*tasks, renewing):
                task.cancel()

    def drain(self) -> None:
        """Takes nothing new, hands over what it holds, then `run` returns."""
        self.draining.set()
        self._look.set()

    def rung(self, session_id: str) -> None:
        """A doorbell rang for the session."""
        self._note(session_id)
        self._look.set()

    def told(self, word: str, session_id: str, more: bytes) -> None:
        """Word for the stage's owner: `wake`, `mail` or `tail` with what waits, `cancel:<turn>` or `end`."""
        held = self._held.get(session_id)
        if held is None:
            return
        if word == "wake":
            held.lease.woken()
            held.wake()
        elif word == "mail":
            held.lease.bring(more)
            held.wake()
        elif word == "tail":
            held.lease.bring_tail(more)
            held.wake()
        elif word == "end":
            held.lose()
        else:
            held.cancel(int(word.removeprefix("cancel:")))

    def missed(self) -> None:
        """Words may have been lost: look at everything again."""
        for held in self._held.values():
            held.wake()
        self._look.set()

    async def _find(self, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        next_look = loop.time()
        while not self.draining.is_set():
            try:
                async with asyncio.timeout_at(next_look):
                    await self._look.wait()
            except TimeoutError:
                pass
            self._look.clear()
            try:
                if loop.time() >= next_look:
                    try:
                        await self._look_around()
                    finally:  # it may have been waited for
                        next_look = loop.time() + _LOOK_EVERY_S
                while self._rung and self._has_room() and not self.draining.is_set() and loop.time() < next_look:
                    await self._take(group)
            except VoicebusError as error:
                _log.warning("bus_error", stage=self._stage, reason=error.message)

    async def _look_around(self) -> None:
        """Whom nobody rang for is noted. Who rang before and does not wait is another worker's by now.

        But a lease that a new epoch has made void does not wait before its time is over, and may be taken at once.
        """
        partition, before = self._bus.keys.partition, tuple(self._rung)
        waiting = await self._stages.waiting(range(self._bus.keys.partitions), most=_WAITING_MOST)
        found = Counter(map(partition, waiting))
        for session_id in set(before).difference(waiting):
            if found[partition(session_id)] < _WAITING_MOST:  # else there are more than were told
                self._rung.pop(session_id, None)
        self._note(*waiting, *self._lost)

    def _note(self, *session_ids: str) -> None:
        for session_id in session_ids:
            if len(self._rung) < _RUNG_MAX:
                self._rung.setdefault(session_id)

    def _has_room(self) -> bool:
        """Whether another session can be taken; if not, as many as there are without mail are to make room."""
        if len(self._held) < self._capacity:
            return True
        resting = (held for held in self._held.values() if held.resting)
        for held in islice(resting, len(self._rung)):
            held.wake()
        return False

    async def _take(self, group: asyncio.TaskGroup) -> None:
        """Tries to lease as many as there is room for. The others keep their places until there is."""
        wanted = list(islice(self._rung, self._capacity - len(self._held)))
        for session_id in wanted:
            del self._rung[session_id]
            if held := self._held.get(session_id):
                held.rang = True
        wanted = [session_id for session_id in wanted if session_id not in self._held]
        if not wanted:
            return
        await asyncio.sleep(self.load * _DELAY_AT_FULL_LOAD_S)
        attempts = [self._stages.lease(session_id) for session_id in wanted]
        failures = []
        for session_id, lease in zip(wanted, await asyncio.gather(*attempts, return_exceptions=True), strict=True):
            if isinstance(lease, BaseException):
                failures.append(lease)
                continue
            self._lost.discard(session_id)
            if lease is not None:
                self._metrics.leases.inc()
                if lease.taken_over:
                    self._metrics.takeovers.inc()
                held = Held(lease, self.draining, lambda: self.load)
                self._held[lease.session_id] = held
                held.task = group.create_task(self._own(held, lease))
        self._metrics.held.set(len(self._held))
        if failures:
            raise failures[0]

    async def _own(self, held: Held, lease: Lease) -> None:
        try:
            with structlog.contextvars.bound_contextvars(session=held.session_id):
                await self._serve_or_give_up(held, lease)
        finally:
            if self._held.get(held.session_id) is held:
                del self._held[held.session_id]
            self._metrics.held.set(len(self._held))
            if held.lost:
                self._lost.add(held.session_id)
            if held.lost or held.rang:
                self._note(held.session_id)
            self._look.set()

    async def _serve_or_give_up(self, held: Held, lease: Lease) -> None:
        try:
            await self._serve(held)
        except asyncio.CancelledError:
            if held.draining and not held.lost:  # it took too long: the next owner goes on where it stands
                with suppress(LeaseLost, VoicebusError, TimeoutError):
                    async with asyncio.timeout(_LAST_WORD_S):
                        await lease.hand_over()
            raise
        except LeaseLost:
            self._note_lost(held)
        except VoicebusError as error:
            _log.warning("stage_gave_up", stage=self._stage, code=error.code, reason=error.message)
            await self._hand_over(lease, failed=not isinstance(error, BusUnavailable | BusFull))
        except Exception:  # noqa: BLE001 - one session's failure must not reach the others; its mail is tried again
            _log.exception("stage_failed", stage=self._stage)
            await self._hand_over(lease, failed=True)

    def _note_lost(self, held: Held) -> None:
        if not held.lost:  # nor is it its session's end
            held.lost = True
            self._metrics.leases_lost.inc()
            _log.info("lease_lost", stage=self._stage, session=held.session_id)

    async def _hand_over(self, lease: Lease, *, failed: bool) -> None:
        # The next attempt, here or elsewhere, comes a little later; a mail that fails again and again is given up.
        # While Redis takes no writes this one keeps trying: else the attempt would count that it has cut short.
        pause_s = 0.1
        while True:
            await asyncio.sleep(pause_s)
            try:
                await lease.hand_over(failed=failed)
            except (BusFull, BusUnavailable):
                pause_s = _HAND_OVER_AGAIN_S
            except (LeaseLost, VoicebusError):
                return
            else:
                return

    async def _renew(self) -> None:
        every_s = self._bus.settings.lease_ms / 3_000
        while True:
            await asyncio.sleep(every_s)
            await asyncio.gather(*(self._renew_one(held) for held in list(self._held.values())))

    async def _renew_one(self, held: Held) -> None:
        try:
            renewal = await held.lease.renew()
        except LeaseLost:
            self._note_lost(held)
            held.lose()
        except VoicebusError as error:
            _log.warning("renewal_failed", stage=self._stage, session=held.session_id, reason=error.message)
        else:
            for turn in renewal.cancelled:
                held.cancel(turn)
            if renewal.waiting:
                held.wake()


class _Bell:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def messages(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            self._worker.rung(payload.decode())

    def lost(self) -> None:
        self._worker.missed()


class _Post:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def messages(self, payloads: Sequence[bytes]) -> None:
        for payload in payloads:
            word, session_id, more = payload.split(b"|", 2)
            self._worker.told(word.decode(), session_id.decode(), more)

    def lost(self) -> None:
        self._worker.missed()
