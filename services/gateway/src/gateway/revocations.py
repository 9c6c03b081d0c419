"""Which tokens are void: known in each gateway, so that checking one asks nobody, and told to open connections."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import structlog

from gateway.auth import Caller
from voicebus.bus.bus import Bus
from voicebus.bus.revocations import revocation_of
from voicebus.contract.errors import Refused, VoicebusError

_log = structlog.get_logger(__name__)
_RETRY_S = 0.5
_FORGET_EVERY_S = 3_600.0


class Revocations:
    """Listens while `run` is running; `ready` is set once all that were revoked before are known."""

    def __init__(self, bus: Bus, *, kept_s: int) -> None:
        self._bus = bus
        self._kept_s = kept_s  # longer than any token lasts
        self._void_until: dict[str, int] = {}  # by `user|<sub>` and `login|<sid>`: tokens issued until then, in seconds
        self._watchers: set[Callable[[], None]] = set()
        self._missed = asyncio.Event()
        self._missed.set()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Keeps itself informed, until cancelled."""
        channel = self._bus.keys.revocations
        while True:
            try:
                async with self._bus.subscriptions.listening(channel, self):
                    while True:
                        with suppress(TimeoutError):
                            async with asyncio.timeout(_FORGET_EVERY_S):
                                await self._missed.wait()
                        self._missed.clear()
                        await self._read()
            except VoicebusError as error:
                _log.warning("bus_error", reason=error.message)
                self._missed.set()
                await asyncio.sleep(_RETRY_S)

    async def check(self) -> None:
        """Returns once it is known what is revoked.

        Raises:
            VoicebusError: it isn't yet.
        """
        if not self.ready.is_set():
            raise VoicebusError("bus_unavailable", "It is not known which tokens were revoked.")

    def admit(self, caller: Caller) -> None:
        """Goes on only with a token that was not revoked.

        Raises:
            Refused: `token_revoked`.
        """
        issued_s = -1 if caller.issued_s is None else caller.issued_s
        names = (f"user|{caller.sub}", *([] if caller.login is None else [f"login|{caller.login}"]))
        for name in names:
            if issued_s <= self._void_until.get(name, -2):
                raise Refused("token_revoked")

    @contextmanager
    def watching(self, told: Callable[[], None]) -> Iterator[None]:
        """While inside, `told` is called whenever some tokens became void."""
        self.watch(told)
        try:
            yield
        finally:
            self.unwatch(told)

    def watch(self, told: Callable[[], None]) -> None:
        """From now on `told` is called whenever some tokens became void."""
        self._watchers.add(told)

    def unwatch(self, told: Callable[[], None]) -> None:
        """It is called no more."""
        self._watchers.discard(told)

    def messages(self, payloads: Sequence[bytes]) -> None:
        """Somebody's tokens were revoked."""
        for name, until_s in map(revocation_of, payloads):
            self._learn({name: until_s})

    def lost(self) -> None:
        """Revocations may have been missed."""
        self._missed.set()

    async def _read(self) -> None:
        """What Redis has lost, with the last second before it failed, it gets back."""
        known = dict(self._void_until)
        there = await self._bus.revocations.all()
        oldest_s = time.time() - self._kept_s
        for name, until_s in known.items():
            if until_s < oldest_s:
                self._void_until.pop(name, None)
        self._learn(there)
        self.ready.set()
        lost = {
            name: until_s for name, until_s in known.items() if oldest_s <= until_s and there.get(name, -1) < until_s
        }
        if lost:
            await self._bus.revocations.restore(lost)

    def _learn(self, more: dict[str, int]) -> None:
        fresh = {name: until_s for name, until_s in more.items() if self._void_until.get(name, -2) < until_s}
        self._void_until |= fresh
        if fresh:
            for told in tuple(self._watchers):
                try:
                    told()
                except Exception:  # noqa: BLE001 - the others are told all the same
                    _log.exception("watcher_failed")
