"""A connection to Redis that hears nothing any more: the gateway says so, mends it, and nobody misses anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from urllib.parse import urlsplit

import httpx2
import pytest
from integration.gateway.here import gateway_here
from support.processes import RunningGateway
from support.sessions import open_session
from support.wire import Wire, wire

from voicebus.bus.bus import Bus
from voicebus.bus.subscriptions import Subscriptions

PROBE_S = 0.2


class Proxy:
    """Stands before Redis. While `deaf`, who subscribes hears nothing; with `lasting` nothing ever again."""

    def __init__(self, port: int, *, lasting: bool) -> None:
        self.deaf = False
        self._lasting = lasting
        self.lost = 0  # packets
        self._port = port
        self._writers = set[asyncio.StreamWriter]()
        self._ended = asyncio.Semaphore(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, to_redis}
        subscribes = deaf = False

        async def there() -> None:
            nonlocal subscribes
            while data := await reader.read(65_536):
                subscribes = subscribes or b"SUBSCRIBE" in data
                to_redis.write(data)
            to_redis.close()

        async def back() -> None:
            nonlocal deaf
            while data := await from_redis.read(65_536):
                deaf = (deaf and self._lasting) or (self.deaf and subscribes)
                if deaf:
                    self.lost += 1
                else:
                    writer.write(data)
            writer.close()

        with suppress(ConnectionError):
            await asyncio.gather(there(), back())
        self._ended.release()

    async def close(self) -> None:
        """Drops every connection."""
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(len(self._writers) // 2):
            await self._ended.acquire()


@asynccontextmanager
async def proxy_of(redis_url: str, *, lasting: bool) -> AsyncIterator[tuple[Proxy, str]]:
    """Yields it with the URL that leads through it."""
    proxy = Proxy(urlsplit(redis_url).port or 0, lasting=lasting)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        try:
            yield proxy, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        finally:
            await proxy.close()


async def readiness(gateway: RunningGateway, wanted: int) -> tuple[int, dict[str, str]]:
    """The status as soon as it is as wanted, or what it still is after some seconds; and what is said of the parts."""
    until = monotonic() + 10
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        while True:
            answer = await http.get("/readyz")
            if answer.status_code == wanted or monotonic() > until:
                return answer.status_code, answer.json()["parts"]
            await asyncio.sleep(PROBE_S / 10)


async def contents(client: Wire, count: int) -> list[str]:
    """What the next messages say; fewer if no more come for some seconds."""
    found = list[str]()
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            while len(found) < count:
                found.append((await client.receive())["data"]["content"])
    return found


@pytest.mark.parametrize("lasting", [True, False], ids=["for good", "for a moment"])
async def test_a_deaf_gateway_is_not_ready_and_reads_what_it_missed_when_it_hears_again(
    redis_url: str, gateway_bus: Bus, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    monkeypatch.setitem(Subscriptions.__init__.__kwdefaults__, "probe_s", PROBE_S)  # type: ignore[arg-type]
    session_id = await open_session(gateway_bus)
    async with (
        proxy_of(redis_url, lasting=lasting) as (proxy, url),
        gateway_here(url) as gateway,
        wire(gateway, session_id) as client,
    ):
        await client.until("welcome")
        assert (await readiness(gateway, 200))[0] == 200
        await gateway_bus.inbox.submit(session_id, "heard", agent_type="personal")
        assert await contents(client, 1) == ["heard"]

        proxy.deaf = True
        for n in range(5):
            await gateway_bus.inbox.submit(session_id, f"missed {n}", agent_type="personal")
        status, parts = await readiness(gateway, 503)
        assert (status, parts["redis"], parts["gateway"]) == (503, "ok", "ok")
        assert parts["subscriptions"] == "Published messages do not arrive."
        assert proxy.lost > 0
        assert [message["type"] for message in client.seen] == ["welcome", "user"]

        proxy.deaf = False
        assert await contents(client, 5) == [f"missed {n}" for n in range(5)]
        assert (await readiness(gateway, 200))[0] == 200
        await gateway_bus.inbox.submit(session_id, "heard again", agent_type="personal")
        assert await contents(client, 1) == ["heard again"]
    assert [message["seq"] for message in client.seen[1:]] == list(range(2, 9))
