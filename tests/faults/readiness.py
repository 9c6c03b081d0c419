"""What `/readyz` of gateways says while something breaks."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx2

_PAUSE_S: Final = 0.05  # on average
_ASKERS: Final = 2  # of each gateway: an answer to what was asked just before a fault may take as long as the fault
_LATEST_S: Final = 30  # until all are ready again


class Readiness:
    """Answers by gateway and fault. One that does not answer counts as 0."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.late = False  # somebody was not ready again in time
        self._ports = ports
        self._faults: list[list[Counter[int]]] = []
        self._latest = [(0, 0.0)] * len(ports)  # the answer, and when it was asked for
        self._news = asyncio.Event()

    def fault(self) -> None:
        """A fault begins: what was said before says nothing of it."""
        self._faults.append([Counter() for _ in self._ports])

    @property
    def told(self) -> bool:
        """Whether, of each fault, each of them said at some time that it is not ready."""
        return bool(self._faults) and all(answers[503] for fault in self._faults for answers in fault)

    @property
    def stayed(self) -> bool:
        """Whether, of each fault, each of them said that it is ready, and never that it is not."""
        return bool(self._faults) and all(
            answers[200] and not answers[503] for fault in self._faults for answers in fault
        )

    async def all_ready(self) -> None:
        """Returns when each of them says so that was asked from now on, or the time is over: then they are `late`."""
        since_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(0 if self.late else _LATEST_S):
                while any(status != 200 or asked_s < since_s for status, asked_s in self._latest):
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            self.late = True

    async def watch(self, number: int) -> None:
        """Asks one of them again and again until cancelled."""
        loop, port = asyncio.get_running_loop(), self._ports[number]
        async with httpx2.AsyncClient(timeout=5) as http:
            while True:
                asked_s, faults = loop.time(), len(self._faults)
                try:
                    status = (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code
                except httpx2.HTTPError:
                    status = 0
                if faults and faults == len(self._faults):
                    self._faults[-1][number][status] += 1
                if asked_s > self._latest[number][1]:
                    self._latest[number] = (status, asked_s)
                    self._news.set()
                await asyncio.sleep(random.uniform(0, 2 * _PAUSE_S))


@asynccontextmanager
async def readiness(ports: Sequence[int]) -> AsyncIterator[Readiness]:
    """They are asked while inside."""
    made = Readiness(ports)
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(made.watch(number)) for number in range(len(ports)) for _ in range(_ASKERS)]
        try:
            yield made
        finally:
            for task in watching:
                task.cancel()
