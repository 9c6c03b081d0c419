"""The workers' side of the bus: which sessions wait, and who gets them."""

import asyncio
from collections.abc import Iterable
from uuid import uuid4

from voicebus.bus.calls import Calls
from voicebus.bus.lease import Lease
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import Keys, Stage


class Stages:
    """One stage as one worker sees it."""

    def __init__(
        self, calls: Calls, keys: Keys, settings: BusSettings, publish: str, *, stage: Stage, worker: str
    ) -> None:
        self._calls = calls
        self._keys = keys
        self._settings = settings
        self._publish = publish
        self._stage: Stage = stage
        self.worker = worker

    async def waiting(self, partitions: Iterable[int], *, most: int = 16) -> list[str]:
        """Sessions of these partitions that wait for a worker, or whose lease has expired (server time)."""
        ready = [self._keys.ready(partition, self._stage) for partition in partitions]
        found = await asyncio.gather(*(self._calls.script("due", (key,), self._publish, "", most) for key in ready))
        return [session_id.decode() for due in found for session_id in due]

    async def lease(self, session_id: str) -> Lease | None:
        """Tries to become the owner of the session's stage; None if it isn't free."""
        k = self._keys.of(session_id)
        channel = self._keys.worker(self._keys.partition(session_id), self.worker)
        reply = await self._calls.script(
            "lease",
            (k.session, k.ready(self._stage)),
            self._publish,
            "",
            self._stage,
            channel,
            uuid4().hex,
            self._settings.lease_ms,
        )
        if reply[0] != b"ok":
            return None
        token, cursor, note, joined, late = (part.decode() for part in reply[1:])
        return Lease(
            self._calls,
            k,
            self._settings,
            self._publish,
            stage=self._stage,
            token=token,
            cursor=cursor,
            note=note,
            joined=joined,
            taken_over=late == "late",
        )
