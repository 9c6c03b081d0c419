"""Redis stalls, dies and comes back: calls wait for it, listeners are told that they may have missed something."""

import asyncio
import os
import resource
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import redis
from support.redis_cluster import serve
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.link import Link
from voicebus.bus.settings import BusSettings
from voicebus.bus.wire import WireLost, make_pool, pack
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.worker import Worker
from voicebus.contract import events, payloads
from voicebus.contract.errors import BusFull, BusUnavailable
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession
from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import redis_command, wait_for_port


class Server:
    """A Redis that can be stopped, killed and started again with its data."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = serve(redis_command(self.port, self._folder))
        wait_for_port(self.port)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def limit_file(self, size: int) -> None:
        """Its file may not grow beyond this, as when its disk is full."""
        assert self._process is not None
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    @contextmanager
    def running(self) -> Iterator["Server"]:
        self.start()
        try:
            yield self
        finally:
            self.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path).running() as running:
        yield running


@asynccontextmanager
async def a_bus(server: Server, *, deadline_s: float = 20) -> AsyncIterator[Bus]:
    settings = BusSettings(redis_url=f"redis://127.0.0.1:{server.port}/0", partitions=4, deadline_s=deadline_s)
    async with open_bus(settings) as bus:
        yield bus


class Ears:
    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.losses = 0
        self.something = asyncio.Event()

    def messages(self, payloads: Sequence[bytes]) -> None:
        self.heard += payloads
        self.something.set()

    def lost(self) -> None:
        self.losses += 1
        self.something.set()

    async def wait(self) -> None:
        async with asyncio.timeout(15):
            await self.something.wait()
        self.something.clear()


async def test_what_was_asked_while_redis_restarts_takes_effect_once(server: Server) -> None:
    async with a_bus(server) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        await asyncio.sleep(1.1)  # appendfsync everysec: what came before is on disk
        server.kill()
        asked = asyncio.gather(
            *(bus.inbox.submit(session.session_id, f"t{n}", agent_type="p", message_id=f"m{n}") for n in range(5))
        )
        await asyncio.to_thread(server.start)
        accepted = await asked
        assert [a.turn for a in accepted] == [1, 2, 3, 4, 5]
        assert [e.type for e in await events_of(bus, session.session_id)] == ["session_start"] + ["user"] * 5


async def test_a_stalled_redis_repeats_nothing(server: Server) -> None:
    async with a_bus(server) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        server.signal(signal.SIGSTOP)
        asked = asyncio.gather(
            *(bus.inbox.submit(session.session_id, f"t{n}", agent_type="p", message_id=f"m{n}") for n in range(5))
        )
        await asyncio.sleep(6)  # longer than the socket's time-out: the pipeline goes out a second time
        server.signal(signal.SIGCONT)
        await asked
        assert [e.type for e in await events_of(bus, session.session_id)] == ["session_start"] + ["user"] * 5


async def test_a_worker_drains_in_time_though_redis_is_silent(server: Server) -> None:
    at_work = asyncio.Event()

    async def handle(_held: Held, _delivery: Delivery) -> None:
        at_work.set()
        await asyncio.Event().wait()

    async with a_bus(server) as bus:
        await open_session(bus, "a long question")
        worker = Worker(bus, "agent", "w", mail_by_mail("agent", handle), capacity=2)
        working = asyncio.create_task(worker.run(drain_s=1))
        await at_work.wait()
        server.signal(signal.SIGSTOP)
        try:
            worker.drain()
            async with asyncio.timeout(6):
                await working
        finally:
            server.signal(signal.SIGCONT)


async def test_who_gives_up_a_server_that_only_takes_connections_is_free_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        link = Link(make_pool(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        exchange = asyncio.create_task(link.exchange([pack("PING")]))
        await asyncio.sleep(0)
        link.give_up()
        async with asyncio.timeout(1):
            with pytest.raises(WireLost):
                await exchange


async def test_a_redis_that_stays_away_is_an_error_within_the_deadline(server: Server) -> None:
    async with a_bus(server, deadline_s=0.5) as bus:
        server.kill()
        with pytest.raises(BusUnavailable):
            await bus.ping()


async def test_listeners_are_told_when_their_connection_was_cut_and_hear_again(server: Server) -> None:
    async with a_bus(server) as bus:
        ears = Ears()
        async with bus.subscriptions.listening("channel", ears):
            await bus.calls.command("PUBLISH", "channel", "before")
            await ears.wait()
            await bus.calls.command("CLIENT", "KILL", "TYPE", "pubsub")
            await ears.wait()
            assert (ears.heard, ears.losses) == ([b"before"], 1)
            await bus.calls.command("PUBLISH", "channel", "after")
            await ears.wait()
            assert ears.heard == [b"before", b"after"]


async def test_a_connection_that_worked_is_made_anew_at_once_however_many_were_lost_before(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicebus.bus.ear._PAUSES_S", (0.01, 0.01, 3_600))
    async with a_bus(server) as bus:
        ears = Ears()
        async with bus.subscriptions.listening("channel", ears), asyncio.timeout(15):
            for cut in range(1, 5):
                while bus.subscriptions.deaf:  # noqa: ASYNC110 - until it works
                    await asyncio.sleep(0.01)
                await bus.calls.command("CLIENT", "KILL", "TYPE", "pubsub")
                await ears.wait()
                assert ears.losses == cut


async def test_at_the_memory_limit_input_is_refused_and_workers_finish(server: Server) -> None:
    async with a_bus(server) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        await bus.inbox.submit(session.session_id, "hello", agent_type="p")
        await bus.calls.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(BusFull):
            await bus.inbox.submit(session.session_id, "one more", agent_type="p")
        lease = await bus.stages("agent", "w").lease(session.session_id)
        assert lease is not None
        delivery = await lease.next()
        assert delivery is not None
        await lease.renew()
        data = payloads.TokenData(token="hi", response_id="r")
        token = events.Token(session_id=session.session_id, turn=1, data=data)
        with suppress(BusFull):  # then the log below is short
            await lease.emit(Emission(1, "r").begin().event(token))
            await lease.emit(Emission().answered(1).cursor(delivery.id))
            assert await lease.release()
        assert [e.type for e in await events_of(bus, session.session_id)] == ["session_start", "user", "token"]


async def test_while_its_disk_is_full_redis_is_there_but_input_is_refused_for_now(server: Server) -> None:
    async with a_bus(server) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        server.limit_file(1)
        said, refused = 0, 0
        async with asyncio.timeout(15):
            while refused < 5:
                try:
                    await bus.inbox.submit(session.session_id, f"t{said}", agent_type="p", message_id=f"m{said}")
                    said += 1
                except BusFull:
                    refused += 1
            await bus.ping()
            server.limit_file(resource.RLIM_INFINITY)
            while refused:
                with suppress(BusFull):
                    await bus.inbox.submit(session.session_id, f"t{said}", agent_type="p", message_id=f"m{said}")
                    refused = 0
        assert [e.type for e in await events_of(bus, session.session_id)] == ["session_start"] + ["user"] * (said + 1)


async def test_a_primary_that_wants_a_replica_is_waited_for_until_it_has_one_or_wants_none(server: Server) -> None:
    async with a_bus(server) as bus:
        session, _ = await bus.sessions.open(NewSession(), "alice")
        with redis.Redis(port=server.port) as other:
            other.config_set("min-replicas-to-write", 1)
            asked = asyncio.create_task(bus.inbox.submit(session.session_id, "hello", agent_type="p"))
            async with asyncio.timeout(5):
                while not bus.calls._lane(0).waiting:  # noqa: ASYNC110 - it was refused
                    await asyncio.sleep(0.01)
            other.config_set("min-replicas-to-write", 0)
        await asked
        assert [e.type for e in await events_of(bus, session.session_id)] == ["session_start", "user"]


async def test_a_process_starts_at_the_memory_limit_too(server: Server) -> None:
    async with a_bus(server) as bus:
        await bus.calls.command("CONFIG", "SET", "maxmemory", "1")
        async with a_bus(server) as another:
            await another.ping()


async def test_at_the_memory_limit_the_log_is_read_after_a_restart_too(server: Server) -> None:
    async with a_bus(server) as bus:
        await bus.calls.command("CONFIG", "SET", "appendfsync", "always")
        session, _ = await bus.sessions.open(NewSession(), "alice")
        server.kill()
        await asyncio.to_thread(server.start)
        await bus.calls.command("CONFIG", "SET", "maxmemory", "1")
        page = await bus.log.read(session.session_id, Position())
        assert page.position.epoch != session.position.epoch
        assert [item.seq for item in page.items] == [1]


async def test_a_subscription_is_not_confirmed_by_the_reply_to_an_earlier_one(server: Server) -> None:
    async with a_bus(server) as bus:
        ears, subscriptions = Ears(), bus.subscriptions
        async with subscriptions.listening("warm-up", Ears()):
            first = asyncio.create_task(subscriptions.add({"channel": ears}))
            await asyncio.sleep(0)  # it has sent its SUBSCRIBE
            with redis.Redis(port=server.port) as other:  # blocks, so that the reply is not read before what follows
                while not other.pubsub_numsub("channel")[0][1]:
                    pass
                other.publish("channel", "behind the first reply")
                other.ping()  # Redis answers who publishes before it writes to who listens
            server.signal(signal.SIGSTOP)
            subscriptions.remove("channel", ears)
            again = asyncio.create_task(subscriptions.add({"channel": ears}))
            await ears.wait()
            assert not again.done()
            server.signal(signal.SIGCONT)
            await again
            await bus.calls.command("PUBLISH", "channel", "after")
            await ears.wait()
            assert ears.heard[-1] == b"after"
            first.cancel()
