"""Redis behind Sentinel: the bus finds the primary and follows it, and everything takes effect once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast
from uuid import uuid4

import hiredis
import httpx2
import pytest
from integration.bus.ears import Ears
from integration.gateway.here import gateway_here
from support.redis_sentinel import SERVICE, Watched, running_sentinels
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.directory import Sentinels
from voicebus.bus.inbox import Accepted
from voicebus.bus.server import sibling
from voicebus.bus.settings import BusSettings
from voicebus.contract.errors import BusUnavailable
from voicebus.contract.events import User
from voicebus_stack.ports import free_port


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Stays as it is."""
    with running_sentinels(tmp_path_factory.mktemp("sentinel")) as running:
        yield running


@pytest.fixture
def mortals(tmp_path: Path) -> Iterator[Watched]:
    """Servers to kill, and to change places."""
    with running_sentinels(tmp_path) as running:
        yield running


@asynccontextmanager
async def a_bus(url: str, **changes: object) -> AsyncIterator[Bus]:
    settings = BusSettings(redis_url=url, prefix=f"t{uuid4().hex[:8]}", partitions=4, deadline_s=20)
    async with open_bus(replace(settings, **changes)) as bus:  # type: ignore[arg-type]  # the caller knows the fields
        yield bus


async def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def submits(bus: Bus, session_id: str, first: int, last: int) -> list[asyncio.Task[Accepted]]:
    """Texts with these numbers, submitted at once in this order."""
    return [
        asyncio.create_task(bus.inbox.submit(session_id, str(n), agent_type="p", message_id=f"m{n}"))
        for n in range(first, last)
    ]


async def texts_of(bus: Bus, session_id: str) -> list[str]:
    return [event.data.content for event in await events_of(bus, session_id) if isinstance(event, User)]


class Liar(asyncio.Protocol):
    """A sentinel that names this port whatever it is asked."""

    def __init__(self, port: int) -> None:
        self._named = (b"127.0.0.1", b"%d" % port)
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while command := self._reader.gets():
            named = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in self._named)
            self._transport.write(b"*2\r\n" + named if command[0] == b"SENTINEL" else b"+OK\r\n")


@asynccontextmanager
async def a_liar(port: int) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(lambda: Liar(port), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_any_sentinel_that_the_url_names_will_do(watched: Watched) -> None:
    url = f"redis+sentinel://127.0.0.1:{free_port()},{watched.sentinels[2].name}/{SERVICE}"
    async with a_bus(url) as bus:
        session_id = await open_session(bus, "hello")
        assert [server.name for server in bus.servers.all] == [watched.primary().name]
        assert await bus.stages("agent", "w").waiting(range(4)) == [session_id]


async def test_a_service_that_no_sentinel_knows_is_an_error_that_names_it(watched: Watched) -> None:
    url = f"redis+sentinel://{watched.sentinels[0].name}/other"
    with pytest.raises(BusUnavailable, match="knows no service 'other'"):
        async with a_bus(url, deadline_s=0.3):
            pytest.fail("it opened")


async def test_a_sentinel_that_names_a_replica_is_not_believed(watched: Watched) -> None:
    async with a_liar(watched.replica().port) as port:
        with pytest.raises(BusUnavailable, match="is no primary"):
            async with a_bus(f"redis+sentinel://127.0.0.1:{port}/{SERVICE}", deadline_s=0.3):
                pytest.fail("it opened")
        url = f"redis+sentinel://127.0.0.1:{port},{watched.sentinels[0].name}/{SERVICE}"
        async with a_bus(url) as bus:
            assert [server.name for server in bus.servers.all] == [watched.primary().name]


async def test_when_the_primary_dies_its_replica_goes_on(mortals: Watched) -> None:
    dying, replica = mortals.servers
    async with a_bus(mortals.url) as bus:
        session_id, ears = await open_session(bus), Ears()
        async with bus.subscriptions.listening(bus.keys.of(session_id).live, ears):
            await asyncio.gather(*submits(bus, session_id, 0, 5))
            await until(lambda: len(ears.heard) == 5)
            assert await asyncio.to_thread(dying.ask, "WAIT", 1, 5_000) == 1
            dying.kill()
            accepted = await asyncio.gather(*submits(bus, session_id, 3, 10))  # the first two a second time
            assert [entry.repeated for entry in accepted] == [True] * 2 + [False] * 5
            assert await texts_of(bus, session_id) == [str(n) for n in range(10)]
            assert [server.name for server in bus.servers.all] == [replica.name]
            await until(lambda: ears.losses and not bus.subscriptions.deaf)
            await bus.inbox.submit(session_id, "heard", agent_type="p")
            await until(lambda: any(b'"heard"' in message for message in ears.heard))


async def test_a_primary_that_falls_silent_is_left_for_its_replica(mortals: Watched) -> None:
    silent, replica = mortals.servers
    async with a_bus(mortals.url) as bus:
        session_id = await open_session(bus, "before")
        assert await asyncio.to_thread(silent.ask, "WAIT", 1, 5_000) == 1
        os.kill(silent.process.pid, signal.SIGSTOP)
        asked = submits(bus, session_id, 0, 5)
        await until(lambda: [server.name for server in bus.servers.all] == [replica.name])
        async with asyncio.timeout(3):  # and not when the silent one would have been given up
            await asyncio.gather(*asked)
        os.kill(silent.process.pid, signal.SIGCONT)
        assert await texts_of(bus, session_id) == ["before", "0", "1", "2", "3", "4"]


async def test_a_primary_that_was_made_a_replica_sends_its_callers_to_the_new_one(
    mortals: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sentinels, "asked_every_s", None)
    before, after = mortals.servers
    async with a_bus(mortals.url) as bus:
        session_id = await open_session(bus)
        assert await asyncio.to_thread(before.ask, "WAIT", 1, 5_000) == 1
        after.ask("REPLICAOF", "NO", "ONE")
        before.ask("REPLICAOF", "127.0.0.1", after.port)
        asked = submits(bus, session_id, 0, 5)
        await until(lambda: bus.calls._lane(0).waiting)  # they were refused
        assert not any(task.done() for task in asked)
        mortals.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)  # it learns of what has happened
        await asyncio.gather(*asked)
        assert await texts_of(bus, session_id) == [str(n) for n in range(5)]
        assert [server.name for server in bus.servers.all] == [mortals.primary().name]


async def test_a_primary_that_was_replaced_behind_its_back_is_left_without_a_call(mortals: Watched) -> None:
    before, after = mortals.servers
    async with a_bus(mortals.url) as bus:
        assert [server.name for server in bus.servers.all] == [before.name]
        mortals.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        await until(lambda: [server.name for server in bus.servers.all] == [after.name])
        await until(lambda: not bus.subscriptions.deaf)


async def test_a_gateway_is_ready_with_such_a_url(watched: Watched) -> None:
    async with gateway_here(watched.url) as gateway, httpx2.AsyncClient(base_url=gateway.url) as http:
        async with asyncio.timeout(15):
            while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - it tells who asks
                await asyncio.sleep(0.05)
        assert (await http.get("/ai/health")).json()["parts"]["redis"] == "ok"


@pytest.mark.parametrize(
    ("url", "sentinels", "primary"),
    [
        (
            "redis+sentinel://a,b:1/voice/2",
            ["redis://a:26379", "redis://b:1"],
            "redis://p:6379/2",
        ),
        (
            "redis+sentinel://a/voice?db=2&username=me&password=own",
            ["redis://a:26379"],
            "redis://p:6379/0?db=2&username=me&password=own",
        ),
        (
            "rediss+sentinel://me:own@a:1?ssl_cert_reqs=none&sentinel_password=p%2Fw",
            ["rediss://:p%2Fw@a:1?ssl_cert_reqs=none"],
            "rediss://me:own@p:6379/0?ssl_cert_reqs=none",
        ),
    ],
)
def test_login_database_and_options_are_the_primarys(url: str, sentinels: list[str], primary: str) -> None:
    directory = Sentinels(url)
    assert [sentinel.url for sentinel in directory._sentinels] == sentinels
    assert sibling(directory._like, "p", 6379).url == primary
