"""What waits for workers, how long, and what was given up."""

from support.sessions import open_session

from voicebus.bus.backlog import Backlog
from voicebus.bus.bus import Bus
from voicebus.contract.keys import STAGES, Stage


async def aged(bus: Bus, session_id: str, stage: Stage, seconds: int) -> None:
    """Makes the session's only mail of the stage so much older."""
    key = bus.keys.of(session_id).mail(stage)
    ((mail_id, fields),) = await bus.calls.command("XRANGE", key, "-", "+")
    ms, _, rest = mail_id.decode().partition("-")
    await bus.calls.command("DEL", key)
    await bus.calls.command("XADD", key, f"{int(ms) - seconds * 1000}-{rest}", *fields)


async def test_nothing_waits_in_an_empty_installation(bus: Bus) -> None:
    assert await bus.backlog() == {stage: Backlog() for stage in STAGES}


async def test_sessions_without_an_owner_wait_and_the_oldest_mail_of_all_counts(bus: Bus) -> None:
    sessions = [await open_session(bus, "hello") for _ in range(4)]  # all are named, even by a single partition
    await aged(bus, sessions[2], "agent", 30)
    found = await bus.backlog()
    assert found["agent"].waiting == 4
    assert 30 <= found["agent"].oldest_s < 40
    assert found["stt"] == found["tts"] == Backlog()


async def test_a_session_that_somebody_works_at_does_not_wait(bus: Bus) -> None:
    stages = bus.stages("agent", "a worker")
    session_id = await open_session(bus, "hello")
    assert (await bus.backlog())["agent"].waiting == 1
    lease = await stages.lease(session_id)
    assert lease is not None
    assert (await bus.backlog())["agent"] == Backlog()
    await lease.hand_over()
    assert (await bus.backlog())["agent"].waiting == 1


async def test_a_session_whose_lease_has_run_out_waits_and_its_next_owner_knows(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    first = await bus.stages("agent", "first").lease(session_id)
    assert first is not None
    assert not first.taken_over
    await bus.calls.command("ZADD", bus.keys.ready(bus.keys.partition(session_id), "agent"), 1, session_id)
    assert (await bus.backlog())["agent"].waiting == 1
    second = await bus.stages("agent", "second").lease(session_id)
    assert second is not None
    assert second.taken_over
    await second.hand_over()
    third = await bus.stages("agent", "third").lease(session_id)
    assert third is not None
    assert not third.taken_over


async def test_mail_before_the_cursor_is_done_with(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    await aged(bus, session_id, "agent", 30)
    await bus.calls.command("HSET", bus.keys.of(session_id).session, "agent.cursor", "9999999999999-0")
    assert (await bus.backlog())["agent"] == Backlog(waiting=1)


async def test_the_last_in_line_are_looked_at_too(bus: Bus) -> None:
    """Workers take a partition's sessions in the order of their names: the last ones wait longest."""
    sessions = [await open_session(bus, "hello") for _ in range(60)]
    last = max(sessions)
    await aged(bus, last, "agent", 90)
    assert (await bus.backlog())["agent"].oldest_s >= 90


async def test_dead_letters_are_counted(bus: Bus) -> None:
    for partition in range(2):
        await bus.calls.command("XADD", bus.keys.dead(partition, "tts"), "*", "sid", "x")
    found = await bus.backlog()
    assert {stage: backlog.dead for stage, backlog in found.items()} == {"stt": 0, "agent": 0, "tts": 2}


async def test_every_server_tells_of_itself(bus: Bus) -> None:
    found = await bus.redis_info()
    assert set(found) == {server.name for server in bus.servers.all}
    for info in found.values():
        assert int(info["used_memory"]) > 0
        assert {"maxmemory", "connected_clients", "aof_enabled", "total_commands_processed"} <= set(info)
    ports = {info["tcp_port"] for info in found.values()}
    assert len(ports) == len(found)


async def test_mail_that_was_worked_at_waits_since_its_worker_fell_silent(bus: Bus) -> None:
    session_id = await open_session(bus, "a question that a person has to approve")
    await aged(bus, session_id, "agent", 300)
    assert await bus.stages("agent", "a worker").lease(session_id) is not None
    seconds, micros = await bus.calls.command("TIME")
    silent_since_ms = int(seconds) * 1000 + int(micros) // 1000 - 2_000
    ready = bus.keys.ready(bus.keys.partition(session_id), "agent")
    await bus.calls.command("ZADD", ready, silent_since_ms, session_id)
    found = (await bus.backlog())["agent"]
    assert found.waiting == 1
    assert 2 <= found.oldest_s < 20
