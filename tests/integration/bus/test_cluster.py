"""A Redis Cluster on the move: slots change hands, primaries die, and everything takes effect once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from integration.bus.ears import Ears
from support.redis_cluster import Cluster, Node, everywhere, running_cluster
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.inbox import Accepted
from voicebus.bus.settings import BusSettings
from voicebus.bus.slots import slot_of_command, slot_of_key
from voicebus.contract.errors import BusUnavailable, LeaseLost
from voicebus.contract.events import User
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession
from voicebus_stack.ports import free_port

T = TypeVar("T")


async def until(condition: Callable[[], object], timeout_s: float = 15) -> None:
    time = asyncio.get_running_loop().time
    end = time() + timeout_s
    while not condition():
        assert time() < end, "it did not become true in time"
        await asyncio.sleep(0.01)


async def within(timeout_s: float, work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    done, _ = await asyncio.wait([task], timeout=timeout_s)
    task.cancel()
    assert done, "it took too long"
    assert not task.exception()
    return task.result()


async def all_of(tasks: list[asyncio.Task[T]]) -> list[T]:
    return list(await asyncio.gather(*tasks))


def settings_of(cluster: Cluster, **changes: object) -> BusSettings:
    settings = BusSettings(redis_url=cluster.url, prefix=f"t{uuid4().hex[:8]}", waiting_turns_max=10_000)
    return replace(settings, **changes)  # type: ignore[arg-type]  # the caller knows the fields


@asynccontextmanager
async def a_bus(cluster: Cluster, **changes: object) -> AsyncIterator[Bus]:
    async with open_bus(settings_of(cluster, **changes)) as bus:
        yield bus


@pytest.fixture
async def bus(redis_cluster: Cluster) -> AsyncIterator[Bus]:
    async with a_bus(redis_cluster) as opened:
        yield opened


@pytest.fixture
def mortals(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster to kill servers of; the first primary has a replica."""
    with running_cluster(tmp_path, replicas=1) as cluster:
        yield cluster


def slot_of(bus: Bus, session_id: str) -> int:
    return slot_of_key(bus.keys.of(session_id).session)


async def open_session_at(bus: Bus, node: Node) -> str:
    """A fresh session whose slot this server has."""
    for _ in range(10_000):
        name = uuid4().hex
        if bus.servers.at(slot_of(bus, name)).name == node.name:
            session, _ = await bus.sessions.open(NewSession(), "alice", session_id=name)
            return session.session_id
    raise LookupError(node)


def submits(bus: Bus, session_id: str, first: int, last: int) -> list[asyncio.Task[Accepted]]:
    """Texts with these numbers, submitted at once in this order."""
    return [
        asyncio.create_task(bus.inbox.submit(session_id, str(n), agent_type="p", message_id=f"m{n}"))
        for n in range(first, last)
    ]


async def texts_of(bus: Bus, session_id: str) -> list[str]:
    return [event.data.content for event in await events_of(bus, session_id) if isinstance(event, User)]


async def test_slots_are_what_redis_takes_them_for(bus: Bus) -> None:
    for key in ("", "k", "{7}:s", "vb:{7}:s:x", "{}", "{}a", "a{}{b}", "{a}{b}", "{{a}}", "a{b", "a}b{c}", "schön"):
        assert slot_of_key(key) == await bus.calls.command("CLUSTER", "KEYSLOT", key)
    keys = bus.keys.of("x")
    for command in (
        ("EVALSHA", "0" * 40, 2, keys.session, keys.log, "argument"),
        ("HGET", keys.session, "field"),
        ("MEMORY", "USAGE", keys.log),
        ("XRANGE", keys.log, "-", "+"),
    ):
        [key, *_] = await bus.calls.command("COMMAND", "GETKEYS", *command)
        assert slot_of_command(command) == slot_of_key(key)
    for keyless in (("PING",), ("EVALSHA", "0" * 40, 0, "argument")):
        assert slot_of_command(keyless) == 0


async def test_partitions_are_spread_over_all_primaries(redis_cluster: Cluster, bus: Bus) -> None:
    for node in redis_cluster.primaries:
        session_id = await open_session_at(bus, node)
        await bus.inbox.submit(session_id, "hello", agent_type="p")
        assert node.ask("EXISTS", bus.keys.of(session_id).session) == 1
    assert len(await bus.stages("agent", "w").waiting(range(64))) == 3


async def test_any_server_that_the_url_names_will_do(redis_cluster: Cluster) -> None:
    living = redis_cluster.primaries[2].name
    url = f"redis://127.0.0.1:{free_port()},{living}/0"
    async with open_bus(settings_of(redis_cluster, redis_url=url)) as bus:
        names = {server.name for server in bus.servers.all}
    assert names == {node.name for node in redis_cluster.primaries}


async def test_a_cluster_that_no_server_tells_of_is_an_error_within_the_deadline() -> None:
    url = f"redis://127.0.0.1:{free_port()},127.0.0.1:{free_port()}"
    with pytest.raises(BusUnavailable):
        async with asyncio.timeout(5), open_bus(BusSettings(redis_url=url, deadline_s=0.5)):
            pytest.fail("it opened")


async def test_calls_to_a_slot_that_has_moved_come_through_once_and_in_order(redis_cluster: Cluster, bus: Bus) -> None:
    first, second, _ = redis_cluster.primaries
    session_id = await open_session_at(bus, first)
    await asyncio.to_thread(redis_cluster.move, slot_of(bus, session_id), second)
    assert bus.servers.at(slot_of(bus, session_id)).name == first.name  # nobody has told yet
    await within(8, all_of(submits(bus, session_id, 0, 1_200)))  # more than one pipeline holds
    assert await texts_of(bus, session_id) == [str(n) for n in range(1_200)]
    assert bus.servers.at(slot_of(bus, session_id)).name == second.name


async def test_calls_wait_for_those_that_the_slots_old_server_has_not_answered(
    redis_cluster: Cluster, bus: Bus
) -> None:
    first, second, _ = redis_cluster.primaries
    session_id = await open_session_at(bus, first)
    slot = slot_of(bus, session_id)
    await asyncio.to_thread(redis_cluster.move, slot, second)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        calls = submits(bus, session_id, 0, 10)
        lane = bus.calls._lane(slot)
        await until(lambda: lane.slots_in_flight)
        bus.servers.doubt(bus.servers.named(second.name), answers=True)
        await until(lambda: bus.servers.at(slot).name == second.name)
        calls += submits(bus, session_id, 10, 20)
        elsewhere = bus.servers.channel_at(bus.servers.at(slot), "key").decode()
        for _ in range(3):  # whatever was sent to the new server is answered by now
            await within(2, bus.calls.command("GET", elsewhere))
        assert not any(call.done() for call in calls)
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    await within(8, all_of(calls))
    assert await texts_of(bus, session_id) == [str(n) for n in range(20)]


async def test_nothing_is_lost_or_applied_twice_while_a_slot_moves_to_and_fro(redis_cluster: Cluster, bus: Bus) -> None:
    first, second, third = redis_cluster.primaries
    session_id, other = await open_session_at(bus, first), await open_session_at(bus, second)
    moving = True

    async def move() -> None:
        nonlocal moving
        for target in (second, third, first):
            await asyncio.to_thread(redis_cluster.move, slot_of(bus, session_id), target)
        moving = False

    async def submit(session_id: str, since: list[int]) -> None:
        while moving:
            since.append(len(since))
            await bus.inbox.submit(session_id, str(since[-1]), agent_type="p", message_id=f"m{since[-1]}")

    mine, others = list[int](), list[int]()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(submit(session_id, mine))
            tasks.create_task(submit(other, others))
        tasks.create_task(move())
    assert sorted(map(int, await texts_of(bus, session_id))) == mine
    assert sorted(map(int, await texts_of(bus, other))) == others


async def test_a_slot_in_between_is_waited_for_and_the_others_of_its_server_are_not(
    redis_cluster: Cluster, bus: Bus
) -> None:
    first, second, _ = redis_cluster.primaries
    session_id = await open_session_at(bus, first)
    slot = slot_of(bus, session_id)
    neighbour, _ = await bus.sessions.open(
        NewSession(),
        "alice",
        session_id=next(
            name
            for name in map(str, range(1_000))
            if slot_of(bus, name) != slot and bus.servers.at(slot_of(bus, name)).name == first.name
        ),
    )
    with redis_cluster.moving(slot, second):
        waiting = submits(bus, session_id, 0, 3)

        async def meanwhile() -> None:
            for number in range(50):
                await bus.inbox.submit(neighbour.session_id, str(number), agent_type="p")

        await within(5, meanwhile())
        assert not any(task.done() for task in waiting)
    await within(5, all_of(waiting))
    assert await texts_of(bus, session_id) == ["0", "1", "2"]


async def test_keys_that_have_gone_ahead_are_asked_for_where_they_are(redis_cluster: Cluster, bus: Bus) -> None:
    first, second, _ = redis_cluster.primaries
    session_id = await open_session_at(bus, first)
    await bus.inbox.submit(session_id, "hello", agent_type="p")
    partition = bus.keys.partition(session_id)
    ready = bus.keys.ready(partition, "agent")
    await everywhere(bus, "SCRIPT", "FLUSH")
    with redis_cluster.moving(slot_of(bus, session_id), second):
        keys = (bus.keys.of(session_id).session, ready)
        first.ask("MIGRATE", "127.0.0.1", second.port, "", 0, 5_000, "KEYS", *keys)
        assert (await within(5, bus.sessions.get(session_id))).session_id == session_id
        assert await within(5, bus.stages("agent", "w").waiting([partition])) == [session_id]


async def test_positions_hold_where_a_slot_has_moved_and_its_stages_are_leased_anew(
    redis_cluster: Cluster, bus: Bus
) -> None:
    first, second, _ = redis_cluster.primaries
    session_id, stages = await open_session_at(bus, first), bus.stages("agent", "w")
    await bus.inbox.submit(session_id, "before", agent_type="p")
    seen = (await bus.log.read(session_id, Position())).position
    old = await stages.lease(session_id)
    assert old is not None
    await asyncio.to_thread(redis_cluster.move, slot_of(bus, session_id), second)
    with pytest.raises(LeaseLost):
        await old.renew()
    assert await stages.lease(session_id) is not None
    await bus.inbox.submit(session_id, "after", agent_type="p")
    page = await bus.log.read(session_id, seen)
    assert page.position.epoch != seen.epoch
    assert (page.gaps, [item.seq for item in page.items]) == ([], [3])


async def test_a_channel_follows_its_slot_and_its_listener_is_told_of_the_loss(
    redis_cluster: Cluster, bus: Bus
) -> None:
    first, second, _ = redis_cluster.primaries
    session_id, ears = await open_session_at(bus, first), Ears()
    channel = bus.keys.of(session_id).live
    async with bus.subscriptions.listening(channel, ears):
        await bus.inbox.submit(session_id, "before", agent_type="p")
        await until(lambda: len(ears.heard) == 1)
        assert ears.losses == 0
        await asyncio.to_thread(redis_cluster.move, slot_of(bus, session_id), second)
        await bus.sessions.get(session_id)
        await until(lambda: ears.losses)
        assert bus.subscriptions._at[channel.encode()].server.name == second.name
        await bus.inbox.submit(session_id, "after", agent_type="p")
        await until(lambda: len(ears.heard) == 2)
        assert b'"after"' in ears.heard[1]
        count = "SHARDNUMSUB" if bus.servers.sharded else "NUMSUB"
        heard_at = [node for node in redis_cluster.primaries if node.ask("PUBSUB", count, channel)[1]]
        assert heard_at == [second]
        await until(lambda: not bus.subscriptions.deaf)
    assert (len(ears.heard), ears.losses) == (2, 1)


async def test_a_listener_that_comes_before_anybody_knows_of_the_move_hears_or_is_told(
    redis_cluster: Cluster, bus: Bus
) -> None:
    first, second, _ = redis_cluster.primaries
    session_id, ears = await open_session_at(bus, first), Ears()
    await asyncio.to_thread(redis_cluster.move, slot_of(bus, session_id), second)
    channel = bus.keys.of(session_id).live
    await within(5, bus.subscriptions.add({channel: ears}))
    await bus.inbox.submit(session_id, "hello", agent_type="p")
    await until(lambda: ears.heard or ears.losses)
    await until(lambda: bus.subscriptions._at[channel.encode()].server.name == second.name)
    await bus.inbox.submit(session_id, "heard", agent_type="p")
    await until(lambda: any(b'"heard"' in message for message in ears.heard))


async def test_each_servers_deafness_counts(redis_cluster: Cluster, bus: Bus) -> None:
    await until(lambda: not bus.subscriptions.deaf)
    for node in redis_cluster.primaries:
        assert node.ask("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: bus.subscriptions.deaf)
        await until(lambda: not bus.subscriptions.deaf)


async def test_when_a_primary_dies_its_replica_goes_on(mortals: Cluster) -> None:
    dying, survivor, _ = mortals.primaries
    [replica] = mortals.replicas
    async with a_bus(mortals, deadline_s=20) as bus:
        session_id, other = await open_session_at(bus, dying), await open_session_at(bus, survivor)
        ears = Ears()
        async with bus.subscriptions.listening(bus.keys.of(session_id).live, ears):
            await all_of(submits(bus, session_id, 0, 5))
            await until(lambda: len(ears.heard) == 5)
            assert await asyncio.to_thread(dying.ask, "WAIT", 1, 5_000) == 1
            dying.kill()
            asked = submits(bus, session_id, 3, 10)  # the first two a second time
            await bus.inbox.submit(other, "meanwhile", agent_type="p")
            assert not any(task.done() for task in asked)
            await asyncio.to_thread(replica.ask, "CLUSTER", "FAILOVER", "TAKEOVER")
            accepted = await within(10, all_of(asked))
            assert [entry.repeated for entry in accepted] == [True] * 2 + [False] * 5
            assert await texts_of(bus, session_id) == [str(n) for n in range(10)]
            await until(lambda: ears.losses and not bus.subscriptions.deaf)
            await bus.inbox.submit(session_id, "heard", agent_type="p")
            await until(lambda: any(b'"heard"' in message for message in ears.heard))
            names = {server.name for server in bus.servers.all}
            assert names == {node.name for node in (replica, *mortals.primaries[1:])}


async def test_without_a_replica_only_what_the_dead_primary_has_fails(mortals: Cluster) -> None:
    living, dying, _ = mortals.primaries
    async with a_bus(mortals, deadline_s=1) as bus:
        session_id, other = await open_session_at(bus, dying), await open_session_at(bus, living)
        dying.kill()
        failing = asyncio.create_task(bus.inbox.submit(session_id, "lost", agent_type="p"))
        answered, latest = 0, monotonic() + 10
        while not failing.done():
            assert monotonic() < latest, "it should have failed by now"
            await within(0.5, bus.inbox.submit(other, str(answered), agent_type="p"))
            answered += 1
        with pytest.raises(BusUnavailable):
            await failing
        assert len(await texts_of(bus, other)) == answered > 10
        assert bus.subscriptions.deaf


async def test_a_cluster_that_serves_no_data_is_not_there_though_its_servers_answer(mortals: Cluster) -> None:
    async with a_bus(mortals, deadline_s=0.5) as bus:
        await bus.ping()
        slot = slot_of_key(bus.keys.deadlines(0))
        owner = next(node for node in mortals.primaries if node.name == bus.servers.at(slot).name)
        owner.ask("CLUSTER", "DELSLOTS", slot)
        with pytest.raises(BusUnavailable):
            await bus.ping()
        assert owner.ask("PING")
        owner.ask("CLUSTER", "ADDSLOTS", slot)
        async with asyncio.timeout(15):
            while True:
                with suppress(BusUnavailable):
                    await bus.ping()
                    break


async def test_one_redis_takes_the_same_way(redis_url: str) -> None:
    async with open_bus(BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}")) as bus:
        assert len(bus.servers.all) == 1
        session_id = await open_session(bus, "hello")
        assert await bus.stages("agent", "w").waiting(range(64)) == [session_id]
