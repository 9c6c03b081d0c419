"""What `/readyz` of gateways says while something breaks."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx2

_PAUSE_S: Final = 0.05


class Readiness:
    """Answers by gateway. One that does not answer counts as 0."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.answers = [Counter[int]() for _ in ports]
        self._ports = ports
        self._all_ready = asyncio.Event()
        self._latest = dict.fromkeys(ports, 0)

    @property
    def told(self) -> bool:
        """Whether each of them said at some time that it is not ready."""
        return all(answers[503] for answers in self.answers)

    async def all_ready(self) -> None:
        """Returns when each of them says so.

        Raises:
            TimeoutError: not within half a minute.
        """
        self._all_ready.clear()
        async with asyncio.timeout(30):
            await self._all_ready.wait()

    async def watch(self, number: int) -> None:
        """Asks one of them again and again until cancelled."""
        port = self._ports[number]
        async with httpx2.AsyncClient(timeout=5) as http:
            while True:
                try:
                    status = (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code
                except httpx2.HTTPError:
                    status = 0
                self.answers[number][status] += 1
                self._latest[port] = status
                if set(self._latest.values()) == {200}:
                    self._all_ready.set()
                else:
                    self._all_ready.clear()
                await asyncio.sleep(_PAUSE_S)


@asynccontextmanager
async def readiness(ports: Sequence[int]) -> AsyncIterator[Readiness]:
    """They are asked while inside."""
    made = Readiness(ports)
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(made.watch(number)) for number in range(len(ports))]
        try:
            yield made
        finally:
            for task in watching:
                task.cancel()
